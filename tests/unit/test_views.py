"""A view is a function of (seed, id, view); augmentations match loops written sample by sample."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta as beta_distribution
from torch import Tensor
from torch.testing import assert_close

from limbeck.data import Batch, Crop, Flip, Jitter, Mixup, Normalise, Samples, Views, augmentations_from
from limbeck.data import views as views_module
from limbeck.data.augmentation_words import describe_augmentation
from limbeck.errors import ConfigError, DataError, InvalidValue, ShapeMismatch, UnknownName


def images(count: int, channels: int, height: int, width: int, *, dtype: torch.dtype = torch.uint8) -> Tensor:
    drawn = torch.randint(0, 256, (count, channels, height, width), generator=torch.Generator().manual_seed(0))
    return drawn.to(dtype)


def picture_set(count: int = 23, channels: int = 1) -> Samples:
    ids = torch.arange(count) * 11 + 5
    return Samples("toy", ids, images(count, channels, 6, 7), torch.arange(count) % 3, ("a", "b", "c"))


ALL = Views((Jitter(1), Crop(2, "reflect"), Flip(), Mixup(0.4)), Normalise((0.4,), (0.3,)), seed=9)


# --- the oracles: one sample, one pixel at a time ---------------------------------------------------------------------


def window_by_loop(image: np.ndarray, top: int, left: int, margin: int, mode: str) -> np.ndarray:
    padded = np.pad(
        image, ((0, 0), (margin, margin), (margin, margin)), mode="constant" if mode == "zero" else "reflect"
    )
    result = np.zeros_like(image)
    for channel in range(image.shape[0]):
        for row in range(image.shape[1]):
            for column in range(image.shape[2]):
                result[channel, row, column] = padded[channel, row + top, column + left]
    return result


def shift_by_loop(image: np.ndarray, down: int, right: int) -> np.ndarray:
    result = np.zeros_like(image)
    _, height, width = image.shape
    for row in range(height):
        for column in range(width):
            if 0 <= row - down < height and 0 <= column - right < width:
                result[:, row, column] = image[:, row - down, column - right]
    return result


geometry = st.tuples(st.integers(1, 4), st.sampled_from([1, 3]), st.integers(4, 7), st.integers(4, 7))


@given(shape=geometry, margin=st.integers(1, 3), seed=st.integers(0, 1000), dtype=st.sampled_from(["uint8", "float32"]))
def test_jitter_and_crop_match_the_loops(shape, margin, seed, dtype):
    batch = images(*shape, dtype=getattr(torch, dtype))
    uniforms = torch.rand(shape[0], 2, generator=torch.Generator().manual_seed(seed))
    corners = (uniforms.double() * (2 * margin + 1)).floor().long()
    jittered = Jitter(margin)(batch, uniforms)
    cropped = {mode: Crop(margin, mode)(batch, uniforms) for mode in ("zero", "reflect")}
    for index in range(shape[0]):
        top, left = corners[index].tolist()
        image = batch[index].numpy()
        assert np.array_equal(jittered[index].numpy(), shift_by_loop(image, margin - top, margin - left))
        for mode, result in cropped.items():
            assert np.array_equal(result[index].numpy(), window_by_loop(image, top, left, margin, mode))


def test_jitter_takes_every_shift_equally_often():
    point = torch.zeros(4000, 1, 5, 5, dtype=torch.uint8)
    point[:, :, 2, 2] = 1
    samples = Samples("p", torch.arange(4000), point, torch.zeros(4000).long(), ("a",))
    seen = Views((Jitter(2),)).batch(samples, torch.arange(4000), view=0).inputs
    assert torch.equal(seen.sum(dim=(1, 2, 3)) > 0, torch.ones(4000, dtype=torch.bool))
    counts = (seen > 0).sum(dim=(0, 1)).double()  # 25 places, 160 expected in each
    assert float((counts - 160).abs().max()) < 5 * 160**0.5


@given(shape=geometry, seed=st.integers(0, 1000), probability=st.sampled_from([0.0, 0.3, 1.0]))
def test_flip_mirrors_those_below_the_probability(shape, seed, probability):
    batch = images(*shape)
    uniforms = torch.rand(shape[0], 1, generator=torch.Generator().manual_seed(seed))
    before = batch.clone()
    flipped = Flip(probability)(batch, uniforms)
    assert torch.equal(batch, before)
    for index in range(shape[0]):
        expected = batch[index].numpy()[:, :, ::-1] if uniforms[index, 0] < probability else batch[index].numpy()
        assert np.array_equal(flipped[index].numpy(), expected)


# --- the view of a sample ---------------------------------------------------------------------------------------------


@given(order=st.permutations(range(23)), size=st.integers(1, 23), view=st.integers(0, 5))
@settings(max_examples=30)
def test_a_view_does_not_depend_on_batch_order_or_neighbours(order, size, view):
    samples = picture_set()
    whole = ALL.batch(samples, torch.arange(23), view=view)
    chosen = torch.tensor(order[:size])
    part = ALL.batch(samples, chosen, view=view)
    assert torch.equal(part.inputs, whole.inputs[chosen])
    assert torch.equal(part.ids, whole.ids[chosen])
    assert torch.equal(part.labels, whole.labels[chosen])
    assert torch.equal(part.partner_weight, whole.partner_weight[chosen])
    assert torch.equal(part.partner_labels, whole.partner_labels[chosen])


@given(order=st.permutations(range(23)))
@settings(max_examples=20)
def test_a_view_does_not_depend_on_storage(order):
    stored = picture_set()
    otherwise = stored.take(torch.tensor(order))
    first = ALL.batch(stored, torch.arange(23), view=3)
    second = ALL.batch(otherwise, torch.arange(23), view=3)
    assert torch.equal(second.inputs, first.inputs[torch.tensor(order)])
    assert torch.equal(second.partner_labels, first.partner_labels[torch.tensor(order)])


@pytest.mark.parametrize("augmentation", [Jitter(2), Crop(2), Crop(2, "reflect"), Flip(), Mixup(1.0)])
def test_views_and_seeds_differ_and_repeat(augmentation):
    samples, every = picture_set(), torch.arange(23)
    views = Views((augmentation,))
    first = views.batch(samples, every, view=0).inputs
    assert torch.equal(first, views.batch(samples, every, view=0).inputs)
    assert not torch.equal(first, views.batch(samples, every, view=1).inputs)
    assert not torch.equal(first, Views((augmentation,), seed=1).batch(samples, every, view=0).inputs)


def test_the_clean_view_is_scaled_and_normalised_only():
    samples, every = picture_set(channels=3), torch.arange(23)
    normalise = Normalise((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    batch = Views((Jitter(2), Mixup(0.5)), normalise).batch(samples, every, view=None)
    mean, std = torch.tensor(normalise.mean).view(3, 1, 1), torch.tensor(normalise.std).view(3, 1, 1)
    assert_close(batch.inputs, (samples.inputs.float() / 255 - mean) / std)
    assert (batch.view, batch.partner_labels, batch.partner_weight) == (None, None, None)
    plain = Views().batch(samples, every, view=4)
    assert_close(plain.inputs, samples.inputs.float() / 255)
    assert plain.view == 4


def test_jitter_fills_with_the_raw_background():
    white = torch.full((50, 1, 4, 4), 255, dtype=torch.uint8)
    samples = Samples("w", torch.arange(50), white, torch.zeros(50).long(), ("a",))
    seen = Views((Jitter(1),), Normalise((0.5,), (0.5,))).batch(samples, torch.arange(50), view=0).inputs
    assert_close(seen.unique(), torch.tensor([-1.0, 1.0]))  # raw 0 and raw 255, normalised


def test_mixup_mixes_the_partner_in_its_own_view():
    samples, every = picture_set(), torch.arange(23)
    plain = Views((Jitter(2),), seed=4)
    mixed = Views((Jitter(2), Mixup(1.0)), seed=4).batch(samples, every, view=6)
    unmixed = plain.batch(samples, every, view=6).inputs
    for index in range(23):
        weight = float(mixed.partner_weight[index])
        assert 0 <= weight <= 1
        fits = [
            other
            for other in range(23)
            if other != index
            and torch.allclose(mixed.inputs[index], (1 - weight) * unmixed[index] + weight * unmixed[other], atol=1e-6)
        ]
        assert len(fits) == 1
        assert samples.labels[fits[0]] == mixed.partner_labels[index]


def test_mixup_weights_have_the_beta_distribution():
    uniforms = (torch.arange(951) + 25) / 1000  # nearer to 1, float32 weights are too coarse for the cdf
    weights = Mixup(0.3).weights(uniforms)
    assert_close(
        torch.from_numpy(beta_distribution(0.3, 0.3).cdf(weights.numpy())).float(), uniforms, atol=1e-3, rtol=0
    )


def test_mixup_partners_are_spread_over_the_others():
    samples = picture_set(5)
    views = Views((Mixup(1.0),))
    partners = torch.zeros(5, 3)
    for view in range(300):
        labels = views.batch(samples, torch.arange(5), view=view).partner_labels
        partners[torch.arange(5), labels] += 1
    # Labels are 0 1 2 0 1; sample 0's partners are 1 2 3 4: class 0 once, class 1 twice, class 2 once.
    assert_close(partners[0] / 300, torch.tensor([0.25, 0.5, 0.25]), atol=0.11, rtol=0)


def test_mixup_works_on_features_and_needs_two():
    samples = Samples("f", torch.arange(3), torch.eye(3), torch.tensor([0, 1, 0]), ("a", "b"))
    batch = Views((Mixup(0.5),)).batch(samples, torch.arange(3), view=0)
    assert_close(batch.inputs.sum(dim=1), torch.ones(3))
    with pytest.raises(DataError, match="at least two"):
        Views((Mixup(0.5),)).batch(samples.take(torch.tensor([0])), torch.tensor([0]), view=0)


# --- normalisation and preparation ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "axes"), [((3, 5, 4), (0, 2, 3)), ((6,), (0,)), ((4, 6), (0, 1))])
def test_fit_gives_mean_zero_and_deviation_one(shape, axes):
    drawn = torch.rand(3000, *shape, generator=torch.Generator().manual_seed(1)) * 7 + 1000
    samples = Samples("f", torch.arange(3000), drawn, torch.zeros(3000).long(), ("a",))
    normalise = Normalise.fit(samples)
    assert_close(np.array(normalise.mean), drawn.double().mean(dim=axes).numpy(), rtol=1e-7, atol=0)
    deviation = drawn.double().std(dim=axes, correction=0).numpy()
    assert_close(np.array(normalise.std), deviation, rtol=1e-6, atol=0)


def test_fit_of_images_is_per_channel_after_scaling():
    samples = picture_set(2000, channels=3)
    scaled = samples.inputs.double() / 255
    normalise = Normalise.fit(samples)
    assert_close(np.array(normalise.mean), scaled.mean(dim=(0, 2, 3)).numpy(), rtol=1e-7, atol=0)
    assert_close(np.array(normalise.std), scaled.std(dim=(0, 2, 3), correction=0).numpy(), rtol=1e-7, atol=0)
    assert Normalise.fit(samples.take(torch.arange(1999, -1, -1))) == normalise


def test_constant_features_get_deviation_one():
    inputs = torch.stack([torch.full((100,), 0.1), torch.arange(100.0)], dim=1)
    samples = Samples("f", torch.arange(100), inputs, torch.zeros(100).long(), ("a",))
    assert Normalise.fit(samples).std[0] == 1.0
    black = Samples("b", torch.arange(2), torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.zeros(2).long(), ("a",))
    assert Normalise.fit(black) == Normalise((0.0,), (1.0,))


@pytest.mark.parametrize(("mean", "std"), [((), ()), ((1.0,), (0.0,)), ((1.0, 2.0), (1.0,)), ((float("nan"),), (1.0,))])
def test_normalise_refuses(mean, std):
    with pytest.raises(InvalidValue, match="normalisation"):
        Normalise(mean, std)


def test_normalise_for_other_channels_is_refused():
    with pytest.raises(ShapeMismatch, match="other inputs"):
        Views((), Normalise((0.0, 0.0), (1.0, 1.0))).batch(picture_set(), torch.tensor([0]), view=None)


def test_prepared_samples_give_the_same_batches():
    samples = picture_set(channels=3)
    views = Views((), Normalise.fit(samples))
    prepared = views.prepared(samples)
    positions = torch.tensor([4, 0, 20])
    for view in (None, 2):
        assert torch.equal(
            views.batch(prepared, positions, view=view).inputs, views.batch(samples, positions, view=view).inputs
        )
    assert prepared.inputs.dtype == torch.float32
    assert prepared.is_image
    assert prepared.fingerprint == samples.fingerprint
    assert prepared.take(positions).fingerprint == samples.take(positions).fingerprint
    assert views.prepared(prepared) is prepared


def test_preparation_is_left_out_where_it_does_not_apply(monkeypatch):
    samples = picture_set()
    assert Views((Jitter(1),)).prepared(samples) is samples
    monkeypatch.setattr(views_module, "PREPARED_LIMIT_BYTES", 4 * 23 * 42 - 1)
    assert Views().prepared(samples) is samples
    monkeypatch.setattr(views_module, "PREPARED_LIMIT_BYTES", 4 * 23 * 42)
    assert Views().prepared(samples) is not samples


def test_prepared_samples_refuse_other_views():
    samples = picture_set()
    views = Views((Jitter(1),), Normalise((0.5,), (0.5,)))
    prepared = views.clean.prepared(samples)
    views.batch(prepared, torch.tensor([0]), view=None)
    for wrong, view in ((views, 0), (Views(), None)):
        with pytest.raises(DataError, match="prepared by other views"):
            wrong.batch(prepared, torch.tensor([0]), view=view)
    with pytest.raises(DataError, match="prepared by other views"):
        Views().prepared(prepared)
    with pytest.raises(InvalidValue, match="normalised already"):
        Normalise.fit(prepared)


# --- description and parsing ------------------------------------------------------------------------------------------


def test_description_is_json_and_fingerprint_is_stable():
    described = ALL.describe()
    assert json.loads(json.dumps(described)) == described
    again = Views(augmentations_from(described["augmentations"]), Normalise((0.4,), (0.3,)), seed=9)
    assert again == ALL
    assert again.fingerprint == ALL.fingerprint == described["fingerprint"]


def test_fingerprint_sees_every_setting():
    variants = [
        Views(),
        Views((Jitter(1),)),
        Views((Jitter(2),)),
        Views((Jitter(2),), seed=1),
        Views((Crop(2),)),
        Views((Crop(2, "reflect"),)),
        Views((Flip(), Jitter(2))),
        Views((Jitter(2), Flip())),
        Views((), Normalise((0.0,), (2.0,))),
        Views((Mixup(0.2),)),
    ]
    assert len({views.fingerprint for views in variants}) == len(variants)
    assert Views(seed=1).fingerprint == Views(seed=2).fingerprint  # constant views: the seed decides nothing


def test_words_become_augmentations():
    words = ["jitter:2", "crop:4", "crop:4:reflect", "flip", "flip:0.25", "mixup:0.2", {"name": "jitter", "pixels": 3}]
    assert augmentations_from(words) == (
        Jitter(2),
        Crop(4),
        Crop(4, "reflect"),
        Flip(),
        Flip(0.25),
        Mixup(0.2),
        Jitter(3),
    )


@pytest.mark.parametrize(
    ("word", "error", "message"),
    [
        ("jiter:2", UnknownName, "did you mean jitter"),
        ("jitter", ConfigError, "jitter:PIXELS"),
        ("jitter:two", ConfigError, "jitter:PIXELS"),
        ("jitter:2:3", ConfigError, "jitter:PIXELS"),
        ("jitter:0", InvalidValue, "leave the augmentation out"),
        ("crop:4:mirror", InvalidValue, "zero or reflect"),
        ("flip:2", InvalidValue, "fraction"),
        ("mixup:0", InvalidValue, "above 0"),
        ({"name": "crop", "pixels": 1}, ConfigError, "crop:PADDING:MODE"),
    ],
)
def test_wrong_words_are_refused(word, error, message):
    with pytest.raises(error, match=message):
        augmentations_from([word])


def test_mixup_must_be_last_and_images_are_needed():
    with pytest.raises(InvalidValue, match="Mixup comes last"):
        Views((Mixup(0.2), Jitter(1)))
    features = Samples("f", torch.arange(2), torch.zeros(2, 3), torch.tensor([0, 1]), ("a", "b"))
    for augmentation in (Jitter(1), Crop(1, "reflect"), Flip()):
        with pytest.raises(ShapeMismatch, match="changes images"):
            Views((augmentation,)).batch(features, torch.tensor([0]), view=0)
    with pytest.raises(InvalidValue, match="wider than the image"):
        Views((Crop(6, "reflect"),)).batch(picture_set(), torch.tensor([0]), view=0)


@dataclass(frozen=True)
class Dim:
    factor: float
    name: ClassVar[str] = "dim"
    draws: ClassVar[int] = 1

    def __call__(self, inputs: Tensor, uniforms: Tensor) -> Tensor:
        scale = 1 - self.factor * uniforms[:, 0]
        return (inputs * scale.view(-1, 1, 1, 1)).to(inputs.dtype)


def test_an_augmentation_of_ones_own():
    views = Views((Flip(), Dim(0.5)))
    assert describe_augmentation(Dim(0.5)) == {"name": "dim", "factor": 0.5}
    samples = picture_set()
    first = views.batch(samples, torch.arange(23), view=0).inputs
    assert torch.equal(views.batch(samples, torch.tensor([7]), view=0).inputs[0], first[7])
    assert float(first.sum()) < float(Views().batch(samples, torch.arange(23), view=0).inputs.sum())
    with pytest.raises(InvalidValue, match="written"):
        Views((lambda inputs, uniforms: inputs,))


def test_batch_moves_every_tensor():
    batch = ALL.batch(picture_set(), torch.arange(4), view=1).to("meta")
    assert isinstance(batch, Batch)
    tensors = [batch.ids, batch.inputs, batch.labels, batch.partner_labels, batch.partner_weight]
    assert all(tensor.device.type == "meta" for tensor in tensors)
    assert (len(batch), batch.view) == (4, 1)
