"""A user's own pipeline is replayed exactly, and known by its content."""

from __future__ import annotations

import functools
import random

import numpy as np
import pytest
import torch
from PIL import Image

from limbeck.data import Jitter, Normalise, Samples, Transform, Views
from limbeck.data.callables import describe_callable
from limbeck.errors import DataError, InvalidValue

IMAGES = torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
SAMPLES = Samples("toy", torch.arange(6) + 50, IMAGES, torch.arange(6) % 2, ("a", "b"))
POSITIONS = torch.tensor([3, 0])


def drawn(image):
    return torch.tensor([random.random(), float(np.random.rand()), float(torch.rand(()))])


class Crop:
    """A pipeline as libraries write them: settings as attributes, its call random."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.generator = np.random.default_rng()

    def __call__(self, image):
        left = random.randrange(image.width - self.size + 1)
        return image.crop((left, 0, left + self.size, self.size))


class Layers(torch.nn.Module):
    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, image):
        return torch.nn.functional.dropout(image.float(), self.p)


def test_a_view_depends_on_seed_id_and_view_alone():
    views = Views(transform=Transform(drawn), seed=1)
    first = views.batch(SAMPLES, torch.arange(6), view=2).inputs
    random.random(), np.random.rand(), torch.rand(3)
    assert torch.equal(views.batch(SAMPLES, POSITIONS, view=2).inputs, first[POSITIONS])
    assert len({tuple(row) for row in first.tolist()}) == 6
    assert not torch.equal(views.batch(SAMPLES, POSITIONS, view=3).inputs, first[POSITIONS])
    other = Views(transform=Transform(drawn), seed=2)
    assert not torch.equal(other.batch(SAMPLES, POSITIONS, view=2).inputs, first[POSITIONS])
    moved = SAMPLES.take(torch.arange(5, -1, -1))
    assert torch.equal(views.batch(moved, torch.tensor([2]), view=2).inputs, first[3:4])


def test_the_callers_random_state_is_untouched_even_by_a_failure():
    def failing(image):
        random.random()
        raise OSError("disk")

    for function in (drawn, failing):
        random.seed(4), np.random.seed(5), torch.manual_seed(6)
        expected = drawn(None)
        random.seed(4), np.random.seed(5), torch.manual_seed(6)
        views = Views(transform=Transform(function))
        if function is failing:
            with pytest.raises(DataError, match=r"(?s)failed on the sample with id 53.*OSError: disk"):
                views.batch(SAMPLES, POSITIONS, view=0)
        else:
            views.batch(SAMPLES, POSITIONS, view=0)
        assert torch.equal(drawn(None), expected)


def test_a_pipeline_with_a_generator_of_its_own_is_seeded():
    class Own:
        def __init__(self):
            self.random = random.Random()

        def set_random_seed(self, seed):
            self.random.seed(seed)

        def __call__(self, image):
            return torch.tensor([self.random.random()])

    views = Views(transform=Transform(Own(), name="own 1"))
    first = views.batch(SAMPLES, POSITIONS, view=0).inputs
    assert torch.equal(views.batch(SAMPLES, POSITIONS, view=0).inputs, first)
    assert not torch.equal(views.batch(SAMPLES, POSITIONS, view=1).inputs, first)


@pytest.mark.parametrize("takes", ["pil", "array", "tensor"])
def test_what_a_transform_is_called_with(takes):
    seen = []

    def note(image):
        seen.append(image)
        return image

    batch = Views(transform=Transform(note, takes=takes)).batch(SAMPLES, POSITIONS, view=0)
    assert torch.equal(batch.inputs, IMAGES[POSITIONS].float() / 255)  # uint8 pixels are scaled after it
    kinds = {"pil": Image.Image, "array": np.ndarray, "tensor": torch.Tensor}
    assert isinstance(seen[0], kinds[takes])
    if takes == "array":
        assert seen[0].shape == (8, 8, 3)


def test_teacher_and_student_see_the_same_view():
    views = Views(
        transform=Transform(Crop(6), takes="pil"),
        teacher_transform=Transform(lambda image: torch.from_numpy(np.array(image)).permute(2, 0, 1).float()),
        student_transform=Transform(lambda image: image.resize((3, 3), Image.Resampling.NEAREST)),
        normalise=Normalise((0.5,), (0.5,)),
    )
    batch = views.batch(SAMPLES, POSITIONS, view=4)
    assert batch.teacher_inputs.shape == (2, 3, 6, 6)
    assert batch.inputs.shape == (2, 3, 3, 3)
    small = torch.stack([t[:, 1::2, 1::2] for t in batch.teacher_inputs])
    assert torch.allclose(batch.inputs, small / 127.5 - 1, atol=1e-6)
    assert batch.part(1, 2).teacher_inputs.shape == (1, 3, 6, 6)
    jittered = Views((Jitter(1),), teacher_transform=Transform(lambda image: image.float()), seed=2)
    both = jittered.batch(SAMPLES, POSITIONS, view=4)
    assert torch.allclose(both.teacher_inputs / 255, both.inputs)
    assert torch.equal(both.inputs, Views((Jitter(1),), seed=2).batch(SAMPLES, POSITIONS, view=4).inputs)


def test_clean_views_take_the_clean_pipeline():
    views = Views(transform=Transform(drawn, clean=lambda image: torch.zeros(3)))
    assert views.batch(SAMPLES, POSITIONS, view=None).inputs.sum() == 0
    assert views.clean.batch(SAMPLES, POSITIONS, view=8).inputs.sum() == 0
    assert views.clean.clean is views.clean
    assert views.prepared(SAMPLES) is SAMPLES


def test_known_by_content():
    def scaled(factor):
        def scale(image):
            return image.float() * factor

        return scale

    def fingerprint(function):
        return Views(transform=Transform(function)).fingerprint

    different = [scaled(2.0), scaled(3.0), Crop(5), Crop(6), Layers(0.1), Layers(0.2), functools.partial(drawn), drawn]
    different += [lambda image: image + 1, lambda image: image + 2]
    assert len({fingerprint(one) for one in different}) == len(different)
    assert fingerprint(scaled(2.0)) == fingerprint(scaled(2.0))
    assert fingerprint(Crop(5)) == fingerprint(Crop(5))
    layer = torch.nn.Linear(2, 2)
    before = fingerprint(layer)
    with torch.no_grad():
        layer.weight += 1
    assert fingerprint(layer) != before


def test_what_cannot_be_read_takes_a_name():
    class Opaque:
        __slots__ = ()

        def __call__(self, image):
            return image

    with pytest.raises(InvalidValue, match="give it a name"):
        Transform(Opaque())
    named = [Views(transform=Transform(Opaque(), name=name)).fingerprint for name in ("one", "two")]
    assert named[0] != named[1]
    with pytest.raises(InvalidValue, match="name them"):
        Transform(None)
    with pytest.raises(InvalidValue, match="pil, array or tensor"):
        Transform(drawn, takes="jpeg")


def test_views_refuse_what_does_not_go_together():
    with pytest.raises(InvalidValue, match="in place of the augmentations"):
        Views((Jitter(1),), transform=Transform(drawn))
    with pytest.raises(InvalidValue, match="inside the data set"):
        Views(teacher_transform=Transform(None, name="x"))
    sizes = iter([2, 3])
    ragged = Views(transform=Transform(lambda image: torch.zeros(next(sizes)), name="n"))
    with pytest.raises(DataError, match=r"(?s)different shapes.*id 53.*id 50"):
        ragged.batch(SAMPLES, POSITIONS, view=0)


def test_stores_of_earlier_versions_stay_valid():
    # Taken before views had transforms and samples had weights: what a store on disk was made for.
    assert Views().fingerprint == "3364ffff9a66299e63aa95349be7d051e42dbb72dca3f5ac2f3a703f78cf3880"
    jittered = Views((Jitter(2),), Normalise((0.5,), (0.25,)), 3)
    assert jittered.fingerprint == "f98d3c28278d36f8fe82c208a22e76d5011bc05aba3963e5a300a1c2e14fad37"
    toy = Samples("t", torch.arange(3), torch.arange(6.0).view(3, 2), torch.tensor([0, 1, -1]), ("a", "b"))
    assert toy.fingerprint == "5753dfe15c3eff6dcd3ab0791e03c56bfc74b01edf4a8111b0362f7c006abf4c"


def test_a_function_whose_file_was_changed_since_is_described_by_its_code(tmp_path):
    path, names = tmp_path / "crop.py", {}
    path.write_text("def crop(image):\n    return image\n")
    exec(compile(path.read_text(), str(path), "exec"), names)
    path.write_text("def crop(image:\n    return image\n")
    assert "function" in describe_callable(names["crop"])
