"""``limbeck predict``: images, rows and lines as they come, with what training and the files give for them."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

import limbeck
from limbeck.cli.app import app
from limbeck.commands import predict as command
from limbeck.data import Splits, as_samples, load_data
from limbeck.errors import DataError, ModelError, TeacherError
from limbeck.exporting.opened import Predictor, open_student
from limbeck.exporting.predictions import predictions
from limbeck.exporting.reading import NamedBatch, read_batches, text_batches
from limbeck.exporting.session import Facts, runner
from limbeck.models import build, save_model

CLASSES = ("ant", "bee", "cat")
NORMALISE = {"mean": [0.4], "std": [0.3]}


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    folder = tmp_path_factory.mktemp("student")
    network = build("mlp:widths=6", input_shape=(1, 8, 8), num_classes=3, seed=0)
    save_model(folder, network, spec="mlp:widths=6", input_shape=(1, 8, 8), class_names=CLASSES, normalise=NORMALISE)
    return folder, network.eval()


@pytest.fixture
def folder(tmp_path):
    """Images in two folders: of the network's size, of another one, coloured; and a file that is none."""
    from PIL import Image

    draw = np.random.default_rng(0)
    (tmp_path / "inner").mkdir()
    for k in range(5):
        Image.fromarray(draw.integers(0, 256, (8, 8), dtype=np.uint8)).save(tmp_path / "inner" / f"{k}.png")
    Image.fromarray(draw.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(tmp_path / "large.png")
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def ask(student, *paths, lines=None, **settings):
    defaults = {"tokenizer": None, "num_top": 1, "batch_size": 2, "factory": None, "is_multi_label": False}
    return list(command.run(student, paths, lines=lines, num_threads=None, **{**defaults, **settings}))


def test_images_are_predicted_in_order_whatever_the_batch(student, folder):
    from PIL import Image

    path, network = student
    found = ask(path, folder, num_top=3)
    assert [one.name.rpartition("/")[2] for one in found] == ["large.png", *(f"{k}.png" for k in range(5))]
    for one in found[1:]:
        pixels = torch.from_numpy(np.asarray(Image.open(one.name)).copy())[None, None].float()
        probs = torch.softmax(network((pixels / 255 - 0.4) / 0.3), 1)[0]
        order = probs.argsort(descending=True)
        assert one.classes == tuple(CLASSES[place] for place in order)
        assert one.probabilities == pytest.approx(probs[order].tolist(), abs=1e-6)
    assert [one.classes for one in ask(path, folder, num_top=3, batch_size=64)] == [one.classes for one in found]


@pytest.mark.filterwarnings("ignore")
def test_files_of_an_export_predict_the_same(student, folder, tmp_path):
    pytest.importorskip("onnxscript")
    path, _ = student
    samples = as_samples((torch.randint(0, 256, (6, 1, 8, 8), dtype=torch.uint8), list(CLASSES) * 2))
    out = tmp_path / "files"
    limbeck.export(path, data=Splits(samples, samples, samples), out=out)
    limbeck.export(path, data=Splits(samples, samples, samples), out=tmp_path / "program", to="torch")
    expected = ask(path, folder)
    for file in (out, out / "model.onnx", tmp_path / "program" / "model.pt2"):
        found = ask(file, folder)
        assert [(one.name, one.classes) for one in found] == [(one.name, one.classes) for one in expected]
        np.testing.assert_allclose(
            [one.probabilities for one in found], [one.probabilities for one in expected], atol=1e-5
        )


def test_rows_of_a_table_are_predicted_without_their_label(tmp_path):
    network = nn.Linear(2, 3)
    (tmp_path / "t.csv").write_text("id,a,b,label\n" + "".join(f"r{k},{k},{k / 2},x\n" for k in range(5)))
    predictor = predictor_of(network, names=(), input_shape=(2,))
    batches = list(read_batches([tmp_path / "t.csv"], predictor, batch_size=2))
    assert [len(batch.names) for batch in batches] == [2, 2, 1]
    found = list(predictions(batches, predictor))
    rows = torch.tensor([[k, k / 2] for k in range(5)])
    assert [one.classes[0] for one in found] == [CLASSES[place] for place in network(rows).argmax(1)]
    assert [one.name for one in found] == [f"r{k}" for k in range(5)]


def test_another_column_is_left_out_by_name(tmp_path):
    (tmp_path / "t.csv").write_text("a,b,kind\n1,2,x\n3,4,y\n")
    predictor = predictor_of(nn.Linear(2, 3), names=(), input_shape=(2,))
    (batch,) = read_batches([tmp_path / "t.csv"], predictor, label_column="kind", batch_size=2)
    assert batch.raw.tolist() == [[1, 2], [3, 4]]
    with pytest.raises(DataError, match=r"'kind' of .* is not numeric") as caught:
        list(read_batches([tmp_path / "t.csv"], predictor, batch_size=2))
    assert caught.value.received == "'x' in its first row"
    assert "--label-column kind" in caught.value.remedy


def test_lines_are_read_as_they_are_needed(monkeypatch):
    class Words:
        def __call__(self, lines, **settings):
            width = max(len(line) for line in lines)
            return {"input_ids": torch.tensor([[ord(c) % 7 for c in line.ljust(width)] for line in lines]), "other": 1}

    class Bag(nn.Module):
        def forward(self, input_ids):
            return torch.nn.functional.one_hot(input_ids, 7)[:, :, :3].float().sum(1)

    monkeypatch.setattr("limbeck.exporting.reading._tokenizer", lambda folder: Words())
    predictor = predictor_of(Bag(), names=("input_ids",), input_shape=(4,))
    endless = (f"line {k}" for k in itertools.count())
    found = predictions(text_batches(endless, predictor, tokenizer="t", batch_size=3), predictor)
    assert [one.name for one in itertools.islice(found, 4)] == [f"line {k}" for k in range(4)]
    assert next(endless) == "line 6"  # two batches were read, no more


def test_independent_labels_above_one_half_are_given():
    class Table(nn.Module):
        def forward(self, inputs):
            return inputs

    predictor = predictor_of(Table(), names=(), input_shape=(3,), task="multi_label")
    batch = NamedBatch(["both", "none"], torch.tensor([[1.0, -1.0, 3.0], [-1.0, -2.0, -3.0]]))
    both, none = predictions([batch], predictor)
    assert both.classes == ("cat", "ant")
    assert both.probabilities == pytest.approx(torch.sigmoid(torch.tensor([3.0, 1.0])).tolist())
    assert none.classes == ()
    assert json.loads(command.as_json(none))["class"] is None


def predictor_of(module, *, names, input_shape, task="single_label"):
    facts = Facts(CLASSES, task, "normalise", None, input_shape, "f", "mine")
    return Predictor(facts, runner(module, facts), names)


@pytest.mark.parametrize(
    ("paths", "error", "told"),
    [
        (["missing.png"], DataError, "There is no file or folder"),
        (["notes.txt"], DataError, "nothing to predict"),
        (["empty"], DataError, "has no images"),
        (["broken.png"], DataError, "broken.png"),
        (["t.csv"], DataError, "another number of features"),
        (["t.csv", "inner"], DataError, "predicted apart"),
    ],
)
def test_what_is_no_sample_is_told(student, folder, paths, error, told):
    (folder / "empty").mkdir()
    (folder / "broken.png").write_bytes(b"\x89PNG no more")
    (folder / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(error, match=told):
        ask(student[0], *(folder / path for path in paths))


def test_what_is_no_student_is_told(tmp_path, folder):
    with pytest.raises(ModelError, match="nothing to predict with"):
        open_student(tmp_path / "missing")
    (tmp_path / "other.onnx").write_bytes(b"no graph")
    with pytest.raises(TeacherError, match="onnxruntime cannot read"):
        open_student(tmp_path / "other.onnx")
    with pytest.raises(DataError, match="nothing to predict"):
        ask(tmp_path / "missing", lines=None)


def test_the_command_prints_a_line_of_json_for_each(student, folder):
    run = CliRunner().invoke(app(), ["predict", str(student[0]), str(folder / "inner"), "--json", "--top", "2"])
    lines = [json.loads(line) for line in run.output.splitlines()]
    assert run.exit_code == 0
    assert len(lines) == 5
    assert all(len(line["classes"]) == 2 and line["class"] in CLASSES for line in lines)


def test_digits_are_predicted_as_they_are_evaluated(tmp_path):
    from PIL import Image

    test = load_data("digits").test
    network = build("mlp:widths=6", input_shape=(1, 8, 8), num_classes=10, seed=0)
    save_model(
        tmp_path / "s",
        network,
        spec="mlp:widths=6",
        input_shape=(1, 8, 8),
        class_names=test.class_names,
        normalise=None,
    )
    paths = []
    for k in range(3):
        paths.append(tmp_path / f"{k}.png")
        Image.fromarray(test.inputs[k, 0].numpy()).save(paths[-1])
    expected = network.eval()(test.inputs[:3].float() / 255).argmax(1)
    assert [one.classes[0] for one in ask(tmp_path / "s", *paths)] == [test.class_names[place] for place in expected]
