"""What people have becomes samples: several inputs, four kinds of labels, weights, tables, loaders, paths."""

from __future__ import annotations

import sys
import types
from collections import namedtuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, SubsetRandomSampler, TensorDataset

from limbeck.data import (
    IGNORE_INDEX,
    DatasetInputs,
    IndexedDataset,
    Normalise,
    Samples,
    Splits,
    Views,
    as_samples,
    as_splits,
    can_normalise,
    hold_out,
    load_data,
    load_hf,
    load_table,
    pad_collate,
    require_classes,
)
from limbeck.distillation.job_arguments import JobArguments
from limbeck.distillation.splits import job_data
from limbeck.errors import DataError, InvalidValue, MissingPackage

TOKENS = torch.tensor([[1, 2], [3, 4], [5, 6]])
FLOATS = torch.tensor([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])


# --- inputs -----------------------------------------------------------------------------------------------------------


def test_a_mapping_keeps_names_and_integers_through_every_step():
    samples = as_samples(({"input_ids": TOKENS, "scores": FLOATS.double()}, [0, 1, 0]))
    assert samples.input_shapes == {"input_ids": (2,), "scores": (2,)}
    assert samples.input_dtypes == {"input_ids": torch.int64, "scores": torch.float32}
    batch = Views().batch(samples.take(torch.tensor([2, 0])), torch.tensor([1]), view=3)
    assert batch.inputs["input_ids"].tolist() == [[1, 2]]
    assert batch.inputs["input_ids"].dtype == torch.int64
    assert torch.equal(batch.part(0, 1).inputs["scores"], FLOATS[:1])
    assert samples.in_memory
    assert not samples.is_image
    assert not can_normalise(samples)
    other = as_samples(({"input_ids": TOKENS + 1, "scores": FLOATS}, [0, 1, 0]))
    assert other.fingerprint != samples.fingerprint
    assert samples.take(torch.tensor([2, 1, 0])).fingerprint == samples.fingerprint


def test_only_the_floats_of_a_mapping_are_normalised():
    samples = as_samples(({"input_ids": TOKENS, "scores": FLOATS}, [0, 1, 0]))
    batch = Views(normalise=Normalise((0.1,), (0.5,))).batch(samples, torch.tensor([0]), view=None)
    assert torch.allclose(batch.inputs["scores"], torch.tensor([[0.0, 0.2]]))
    assert batch.inputs["input_ids"].tolist() == [[1, 2]]


def test_token_ids_are_never_normalised():
    tokens = as_samples((TOKENS, [0, 1, 0]))
    assert Views().batch(tokens, torch.tensor([1]), view=None).inputs.dtype == torch.int64
    with pytest.raises(InvalidValue, match="token ids"):
        Normalise.fit(tokens)
    with pytest.raises(InvalidValue, match="one part of floats or images"):
        Views(normalise=Normalise((0.0,), (1.0,))).batch(tokens, torch.tensor([0]), view=None)


def test_prepared_mappings_give_the_same_batches():
    images = torch.arange(3 * 3 * 4, dtype=torch.uint8).view(3, 3, 2, 2)
    samples = as_samples(({"pixel_values": images, "input_ids": TOKENS}, [0, 1, 0]))
    views = Views(normalise=Normalise((0.5,), (0.5,)))
    prepared = views.prepared(samples)
    assert prepared is not samples
    direct, made = (views.batch(one, torch.tensor([2, 0]), view=None).inputs for one in (samples, prepared))
    assert torch.equal(direct["pixel_values"], made["pixel_values"])
    assert torch.equal(direct["pixel_values"], (images[[2, 0]].float() - 127.5) * (1 / 127.5))
    assert torch.equal(direct["input_ids"], made["input_ids"])


# --- labels and weights -----------------------------------------------------------------------------------------------


def test_kinds_of_labels_and_what_they_say_of_the_task():
    rows = torch.tensor([[1, 0, 1], [0, 0, 0], [0, 1, 0]])
    multi = as_samples((FLOATS, rows))
    assert (multi.task, multi.labels.dtype, multi.num_classes) == ("multi_label", torch.bool, 3)
    soft = as_samples((FLOATS, [[0.2, 0.8], [1.0, 0.0], [0.5, 0.5]]))
    assert (soft.task, soft.labels.dtype, soft.has_positions) == ("single_label", torch.float32, False)
    tags = as_samples((TOKENS, [[0, 2], [1, IGNORE_INDEX], [2, 2]]))
    assert (tags.task, tags.labels.dtype, tags.has_positions, tags.num_classes) == (
        "single_label",
        torch.int64,
        True,
        3,
    )
    declared = as_samples((FLOATS, [[0.9, 0.9], [0.0, 0.0], [1.0, 0.0]]), task="multi_label")
    assert declared.labels.dtype == torch.float32
    partly = as_samples((FLOATS, [[1, -1], [0, 0], [1, 0]]), task="multi_label")
    assert partly.labels.tolist() == [[1, -1], [0, 0], [1, 0]]
    assert as_samples((TOKENS, [[0, 1], [1, 1], [0, 0]]), task="single_label").has_positions
    with pytest.raises(DataError, match="multi_label"):
        as_samples((FLOATS, [[0.9, 0.9], [0.0, 0.0], [1.0, 0.0]]))


def test_sequences_of_labels_are_padded_with_what_does_not_count():
    samples = as_samples((TOKENS, [[0, 1], [2], [1, 1]]))
    assert samples.labels.tolist() == [[0, 1], [2, IGNORE_INDEX], [1, 1]]


@pytest.mark.parametrize(
    "labels", [[[1, 0, 1], [0, 0, 0], [0, 1, 0]], [[0.2, 0.8], [1.0, 0.0], [0.5, 0.5]], [[0, 2, 1]] * 3]
)
def test_labels_of_every_kind_can_be_unknown_and_are_carried(labels):
    samples = as_samples((FLOATS, torch.tensor(labels)), weights=[1.0, 0.0, 2.0])
    assert samples.labelled_positions().tolist() == [0, 1, 2]
    part = samples.without_labels(torch.tensor([1]))
    assert part.labelled_positions().tolist() == [0, 2]
    assert len(samples.without_labels().labelled_positions()) == 0
    assert part.inputs_fingerprint == samples.inputs_fingerprint
    assert samples.take(torch.tensor([2, 0])).weights.tolist() == [2.0, 1.0]
    assert torch.equal(samples.take(torch.tensor([2])).labels, samples.labels[2:])
    assert samples.fingerprint != as_samples((FLOATS, torch.tensor(labels))).fingerprint  # weights count


def test_the_third_column_is_a_weight_and_reaches_the_batch():
    for data in (
        (FLOATS, [0, 1, 0], [1.0, 0.5, 0.0]),
        TensorDataset(FLOATS, torch.tensor([0, 1, 0]), torch.tensor([1.0, 0.5, 0.0])),
        list(zip(FLOATS, [0, 1, 0], [1.0, 0.5, 0.0], strict=True)),
        [{"x": x, "y": y, "weight": w} for x, y, w in zip(FLOATS, [0, 1, 0], [1.0, 0.5, 0.0], strict=True)],
        {"inputs": FLOATS, "label": [0, 1, 0], "sample_weight": [1.0, 0.5, 0.0]},
    ):
        samples = as_samples(data)
        assert samples.weights.tolist() == [1.0, 0.5, 0.0]
        batch = Views().batch(samples, torch.tensor([1, 0]), view=None)
        assert batch.weights.tolist() == [0.5, 1.0]
        assert batch.part(0, 1).weights.tolist() == [0.5]
        assert torch.equal(batch.inputs, FLOATS[[1, 0]])
    assert as_samples((FLOATS, [0, 1, 0])).weights is None


def test_an_index_in_third_place_is_no_weight():
    for data in ([(FLOATS[0], 0, 17)], (FLOATS, [0, 1, 0], torch.arange(3))):
        with pytest.raises(DataError, match="no sample weight"):
            as_samples(data)


def test_hold_out_with_several_labels_keeps_the_rare_ones_on_both_sides():
    labels = torch.zeros(40, 3, dtype=torch.bool)
    labels[:, 0] = True
    labels[:20, 1] = True
    labels[:4, 2] = True
    samples = Samples("toy", torch.arange(40), torch.zeros(40, 1), labels, ("all", "half", "rare"))
    rest, held = hold_out(samples, fraction=0.25, seed=0)
    assert held.labels.sum(dim=0).tolist() == [10, 5, 1]
    assert rest.labels.sum(dim=0).tolist() == [30, 15, 3]


def test_hold_out_by_position_soft_and_without_labels():
    tags = torch.zeros(20, 3, dtype=torch.int64)
    tags[:4, 1] = 1
    _, held = hold_out(Samples("t", torch.arange(20), torch.zeros(20, 1), tags, ("o", "x")), fraction=0.25, seed=0)
    assert int((held.labels == 1).sum()) == 1
    soft = torch.tensor([[0.9, 0.1]] * 10 + [[0.2, 0.8]] * 10)
    _, held = hold_out(Samples("s", torch.arange(20), torch.zeros(20, 1), soft, ("a", "b")), fraction=0.2, seed=0)
    assert held.labels.argmax(dim=1).bincount().tolist() == [2, 2]
    rest, held = hold_out(as_samples(torch.zeros(20, 1)), fraction=0.2, seed=0)
    assert (len(rest), len(held)) == (16, 4)


def test_single_classes_are_found_in_every_kind_of_labels():
    for labels in (
        torch.tensor([[1.0, 0.0]] * 3),
        torch.tensor([[0, IGNORE_INDEX]] * 3),
    ):
        with pytest.raises(DataError, match="single class"):
            require_classes(Samples("s", torch.arange(3), FLOATS, labels, ("a", "b")), "the training split")
    require_classes(as_samples((FLOATS, torch.tensor([[True, False]] * 3))), "the training split")


def test_a_job_takes_a_transfer_set_without_labels():
    data = job_data(torch.randn(30, 4), JobArguments(class_names=("a", "b")), name_classes=lambda samples: ("a", "b"))
    assert len(data.train.labelled_positions()) == 0
    assert data.validation is None
    assert len(data.train) + len(data.test) == 30


# --- data sets and loaders --------------------------------------------------------------------------------------------


def test_items_that_are_mappings_or_named_tuples():
    Item = namedtuple("Item", ["inputs", "label"])
    named = as_samples([Item(one, label) for one, label in zip(FLOATS, [0, 1, 0], strict=True)])
    assert (named.input_shape, named.labels.tolist()) == ((2,), [0, 1, 0])
    rows = [{"input_ids": [1, 2], "mask": [1, 0], "labels": 1, "idx": 4, "text": "hi"} for _ in range(2)]
    both = as_samples(rows)
    assert both.input_shapes == {"input_ids": (2,), "mask": (2,)}
    chosen = as_samples([{"a": one, "kind": "xy"[n % 2]} for n, one in enumerate(FLOATS)], label_column="kind")
    assert chosen.class_names == ("x", "y")
    with pytest.raises(DataError, match=r"(?s)no column 'knd'.*did you mean kind"):
        as_samples([{"a": FLOATS[0], "kind": "x"}], label_column="knd")
    with pytest.raises(DataError, match="several columns"):
        as_samples([{"a": FLOATS[0], "label": 0, "target": 1}])
    with pytest.raises(DataError, match="tokenised"):
        as_samples([{"text": "hello", "label": 0}])


def test_errors_inside_a_data_set_name_the_sample_and_keep_the_cause():
    class Broken:
        targets = (0, 1)

        def __len__(self):
            return 2

        def __getitem__(self, position):
            if position == 1:
                raise KeyError("no such file")
            return torch.zeros(2), 0

    samples = as_samples(Broken())
    with pytest.raises(DataError, match=r"(?s)failed at sample 1 of 2.*KeyError") as caught:
        samples.fetch(torch.tensor([0, 1]))
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_stream_is_refused_with_the_reason_and_the_way_out():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter([(torch.zeros(2), 0)])

    for stream in (Stream(), DataLoader(Stream())):
        with pytest.raises(DataError, match=r"(?s)by each sample's id.*as_samples\(list\(stream\)\)"):
            as_samples(stream)
    assert len(as_samples(list(Stream()))) == 1


def test_a_loaders_parts_are_used():
    def doubled(items):
        return torch.stack([2 * value for value, _ in items]), torch.tensor([label for _, label in items])

    pairs = list(zip(FLOATS, [0, 1, 0], strict=True))
    loader = DataLoader(pairs, batch_size=2, collate_fn=doubled, sampler=SubsetRandomSampler([2, 0]))
    samples = as_samples(loader)
    assert torch.equal(samples.fetch(torch.tensor([0, 1])), 2 * FLOATS[[2, 0]])
    assert samples.labels.tolist() == [0, 0]
    assert samples.inputs.reading.batch_size == 2
    assert "SubsetRandomSampler was replaced" in samples.notes[0]


def test_splits_by_name_share_their_classes():
    part = as_samples((FLOATS, ["b", "a", "b"]))
    assert part.class_names == ("a", "b")
    splits = as_splits({"train": (FLOATS, ["b", "a", "b"]), "valid": (FLOATS, ["b", "b", "b"]), "more": None}, name="d")
    assert isinstance(splits, Splits)
    assert splits.validation.labels.tolist() == [1, 1, 1]
    assert splits.train.name == "d/train"
    assert "more" in splits.notes[0]
    with pytest.raises(DataError, match="as_splits"):
        as_samples({"train": [(FLOATS[0], 0)], "test": [(FLOATS[0], 0)]})


def test_an_indexed_data_set_feeds_a_loop_of_ones_own():
    pairs = list(zip(FLOATS, [0, 1, 0], strict=True))
    loader = DataLoader(IndexedDataset(pairs, ids=[30, 10, 20]), batch_size=2, shuffle=True)
    for ids, inputs, labels in loader:
        for one, row, label in zip(ids.tolist(), inputs, labels.tolist(), strict=True):
            place = [30, 10, 20].index(one)
            assert torch.equal(row, FLOATS[place])
            assert label == [0, 1, 0][place]
    assert IndexedDataset([(FLOATS[0], 1, 0.5)])[0][3] == 0.5
    with pytest.raises(DataError, match="one id for each sample"):
        IndexedDataset(pairs, ids=[1, 1, 2])


def test_inputs_of_a_data_set_are_known_by_their_content():
    pairs = list(zip(FLOATS, [0, 1, 0], strict=True))
    changed = [(one + (number == 2), label) for number, (one, label) in enumerate(pairs)]
    assert as_samples(pairs).inputs_fingerprint != as_samples(changed).inputs_fingerprint
    assert DatasetInputs(pairs).is_replayable


# --- paths, tables, hubs ----------------------------------------------------------------------------------------------


def test_a_list_of_image_paths(tmp_path):
    for number in range(3):
        Image.new("RGB", (6, 4), (number, 0, 0)).save(tmp_path / f"{number}.png")
    samples = as_samples(([tmp_path / f"{number}.png" for number in range(3)], ["a", "b", "a"]))
    assert samples.input_shape == (3, 4, 6)
    assert samples.inputs[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert as_samples(([str(tmp_path / "0.png")], [0]), image_size=2).input_shape == (3, 2, 2)


def test_tables(tmp_path):
    path = tmp_path / "flowers.csv"
    path.write_text("id,width,height,kind,weight\n1,1,2.5,rose,1\n2,3,4,tulip,0.5\n")
    table = load_table(path, label_column="kind")
    assert table.inputs.tolist() == [[1.0, 2.5], [3.0, 4.0]]
    assert (table.label.tolist(), table.weight.tolist()) == (["rose", "tulip"], [1.0, 0.5])
    rows = "".join(f"{n},{n % 2}.5,{'rose' if n % 3 else 'tulip'}\n" for n in range(60))
    path.write_text("width,height,kind\n" + rows)
    splits = load_data(path, label_column="kind")
    assert splits.train.class_names == ("rose", "tulip")
    assert splits.train.inputs.dtype == torch.float32
    for text, message in (
        ("a,kind\n1,x\n2\n", "Row 3"),
        ("a,b,kind\n1,red,x\n", "(?s)'b'.*not numeric"),
        ("a,kind\n1,x\n,y\n", r"(?s)'a'.*lacks a value.*row 2"),
        ("a,a\n1,2\n", "twice"),
        ("", "no rows"),
        ("a,kind\n", "no rows"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            load_table(path, label_column="kind")


class Frame:
    """Behaves like a data frame as far as it is asked."""

    def __init__(self, **columns):
        self.data, self.columns, self.iloc = {k: np.array(v) for k, v in columns.items()}, list(columns), None

    def __getitem__(self, column):
        return self.data[column]

    def to_numpy(self):
        raise AssertionError("columns differ in type")


def test_data_frames():
    samples = as_samples(Frame(a=[1, 2], b=[0.5, 0.25], target=["x", "y"]))
    assert samples.inputs.tolist() == [[1.0, 0.5], [2.0, 0.25]]
    assert samples.class_names == ("x", "y")
    with pytest.raises(DataError, match="--label-column kind"):
        as_samples(Frame(a=[1, 2], kind=["x", "y"]))


class Rows:
    """Behaves like a Hugging Face data set."""

    def __init__(self, **columns):
        self.columns, self.column_names = columns, list(columns)
        self.features = {"label": types.SimpleNamespace(names=["neg", "pos"])}

    def __len__(self):
        return len(self.columns["label"])

    def __getitem__(self, key):
        return self.columns[key] if isinstance(key, str) else {name: rows[key] for name, rows in self.columns.items()}


def test_hugging_face_data_sets_from_disk(monkeypatch, tmp_path):
    rows = Rows(input_ids=[[1, 2, 3], [4]], attention_mask=[[1, 1, 1], [1]], label=[0, 1], text=["a", "b"])
    package = types.ModuleType("datasets")
    package.load_from_disk = lambda folder: {"train": rows, "test": rows}
    monkeypatch.setitem(sys.modules, "datasets", package)
    splits = load_hf(str(tmp_path))
    assert splits.train.class_names == ("neg", "pos")
    batch = Views().batch(splits.test, torch.tensor([1, 0]), view=None)
    assert batch.inputs["input_ids"].tolist() == [[4, 0, 0], [1, 2, 3]]
    assert batch.inputs["attention_mask"].tolist() == [[1, 0, 0], [1, 1, 1]]
    assert any("text" in note for note in splits.notes)
    assert any("padded" in note for note in splits.notes)

    def absent(*_):
        raise ConnectionError("no network")

    package.load_dataset = absent
    with pytest.raises(DataError, match=r"(?s)Cannot load.*save_to_disk"):
        load_data("hf:nobody/nothing")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingPackage, match=r"limbeck\[hf\]"):
        load_data("hf:anything")


def test_parquet_without_its_package(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingPackage, match=r"limbeck\[tables\]"):
        load_table(tmp_path / "t.parquet")


# --- padding ----------------------------------------------------------------------------------------------------------


def test_padding_by_hand():
    collate = pad_collate(9, multiple_of=4, max_length=5)
    items = [
        {"input_ids": torch.arange(1, 7), "labels": torch.tensor([1, 1])},
        {"input_ids": torch.tensor([1]), "labels": torch.tensor([2])},
    ]
    batch = collate(items)
    assert batch["input_ids"].tolist() == [[1, 2, 3, 4, 5, 9, 9, 9], [1, 9, 9, 9, 9, 9, 9, 9]]
    assert batch["attention_mask"].sum(dim=1).tolist() == [5, 1]
    assert batch["labels"].tolist() == [[1, 1, -100, -100], [2, -100, -100, -100]]
    pair = pad_collate()([(torch.ones(2, 3), 1), (torch.ones(1, 3), 0)])
    assert pair[0].shape == (2, 2, 3)
    assert pair[1].tolist() == [1, 0]
    with pytest.raises(DataError, match="first axis"):
        pad_collate()([torch.ones(2, 3), torch.ones(1, 4)])


def test_labels_of_positions_are_cut_to_the_batch():
    rows = [{"input_ids": [1] * n, "labels": [n % 3] * n} for n in (2, 5, 3)]
    samples = as_samples(rows, collate=pad_collate())
    assert samples.labels.shape == (3, 5)
    batch = Views().batch(samples, torch.tensor([0, 2]), view=None)
    assert batch.labels.tolist() == [[2, 2, -100], [0, 0, 0]]
    assert batch.inputs["input_ids"].shape == (2, 3)


def test_ragged_items_without_a_collate_function_say_what_helps():
    rows = [{"input_ids": [1] * n, "label": 0} for n in (2, 5)]
    with pytest.raises(DataError, match=r"(?s)different shapes.*input_ids.*pad_collate"):
        as_samples(rows).fetch(torch.tensor([0, 1]))
