"""Samples keep ids and bytes together; splits are stratified and chosen by id."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from limbeck.data import (
    UNLABELLED,
    DatasetInputs,
    Samples,
    as_samples,
    hold_out,
    label_part,
    load_data,
    require_classes,
)
from limbeck.errors import DataError, InvalidValue, ShapeMismatch

NAMES = ("ant", "bee", "cat")


def toy(count: int = 12, *, labels: list[int] | None = None) -> Samples:
    ids = torch.arange(count) * 7 + 3
    inputs = torch.arange(count * 2, dtype=torch.float32).view(count, 2)
    given_labels = torch.arange(count) % 3 if labels is None else torch.tensor(labels)
    return Samples("toy", ids, inputs, given_labels, NAMES)


class Counted:
    """A source that counts how many inputs were read."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor, self.read = tensor, 0

    def __len__(self) -> int:
        return len(self.tensor)

    def __getitem__(self, positions: torch.Tensor) -> torch.Tensor:
        self.read += len(positions)
        return self.tensor[positions]


def lazy(samples: Samples) -> Samples:
    return Samples(samples.name, samples.ids, Counted(samples.inputs), samples.labels, samples.class_names)


def test_properties_of_images_and_features():
    image = Samples("i", torch.arange(2), torch.zeros(2, 1, 28, 28, dtype=torch.uint8), torch.zeros(2).long(), NAMES)
    assert (image.input_shape, image.is_image, image.in_memory, image.num_classes) == ((1, 28, 28), True, True, 3)
    assert (toy().input_shape, toy().is_image, len(toy())) == ((2,), False, 12)
    assert (lazy(toy()).input_shape, lazy(toy()).in_memory) == ((2,), False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": torch.tensor([1, 1, 2])}, "id 1 more than once"),
        ({"ids": torch.tensor([1.0, 2.0, 3.0])}, "ids of toy are not a vector"),
        ({"ids": torch.tensor([1, 2])}, "2 ids, 3 inputs, 3 labels"),
        ({"labels": torch.tensor([0, 5, 1])}, "label out of range: 5 at the sample with id 20"),
        ({"labels": torch.tensor([0, -2, 1])}, "label out of range: -2 at the sample with id 20"),
        ({"labels": torch.tensor([0.0, 1.0, 1.0])}, "labels of toy are not a vector"),
        ({"inputs": torch.tensor([[1.0], [2.0], [torch.nan]])}, "not finite: the sample with id 30"),
        ({"inputs": torch.tensor([[1.0], [torch.inf], [2.0]])}, "not finite: the sample with id 20"),
        ({"inputs": torch.zeros(3, 4, 5, 6, dtype=torch.uint8)}, "not \\(n, channels, height, width\\)"),
        ({"inputs": torch.zeros(3)}, "wrong type or shape"),
        ({"inputs": torch.zeros(3, 2, dtype=torch.complex64)}, "wrong type or shape"),
        ({"inputs": {"a": torch.zeros(3, 2), "b": torch.zeros(2, 2)}}, "not of one length"),
        ({"inputs": {"a": torch.tensor([[0.0], [torch.nan], [0.0]])}}, "(?s)the sample with id 20.*in a"),
        ({"weights": torch.ones(2)}, "not one number for each sample"),
        ({"weights": torch.tensor([1.0, -1.0, 1.0])}, "no weight: the sample with id 20"),
        ({"weights": torch.zeros(3)}, "is 0"),
        ({"labels": torch.tensor([[0, 1], [0, -1], [2, 2]])}, "label out of range: -1 at the sample with id 20"),
        ({"labels": torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.6, 0.0], [1.0, 0.0, 0.0]])}, "(?s)id 20.*multi_label"),
        ({"labels": torch.eye(3)[:, :2]}, "another width"),
        ({"labels": torch.tensor([[0.0, 0.0, 2.0]] * 3), "task": "multi_label"}, "out of range: 2 .* id 10"),
        ({"labels": torch.tensor([0, 1, 1]), "task": "multi_label"}, "one row for each sample"),
        (
            {"ids": torch.tensor([]).long(), "inputs": torch.zeros(0, 1), "labels": torch.tensor([]).long()},
            "no samples",
        ),
    ],
)
def test_construction_refuses(change, message):
    fields = {"ids": torch.tensor([10, 20, 30]), "inputs": torch.zeros(3, 1), "labels": torch.tensor([0, 1, -1])}
    Samples("toy", **fields, class_names=NAMES)
    with pytest.raises((DataError, ShapeMismatch), match=message):
        Samples("toy", **{**fields, **change}, class_names=NAMES)


def test_huge_finite_inputs_are_accepted():
    # Their sum overflows float32, but each is finite.
    Samples("toy", torch.arange(2), torch.full((2, 2), 3e38), torch.zeros(2).long(), NAMES)


def test_lazy_inputs_are_checked_when_read():
    inputs = torch.tensor([[1.0], [torch.nan]])
    samples = Samples("toy", torch.tensor([4, 5]), Counted(inputs), torch.tensor([0, 1]), NAMES)
    samples.fetch(torch.tensor([0]))
    with pytest.raises(DataError, match="id 5"):
        samples.fetch(torch.tensor([1, 0]))


def test_take_keeps_ids_inputs_and_labels_together():
    positions = torch.tensor([5, 0, 7])
    for samples in (toy(), lazy(toy())):
        part = samples.take(positions)
        assert torch.equal(part.ids, samples.ids[positions])
        assert torch.equal(part.labels, samples.labels[positions])
        assert torch.equal(part.fetch(torch.arange(3)), samples.fetch(positions))
        again = part.take(torch.tensor([2]))
        assert torch.equal(again.fetch(torch.tensor([0])), samples.fetch(positions[2:]))


def test_take_of_a_lazy_source_reads_nothing():
    samples = lazy(toy())
    samples.take(torch.tensor([1, 2])).take(torch.tensor([0]))
    assert samples.inputs.read == 0


@given(order=st.permutations(range(12)))
@settings(max_examples=20)
def test_fingerprint_does_not_depend_on_storage(order):
    shuffled = toy().take(torch.tensor(order))
    assert shuffled.fingerprint == toy().fingerprint
    assert lazy(toy()).fingerprint == toy().fingerprint
    assert lazy(toy()).take(torch.tensor(order)).fingerprint == toy().fingerprint


def test_fingerprint_sees_every_part():
    base = toy()
    other_input = base.inputs.clone()
    other_input[7, 1] += 1e-3
    variants = [
        Samples("toy", base.ids + 1, base.inputs, base.labels, NAMES),
        Samples("toy", base.ids, other_input, base.labels, NAMES),
        Samples("toy", base.ids, base.inputs.double(), base.labels, NAMES),
        Samples("toy", base.ids, base.inputs.view(12, 2, 1), base.labels, NAMES),
        Samples("toy", base.ids, base.inputs, base.labels.flip(0), NAMES),
        Samples("toy", base.ids, base.inputs, base.labels, ("ant", "bee", "dog")),
        base.take(torch.arange(11)),
    ]
    prints = {base.fingerprint, *(variant.fingerprint for variant in variants)}
    assert len(prints) == 1 + len(variants)
    assert all(len(text) == 64 for text in prints)


def test_inputs_fingerprint_ignores_labels_alone():
    assert toy().without_labels().inputs_fingerprint == toy().inputs_fingerprint
    assert toy().without_labels().fingerprint != toy().fingerprint
    assert toy().take(torch.arange(5)).inputs_fingerprint != toy().inputs_fingerprint


def test_without_labels():
    part = toy().without_labels(torch.tensor([0, 3]))
    assert part.labels[[0, 3]].tolist() == [UNLABELLED, UNLABELLED]
    assert part.labelled_positions().tolist() == [1, 2, 4, 5, 6, 7, 8, 9, 10, 11]
    assert len(toy().without_labels().labelled_positions()) == 0
    assert toy().labels[0] == 0


def test_require_classes():
    require_classes(toy(), "the training split")
    with pytest.raises(DataError, match="The training split holds a single class"):
        require_classes(toy(2, labels=[1, 1]), "the training split")
    with pytest.raises(DataError, match="no labels"):
        require_classes(toy().without_labels(), "the training split")


labels_of_classes = st.lists(st.sampled_from([-1, 0, 1, 2]), min_size=6, max_size=60)


@given(labels=labels_of_classes, fraction=st.floats(0.05, 0.6), seed=st.integers(0, 50), data=st.data())
def test_hold_out_is_a_stratified_partition_chosen_by_id(labels, fraction, seed, data):
    samples = toy(len(labels), labels=labels)
    counts = torch.bincount(samples.labels[samples.labelled_positions()], minlength=3)
    total = max(1, round(fraction * int(counts.sum())))
    if int(counts.sum()) == 0:
        rest, held = hold_out(samples, fraction=fraction, seed=seed)
        assert len(held) == max(1, round(fraction * len(labels)))
        assert len(rest) + len(held) == len(labels)
        return
    if total > int((counts - 1).clamp_min(0).sum()):
        with pytest.raises(DataError):
            hold_out(samples, fraction=fraction, seed=seed)
        return
    rest, held = hold_out(samples, fraction=fraction, seed=seed)
    assert sorted(rest.ids.tolist() + held.ids.tolist()) == sorted(samples.ids.tolist())
    assert len(held) == total
    assert UNLABELLED not in held.labels.tolist()
    kept = torch.bincount(rest.labels[rest.labelled_positions()], minlength=3)
    assert bool((kept[counts > 0] >= 1).all())
    gone = torch.bincount(held.labels, minlength=3)
    exact = counts.double() * total / counts.sum()
    free = gone < (counts - 1).clamp_min(0)
    assert bool(((gone - exact).abs() < 1)[free].all()) or bool((gone >= exact - 1)[free].all())
    shuffled = samples.take(torch.tensor(data.draw(st.permutations(range(len(labels))))))
    assert set(hold_out(shuffled, fraction=fraction, seed=seed)[1].ids.tolist()) == set(held.ids.tolist())


def test_hold_out_counts_by_hand():
    samples = toy(12, labels=[0] * 6 + [1] * 4 + [2] * 2)
    _, held = hold_out(samples, count=6, seed=0)
    assert torch.bincount(held.labels).tolist() == [3, 2, 1]
    _, other = hold_out(samples, count=6, seed=1)
    assert held.ids.tolist() != other.ids.tolist()


def test_hold_out_refusals():
    with pytest.raises(DataError, match="at most 9"):
        hold_out(toy(), count=10, seed=0)
    for wrong in ({}, {"count": 1, "fraction": 0.5}, {"fraction": 0.0}, {"fraction": 1.0}, {"count": 0}):
        with pytest.raises(InvalidValue):
            hold_out(toy(), seed=0, **wrong)


@given(count=st.integers(3, 30), seed=st.integers(0, 20))
def test_label_part_keeps_samples_and_a_label_of_each_class(count, seed):
    samples = toy(30, labels=[0] * 26 + [1] * 3 + [2])
    part = label_part(samples, count=count, seed=seed)
    kept = part.labelled_positions()
    assert torch.equal(part.ids, samples.ids)
    assert len(kept) == count
    assert torch.equal(part.labels[kept], samples.labels[kept])
    assert set(part.labels[kept].tolist()) == {0, 1, 2}
    shuffled = label_part(samples.take(torch.arange(29, -1, -1)), count=count, seed=seed)
    assert set(shuffled.ids[shuffled.labelled_positions()].tolist()) == set(part.ids[kept].tolist())


def test_label_part_ends_and_refusals():
    assert len(label_part(toy(), count=0, seed=0).labelled_positions()) == 0
    assert len(label_part(toy(), fraction=1.0, seed=0).labelled_positions()) == 12
    for count in (1, 2, 13):
        with pytest.raises(DataError, match="Cannot keep"):
            label_part(toy(), count=count, seed=0)


# --- as_samples -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((5, 28, 28), (1, 28, 28)),
        ((5, 1, 8, 9), (1, 8, 9)),
        ((5, 3, 8, 9), (3, 8, 9)),
        ((5, 8, 9, 3), (3, 8, 9)),
        ((5, 8, 9, 1), (1, 8, 9)),
        ((5, 3, 9, 3), (3, 9, 3)),  # both would fit: channel first
    ],
)
def test_image_layouts(shape, expected):
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    samples = as_samples((images, [0, 1, 0, 1, 0]))
    assert samples.input_shape == expected
    moved = images.transpose(0, 3, 1, 2) if len(shape) == 4 and shape[1] not in (1, 3) else images
    assert np.array_equal(samples.inputs.numpy().reshape(-1), moved.reshape(-1))


@pytest.mark.parametrize("shape", [(5, 8, 8, 4), (5, 4, 8, 8), (5, 2, 8, 8), (5, 3, 8, 8, 8)])
def test_other_channel_counts_are_refused(shape):
    with pytest.raises(DataError, match="neither one nor three channels"):
        as_samples(np.zeros(shape, dtype=np.uint8))


def test_floats_become_float32_unscaled_and_integers_stay():
    for values, dtype in (
        ([[1, 2], [3, 4]], torch.int64),
        ([[1.0, 2.0], [3.0, 4.0]], torch.float32),
        (np.array([[1, 2], [3, 4]], dtype=np.uint16), torch.int64),
        (torch.tensor([[1, 2], [3, 4]], dtype=torch.int32), torch.int64),
    ):
        samples = as_samples((values, [0, 1]))
        assert samples.inputs.dtype == dtype
        assert samples.inputs.tolist() == [[1, 2], [3, 4]]
    assert as_samples(np.zeros((2, 3), dtype=">f8")).inputs.dtype == torch.float32


def test_labels_of_many_kinds():
    inputs = torch.zeros(3, 2)
    for labels in ([0, 1, 1], np.array([0, 1, 1], dtype=np.int8), torch.tensor([0, 1, 1], dtype=torch.int32)):
        assert as_samples((inputs, labels)).labels.tolist() == [0, 1, 1]
    assert as_samples((inputs, [0, 1, 1])).class_names == ("0", "1")
    assert as_samples((inputs, [0, None, 1])).labels.tolist() == [0, UNLABELLED, 1]
    words = as_samples((inputs, ["dog", "ant", "dog"]))
    assert (words.class_names, words.labels.tolist()) == (("ant", "dog"), [1, 0, 1])
    named = as_samples((inputs, np.array(["dog", "ant", "dog"])), class_names=("dog", "ant"))
    assert named.labels.tolist() == [0, 1, 0]
    unlabelled = as_samples(inputs)
    assert (unlabelled.labels.tolist(), unlabelled.class_names) == ([-1, -1, -1], ())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((torch.zeros(2, 2), [0.5, 1.0]), "not class indices"),
        ((torch.zeros(2, 2), [0, 1, 1]), "different lengths"),
        (([[1, 2], [3]], [0, 1]), "different shapes"),
        ((torch.zeros(2, 2), torch.eye(2)[:, :1]), "no distribution"),
        ((torch.zeros(2, 2), torch.tensor([[0, 1], [1, 1]])), "multi-hot rows or a class for each position"),
        ((torch.zeros(2, 2), [0, 1], [0, 1]), "no sample weight"),
        ((torch.tensor([1.0, 2.0]), [0, 1]), "neither image nor feature"),
        ((np.array([[None, 1]]), [0]), "not numbers"),
    ],
)
def test_as_samples_refuses(data, message):
    with pytest.raises(DataError, match=message):
        as_samples(data)


def test_unknown_word_names_its_position():
    with pytest.raises(DataError, match="'cow' at position 1"):
        as_samples((torch.zeros(2, 2), ["dog", "cow"]), class_names=("dog", "ant"))


def test_samples_and_ids_pass_through():
    assert as_samples(toy()).fingerprint == toy().fingerprint
    assert as_samples(toy(2), class_names=("a", "b", "c")).class_names == ("a", "b", "c")
    assert as_samples((torch.zeros(2, 1), [0, 1]), ids=[9, 4]).ids.tolist() == [9, 4]


class Pairs(Dataset):
    """(input, label) pairs that count how often they are read."""

    def __init__(self, *, random: bool = False) -> None:
        self.random, self.reads = random, 0

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int):
        self.reads += 1
        value = torch.full((3,), float(index))
        return (value + torch.rand(3) if self.random else value), index % 2


class WithTargets(Pairs):
    classes = ("even", "odd")
    targets = tuple(i % 2 for i in range(10))


class Transformed(WithTargets):
    def target_transform(self, label: int) -> int:
        return 1 - label

    def __getitem__(self, index: int):
        value, label = super().__getitem__(index)
        return value, self.target_transform(label)


class Pictures(Dataset):
    def __init__(self, mode: str) -> None:
        self.mode = mode

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int):
        return Image.new(self.mode, (5, 4), index), index


def test_dataset_is_read_on_demand():
    data = WithTargets()
    samples = as_samples(data)
    assert data.reads == 1  # whether an item has a weight
    assert samples.class_names == ("even", "odd")
    assert samples.fetch(torch.tensor([4, 1])).tolist() == [[4, 4, 4], [1, 1, 1]]
    assert data.reads == 3


def test_dataset_without_targets_is_passed_over_once():
    data = Pairs()
    assert as_samples(data).labels.tolist() == [0, 1] * 5
    assert data.reads == 10


def test_target_transform_is_respected():
    assert as_samples(Transformed()).labels.tolist() == [1, 0] * 5


def test_subset_takes_its_own_labels():
    samples = as_samples(Subset(WithTargets(), [3, 4, 7]))
    assert (samples.labels.tolist(), samples.class_names) == ([1, 0, 1], ("even", "odd"))
    assert samples.fetch(torch.tensor([2]))[0, 0] == 7


def test_tensor_dataset_is_taken_whole():
    samples = as_samples(TensorDataset(torch.arange(6.0).view(3, 2), torch.tensor([0, 1, 0])))
    assert samples.in_memory
    assert samples.labels.tolist() == [0, 1, 0]


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("P", 3)])
def test_pictures_become_channel_first(mode, channels):
    samples = as_samples(Pictures(mode))
    assert samples.input_shape == (channels, 4, 5)
    assert samples.is_image


def test_random_transforms_are_replayed_and_what_cannot_be_is_found():
    class OwnGenerator(Pairs):
        def __getitem__(self, index: int):
            self.reads += 1
            return torch.full((3,), float(self.reads)), 0

    assert as_samples(Pairs()).is_replayable
    assert as_samples(Pairs(random=True)).is_replayable
    assert not as_samples(OwnGenerator()).is_replayable
    assert as_samples(OwnGenerator()).fingerprint == as_samples(OwnGenerator()).fingerprint
    assert as_samples(Pairs(random=True)).fingerprint == as_samples(Pairs(random=True)).fingerprint
    assert as_samples(Pairs()).fingerprint != as_samples(Pairs()).take(torch.arange(9)).fingerprint


def test_streams_are_refused():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter([])

    for stream in (Stream(), iter([1, 2])):
        with pytest.raises(DataError, match="stream"):
            as_samples(stream)


def test_dataset_inputs_of_different_shapes_are_named():
    class Ragged(Pairs):
        def __getitem__(self, index: int):
            return torch.zeros(2 + index), 0

    with pytest.raises(DataError, match=r"\(2,\) at position 0, \(5,\) at position 3"):
        _ = DatasetInputs(Ragged())[torch.tensor([0, 3])]


def test_one_wrong_label_is_told_and_makes_no_hundred_million_classes(tmp_path):
    inputs, labels = np.zeros((20, 3), dtype=np.float32), np.arange(20) % 2
    labels[7] = 10**8
    with pytest.raises(DataError, match="label 100000000"):
        as_samples((inputs, labels))
    np.savez(tmp_path / "wrong.npz", inputs=inputs, labels=labels)
    with pytest.raises(DataError, match="label 100000000"):
        load_data(tmp_path / "wrong.npz")
    with pytest.raises(DataError, match="system can open"):
        load_data("x" * 5000)
