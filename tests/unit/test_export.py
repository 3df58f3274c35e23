"""``export``: files that compute what the network does, measured on every sample before one of them is kept."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import limbeck
from limbeck.data import Samples, Splits, as_samples, pad_collate
from limbeck.errors import DataError, InvalidValue, ModelError, OutputError, RecordError
from limbeck.exporting.deployed import resized
from limbeck.exporting.parity import measure_parity
from limbeck.exporting.smaller import calibration_positions
from limbeck.models import SavedModel, build, fingerprint
from limbeck.records.export_record import export_from_json
from limbeck.reports.exports import export_table

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
NORMALISE = {"mean": [0.4], "std": [0.3]}


def kinds():
    path = Path(__file__).parents[1] / "contracts" / "teacher_kinds.py"
    if "teacher_kinds" not in sys.modules:
        spec = importlib.util.spec_from_file_location("teacher_kinds", path)
        sys.modules["teacher_kinds"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["teacher_kinds"])
    return sys.modules["teacher_kinds"]


def images(count=23, size=8, channels=1):
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randint(0, 256, (count, channels, size, size), dtype=torch.uint8, generator=draw)
    return Samples("toy", torch.arange(count), inputs, torch.arange(count) % 3, ("ant", "bee", "cat"))


def saved(network, samples, spec="mine", normalise=NORMALISE):
    return SavedModel(
        module=network.eval(),
        spec=spec,
        input_shape=samples.input_shape,
        class_names=list(samples.class_names),
        normalise=normalise,
        role="student",
        fingerprint=fingerprint(network),
        extra={},
    )


def splits(samples):
    return Splits(samples, samples, samples, name="toy")


def mlp(samples):
    return build("mlp:widths=6", input_shape=samples.input_shape, num_classes=3, seed=1)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    out, samples = tmp_path_factory.mktemp("export") / "onnx", images()
    network = saved(mlp(samples), samples, "mlp:widths=6")
    record = limbeck.export(
        network, splits(samples), out=out, precision=["float32", "float16", "int8"], max_lost=1.0, batch_size=4
    )
    return out, record, network, samples


def run(path, **inputs):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {name: part.numpy() for name, part in inputs.items()})[0], session


def by_hand(network, samples):
    """The network's logits of raw samples, with the preprocessing written out."""
    with torch.no_grad():
        return network.module((samples.inputs.float() / 255 - 0.4) / 0.3).numpy()


def test_the_file_takes_raw_images_and_gives_the_networks_logits(exported):
    out, _, network, samples = exported
    logits, session = run(out / "model.onnx", inputs=samples.inputs)
    np.testing.assert_allclose(logits, by_hand(network, samples), atol=1e-5)
    (given,) = session.get_inputs()
    assert (given.name, given.type, given.shape) == ("inputs", "tensor(uint8)", ["batch", 1, 8, 8])
    assert [(one.name, one.shape) for one in session.get_outputs()] == [("logits", ["batch", 3])]


def test_the_file_says_what_it_is(exported):
    out, _, network, _ = exported
    said = onnxruntime.InferenceSession(str(out / "model.onnx")).get_modelmeta().custom_metadata_map
    assert json.loads(said["class_names"]) == ["ant", "bee", "cat"]
    assert said["fingerprint"] == network.fingerprint
    assert json.loads(said["limbeck"])["normalise"] == NORMALISE


def test_the_record_lies_beside_the_files_and_tells_what_each_gives(exported):
    out, record, network, samples = exported
    assert export_from_json((out / "export.json").read_text()) == record
    assert [file.precision for file in record.files] == ["float32", "float16", "int8"]
    labels, logits = samples.labels.numpy(), by_hand(network, samples)
    for file in record.files:
        assert (out / file.file).stat().st_size == file.num_bytes
        assert file.num_samples == len(samples)
        found, _ = run(out / file.file, inputs=samples.inputs)
        assert file.max_logit_difference == pytest.approx(np.abs(found - logits).max(), rel=1e-3, abs=1e-6)
        assert file.num_changed_predictions == int((found.argmax(1) != logits.argmax(1)).sum())
        assert file.accuracy == pytest.approx((found.argmax(1) == labels).mean())
        assert file.accuracy_lost == pytest.approx(record.accuracy - file.accuracy)
        assert file.seconds_per_sample_batch1 > 0
    whole, half, eight = record.files
    assert 0 < whole.max_logit_difference < 1e-4 < half.max_logit_difference < eight.max_logit_difference
    assert record.accuracy == pytest.approx((logits.argmax(1) == labels).mean())


def test_the_table_has_a_row_for_each_and_a_sentence_for_the_smaller_ones(exported):
    _, record, _, _ = exported
    text = export_table(record)
    assert all(name in text for name in ("the network", "model.onnx", "model.float16.onnx", "model.int8.onnx"))
    lost = f"{100 * abs(record.files[2].accuracy_lost):.2f} points"
    assert f"int8: {lost}" in text or "int8: no accuracy lost" in text


def test_without_preprocessing_the_file_takes_what_the_network_takes(tmp_path):
    samples = images(5)
    network = saved(mlp(samples), samples)
    limbeck.export(network, splits(samples), out=tmp_path / "out", preprocess="none")
    logits, session = run(tmp_path / "out" / "model.onnx", inputs=(samples.inputs.float() / 255 - 0.4) / 0.3)
    assert session.get_inputs()[0].type == "tensor(float)"
    np.testing.assert_allclose(logits, by_hand(network, samples), atol=1e-5)


@pytest.mark.slow
def test_resizing_stands_inside_of_the_file(tmp_path):
    samples = images(5)
    network = saved(mlp(samples), samples)
    limbeck.export(network, splits(samples), out=tmp_path / "out", preprocess="resize")
    large = torch.randint(0, 256, (3, 1, 20, 31), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    logits, session = run(tmp_path / "out" / "model.onnx", inputs=large)
    assert session.get_inputs()[0].shape == ["batch", 1, "height", "width"]
    small = dataclasses.replace(images(3), inputs=resized(large, (8, 8)))
    np.testing.assert_allclose(logits, by_hand(network, small), atol=1e-4)


def test_images_are_resized_as_folders_are_read():
    from PIL import Image

    image = images(1, size=40).inputs[0, :, :31]
    left = (40 - 31) // 2
    square = Image.fromarray(image[0].numpy()).crop((left, 0, left + 31, 31))
    expected = np.asarray(square.resize((8, 8), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(resized(image[None], (8, 8))[0, 0].numpy().astype(int) - expected).max() <= 1


def test_a_program_runs_without_this_package(tmp_path):
    samples = images(5)
    network = saved(mlp(samples), samples)
    limbeck.export(network, splits(samples), out=tmp_path / "out", to="torch")
    program = torch.export.load(tmp_path / "out" / "model.pt2").module()
    for count in (1, 5):
        found = program(samples.inputs[:count]).detach().numpy()
        np.testing.assert_allclose(found, by_hand(network, samples)[:count], atol=1e-6)


class Noisy(nn.Module):
    """Gives other logits on every call, in eval mode, too."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 3)

    def forward(self, inputs):
        return torch.rand_like(self.layer(inputs.flatten(1)))


class Fixed(Noisy):
    def forward(self, inputs):
        return self.layer(inputs.reshape(4, 64))


class Lacking(Noisy):
    def forward(self, inputs):
        return self.layer(torch.special.bessel_j0(inputs.flatten(1)))


def test_a_file_that_differs_is_refused_and_nothing_is_kept(tmp_path):
    samples = images(5)
    with pytest.raises(ModelError, match="does not compute what the network does") as caught:
        limbeck.export(saved(Noisy(), samples), splits(samples), out=tmp_path / "out", to="torch")
    assert "of 5 predictions changed" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_loss_of_accuracy_is_refused(tmp_path, exported):
    _, _, network, _ = exported
    samples = images(300)
    right = dataclasses.replace(samples, labels=torch.from_numpy(by_hand(network, samples).argmax(1)))
    with pytest.raises(ModelError, match="loses too much"):
        limbeck.export(network, splits(right), out=tmp_path / "out", precision="int8", max_lost=0.0)
    assert list(tmp_path.iterdir()) == []


def test_an_operator_that_onnx_lacks_is_named_with_its_module(tmp_path):
    samples = images(5)
    network = nn.Sequential(nn.Identity(), Lacking())
    with pytest.raises(ModelError, match="no ONNX form") as caught:
        limbeck.export(saved(network, samples), splits(samples), out=tmp_path / "out")
    assert "bessel_j0" in str(caught.value)
    assert "module 1 (Lacking)" in str(caught.value)


class Selecting(Noisy):
    """Has shapes that depend on values."""

    def forward(self, inputs):
        rows = self.layer(inputs.flatten(1))
        return rows if rows.sum() > 0 else rows[rows[:, 0] > 0]


@pytest.mark.parametrize("network", [Fixed, Selecting])
def test_shapes_that_do_not_follow_from_the_input_are_refused(tmp_path, network):
    samples = images(4)
    with pytest.raises(ModelError, match="cannot make a program") as caught:
        limbeck.export(saved(network(), samples), splits(samples), out=tmp_path / "out")
    assert "sizes from x.shape" in caught.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_a_calibration_set_of_one_class_leaves_nothing_behind(tmp_path):
    samples = images()
    one = samples.take((samples.labels == 1).nonzero()[:, 0])
    network = saved(mlp(samples), samples, "mlp:widths=6")
    with pytest.raises(DataError, match="not measured on samples of one class") as caught:
        limbeck.export(network, Splits(one, samples, samples), out=tmp_path / "out", precision=["float32", "int8"])
    assert "--data" in caught.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_the_same_export_again_is_the_one_that_is_there(tmp_path):
    samples = images(9)
    network, out = saved(mlp(samples), samples), tmp_path / "onnx"
    record = limbeck.export(network, splits(samples), out=out)
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert limbeck.export(network, splits(samples), out=out) == record
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["onnx"]
    with pytest.raises(OutputError, match=r"tolerance 0.001\n(.*\n)*.*tolerance 0.5"):
        limbeck.export(network, splits(samples), out=out, tolerance=0.5)
    with pytest.raises(OutputError, match=f"network {record.fingerprint[:8]}"):
        limbeck.export(saved(build("mlp:widths=5", input_shape=(1, 8, 8), num_classes=3, seed=2), samples),
                       splits(samples), out=out)  # fmt: skip
    (out / "model.onnx").write_bytes((out / "model.onnx").read_bytes() + b"x")
    with pytest.raises(RecordError, match="is not what was exported"):
        limbeck.export(network, splits(samples), out=out)


def test_an_export_is_replaced_only_when_asked(tmp_path, exported):
    out, _, network, samples = exported
    with pytest.raises(OutputError, match="holds an export of another kind"):
        limbeck.export(network, splits(samples), out=out)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds something else"):
        limbeck.export(network, splits(samples), out=tmp_path, overwrite=True)


def test_what_does_not_go_together_is_refused(tmp_path):
    samples = images(5)
    network = saved(mlp(samples), samples)
    with pytest.raises(InvalidValue, match="Half precision and integers are of ONNX"):
        limbeck.export(network, splits(samples), out=tmp_path / "out", to="torch", precision="int8")
    other = dataclasses.replace(samples, class_names=("ant", "bee", "cow"))
    with pytest.raises(DataError, match="other classes"):
        limbeck.export(network, splits(other), out=tmp_path / "out")
    features = as_samples((torch.rand(6, 4), ["ant", "bee", "cat"] * 2))
    linear = saved(nn.Linear(4, 3), features, normalise=None)
    with pytest.raises(InvalidValue, match="Only images are resized"):
        limbeck.export(linear, splits(features), out=tmp_path / "out", preprocess="resize")
    with pytest.raises(DataError, match="Nothing says which data"):
        limbeck.export(network, out=tmp_path / "out")
    with pytest.raises(DataError, match="no validation split"):
        limbeck.export(network, Splits(samples, None, samples), out=tmp_path / "out")


def test_data_come_as_a_dictionary_by_split_and_validation_is_held_out_as_the_run_did(tmp_path):
    train, test = (
        as_samples((torch.rand(40, 4), ["ant", "bee"] * 20)),
        as_samples((torch.rand(8, 4), ["ant", "bee"] * 4)),
    )
    data = {"train": train, "test": test}
    recipe = limbeck.TrainConfig(num_epochs=1)
    limbeck.train("mlp:widths=4", data, recipe=recipe, seeds=1, out=tmp_path / "run", progress="silent")
    with pytest.raises(DataError, match="The run's data cannot be loaded again"):
        limbeck.export(tmp_path / "run")
    record = limbeck.export(tmp_path / "run", data)
    assert (record.split, record.files[0].num_samples) == ("validation", 4)
    with pytest.raises(DataError, match="come by split"):
        limbeck.export(tmp_path / "run", torch.rand(3, 4))


def test_ranges_are_measured_on_all_classes_in_turn():
    samples = images(12)
    assert sorted(samples.labels[calibration_positions(samples, 6)].tolist()) == [0, 0, 1, 1, 2, 2]
    one = samples.take((samples.labels == 1).nonzero()[:, 0])
    with pytest.raises(DataError, match="one class"):
        calibration_positions(one, 6)


def test_parity_is_measured_on_the_last_sample_too():
    samples = images(7)
    right = torch.nn.functional.one_hot(samples.labels, 3).float()
    wrong = right.clone()
    wrong[6] = torch.tensor([0.0, 5.0, 0.0])  # of class 0
    position = {int(value.sum()): place for place, value in enumerate(samples.inputs)}

    def looked_up(table):
        return lambda raw: torch.stack([table[position[int(image.sum())]] for image in raw])

    parity = measure_parity(looked_up(right), looked_up(wrong), samples, batch_size=3)
    assert (parity.max_difference, parity.num_changed, parity.num_samples) == (5.0, 1, 7)
    assert parity.lost == pytest.approx(1 / 7)


@pytest.mark.slow
def test_token_ids_have_free_sequences_and_dynamic_int8(tmp_path):
    transformers = kinds().import_transformers()
    rows = [{"input_ids": [2 + k % 5] * (3 + k % 4), "label": ("no", "yes")[k % 2]} for k in range(12)]
    samples = as_samples(rows, name="texts", collate=pad_collate(0))
    config = transformers.DistilBertConfig(
        vocab_size=20, dim=8, hidden_dim=8, n_layers=1, n_heads=2, num_labels=2, max_position_embeddings=16
    )
    torch.manual_seed(0)
    network = saved(transformers.DistilBertForSequenceClassification(config), samples, normalise=None)
    record = limbeck.export(
        network, splits(samples), out=tmp_path / "out", precision=["float32", "int8"], max_lost=1.0, batch_size=5
    )
    assert {one.name: one.shape for one in record.inputs} == {
        "input_ids": ["batch", "sequence"],
        "attention_mask": ["batch", "sequence"],
    }
    assert "at run time" in record.files[1].how
    batch = {"input_ids": torch.tensor([[3] * 11]), "attention_mask": torch.ones(1, 11, dtype=torch.int64)}
    logits, _ = run(tmp_path / "out" / "model.onnx", **batch)
    np.testing.assert_allclose(logits, network.module(**batch).logits.detach().numpy(), atol=1e-5)
    hub = tmp_path / "hf"
    limbeck.export(network, splits(samples), out=hub, to="hf")
    again = transformers.AutoModelForSequenceClassification.from_pretrained(hub).eval()
    assert again.config.id2label == {0: "no", 1: "yes"}
    assert torch.equal(again(**batch).logits, network.module(**batch).logits)


def test_a_timm_folder_is_loaded_by_timm_alone(tmp_path):
    timm = kinds().import_timm()
    samples = images(6, size=32)
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=3, in_chans=1)
    limbeck.export(saved(network, samples, "timm:test_resnet"), splits(samples), out=tmp_path / "out", to="hf")
    again = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True, in_chans=1).eval()
    assert again.pretrained_cfg["mean"] == pytest.approx(NORMALISE["mean"])
    inputs = torch.rand(2, 1, 32, 32)
    assert torch.equal(again(inputs), network.eval()(inputs))


def test_the_runs_report_shows_the_files(tmp_path):
    samples, out = images(), tmp_path / "run"
    recipe = limbeck.TrainConfig(num_epochs=1)
    limbeck.train("mlp:widths=6", samples, test=samples, recipe=recipe, out=out, progress="silent")
    page = out / "report.html"
    assert "model.pt2" not in page.read_text(encoding="utf-8")
    limbeck.export(out, to="torch", data=splits(samples))
    assert "model.pt2" in page.read_text(encoding="utf-8")
    before = page.read_bytes()
    limbeck.export(out, to="torch", data=splits(samples), out=tmp_path / "elsewhere")
    assert page.read_bytes() == before
