"""Classifiers from files and by scheme: what is read, what is refused, and how they are saved."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import limbeck
from limbeck.commands import evaluate
from limbeck.commands.networks import student_source, teacher_source, trained_teacher
from limbeck.data import Normalise, Views, load_data
from limbeck.errors import ConfigError, MissingPackage, ModelError, TeacherError
from limbeck.models import build_on_key, fingerprint, load_model, save_model
from limbeck.models.foreign import build_foreign, is_foreign
from limbeck.settings import DistillConfig
from limbeck.teachers import as_teacher, load_estimator, load_exported
from limbeck.teachers.resolve import names_teacher, resolve_teacher
from limbeck.training import Runtime, TrainConfig, predict

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def _kinds():
    if "teacher_kinds" not in sys.modules:
        path = Path(__file__).parents[1] / "contracts" / "teacher_kinds.py"
        spec = importlib.util.spec_from_file_location("teacher_kinds", path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    return sys.modules["teacher_kinds"]


kinds = _kinds()
TASK = {"input_shape": kinds.SHAPE, "num_classes": kinds.NUM_CLASSES, "class_names": kinds.CLASS_NAMES}
INPUTS = torch.rand(4, *kinds.SHAPE, generator=torch.Generator().manual_seed(0))
IDS = torch.arange(4)


def logits(teacher) -> torch.Tensor:
    teacher.check_fits(kinds.samples(), Views())
    return teacher(IDS, INPUTS).logits_at(1.0)


def pt2(folder: Path, seed: int = 0) -> Path:
    path = folder / f"net{seed}.pt2"
    with kinds.quiet():
        torch.export.save(kinds.exported(seed), path)
    return path


def skops_file(folder: Path) -> Path:
    sio = pytest.importorskip("skops.io")
    sio.dump(kinds.forest(0), folder / "forest.skops")
    return folder / "forest.skops"


def test_a_scheme_is_no_spec_of_the_zoo():
    assert all(names_teacher(spec) for spec in ("timm:x", "hf:x", "onnx:x", "export:x", "sklearn:x"))
    assert not any(names_teacher(spec) for spec in ("mlp:widths=3", "mlp", "timm:", "my.nets:build", "runs/x"))
    assert is_foreign("hf:folder")
    assert not is_foreign("onnx:file")


def test_files_by_scheme_are_the_networks_they_hold(tmp_path):
    expected = kinds.network(0).eval()(INPUTS).detach()
    exported = resolve_teacher(f"export:{pt2(tmp_path)}", **TASK)
    assert exported.name == "net0.pt2"
    assert_close(logits(exported), expected)
    onnx = resolve_teacher(f"onnx:{kinds.onnx_file(0, tmp_path)}", **TASK)
    assert_close(logits(onnx), expected)
    for spec in (tmp_path / "net0.pt2", kinds.onnx_file(0, tmp_path)):
        assert_close(logits(as_teacher(spec)), expected)
    forest = resolve_teacher(f"sklearn:{skops_file(tmp_path)},smoothing=0", **TASK)
    features = (INPUTS * 255).round().to(torch.uint8).flatten(1).numpy()
    assert_close(logits(forest).exp(), torch.from_numpy(kinds.forest(0).predict_proba(features)).float())


def test_a_transformer_s_classes_are_put_in_the_data_s_order(tmp_path):
    folder = kinds.transformer(0, tmp_path)
    with kinds.quiet():
        expected = (
            kinds.import_transformers().ViTForImageClassification.from_pretrained(folder).eval()(INPUTS).logits.detach()
        )
        teacher = resolve_teacher(f"hf:{folder}", **TASK)
    assert_close(logits(teacher), expected.flip(1))
    with pytest.raises(TeacherError, match="other classes"):
        teacher.check_fits(kinds.samples().__class__("x", IDS, INPUTS, IDS % 3, ("dog", "bee", "cat")), Views())


def test_a_timm_network_looks_at_one_of_several_inputs():
    kinds.import_timm()
    network = build_on_key("on:motion:timm:test_resnet", input_shape=(2, 2, 32, 32), num_classes=3).eval()
    with torch.no_grad():
        assert network(motion=torch.zeros(1, 2, 2, 32, 32), iframe=torch.zeros(1)).shape == (1, 3)


def test_a_timm_network_gets_its_own_normalisation(tmp_path):
    import safetensors.torch

    timm = kinds.import_timm()
    with kinds.quiet():
        net = timm.create_model("test_resnet", num_classes=3, in_chans=1).eval()
        safetensors.torch.save_file(net.state_dict(), tmp_path / "net.safetensors")
        teacher = resolve_teacher(
            f"timm:test_resnet@{tmp_path / 'net.safetensors'}", **TASK, normalise=Normalise((0.1,), (0.2,))
        )
    mean, std = (torch.tensor(net.pretrained_cfg[key]) for key in ("mean", "std"))
    images = INPUTS * 0.2 + 0.1  # of one channel: by the mean over timm's three
    assert_close(logits(teacher), net((images - mean.mean()) / std.mean()).detach(), atol=1e-4, rtol=1e-4)


def test_weights_of_a_factory_are_weights_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_teacher_net.py").write_text("from torch import nn\ndef build():\n    return nn.Linear(4, 3)\n")
    net = nn.Linear(4, 3)
    torch.save(net.state_dict(), "net.pt")
    task = {"input_shape": (4,), "num_classes": 3}
    teacher = resolve_teacher("own_teacher_net:build@net.pt", **task)
    assert teacher.fingerprint == fingerprint(net)
    torch.save(net, "whole.pt")
    with pytest.raises(ModelError, match="would run code"):
        resolve_teacher("own_teacher_net:build@whole.pt", **task)
    with pytest.raises(TeacherError, match="no trained classifier"):
        resolve_teacher("own_teacher_net:build", **task)
    sys.modules.pop("own_teacher_net", None)


@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        ("onnx:missing.onnx", TeacherError, "no file missing.onnx"),
        ("export:missing.pt2", TeacherError, "Cannot read missing.pt2"),
        ("sklearn:missing.skops", TeacherError, "Cannot read missing.skops"),
        ("onnx:net.onnx,outptus=probs", TeacherError, "no setting of a teacher"),
        ("onnx:net.onnx,smoothing=much", TeacherError, "no setting of a teacher"),
        ("timm:resnet_of_mine", ModelError, "timm has no network"),
        ("hf:no/such_folder_at_all", ModelError, "cannot be built"),
    ],
)
def test_what_a_scheme_cannot_find_is_told(spec, error, words, monkeypatch):
    if spec.startswith("hf"):
        monkeypatch.setattr(pytest.importorskip("huggingface_hub").constants, "HF_HUB_OFFLINE", True)
    if spec.startswith("timm"):
        kinds.import_timm()
    with kinds.quiet(), pytest.raises(error, match=words):
        resolve_teacher(spec, **TASK)


def test_a_torchvision_that_does_not_fit_torch_is_told_with_its_remedy(monkeypatch):
    def unfit(name, **settings):
        raise ModuleNotFoundError("Could not import module") from RuntimeError(
            "operator torchvision::nms does not exist"
        )

    monkeypatch.setattr("limbeck.models.foreign.timm_network", unfit)
    with pytest.raises(MissingPackage, match="timm:resnet10t needs a torchvision that fits torch") as caught:
        build_foreign("timm:resnet10t", input_shape=(3, 32, 32), num_classes=2)
    assert "install torch and torchvision together" in caught.value.remedy


@pytest.mark.parametrize(
    ("package", "spec", "extra"),
    [
        ("timm", "timm:resnet18", "vision"),
        ("transformers", "hf:folder", "hf"),
        ("onnxruntime", "onnx:net.onnx", "onnx"),
        ("skops", "sklearn:forest.skops", "sklearn"),
    ],
)
def test_a_missing_package_names_its_extra(package, spec, extra, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackage) as caught:
        resolve_teacher(spec, **TASK)
    assert caught.value.remedy == f"pip install 'limbeck[{extra}]'"


class _Payload:
    def __reduce__(self):
        return os.mkdir, ("ran",)


def _altered(path: Path, suffix: str, change) -> Path:
    """Write a copy of an archive whose first entry of a suffix is changed; releases of torch name them differently."""
    target = path.with_name("altered.pt2")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        chosen = next((name for name in old.namelist() if name.endswith(suffix)), None)
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, change(content) if name == chosen else content)
    return target


def test_a_program_that_would_run_code_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = pt2(tmp_path)

    def pickled(_: bytes) -> bytes:
        buffer = io.BytesIO()
        torch.save(_Payload(), buffer)
        return buffer.getvalue()

    def with_json(key: str, value: object):
        def change(content: bytes) -> bytes:
            loaded = json.loads(content)
            loaded[key] = value
            return json.dumps(loaded).encode()

        return change

    size = {"expr_str": "__import__('os').mkdir('ran')"}
    call = {"target": "torch.os.mkdir", "inputs": []}
    for entry, change in [
        (".pt", pickled),
        (".json", with_json("guards_code", ["__import__('os').mkdir('ran')"])),
        (".json", with_json("more", size)),
        (".json", with_json("more", call)),
        (".json", with_json("more", {"use_pickle": True})),
    ]:
        with pytest.raises(TeacherError):
            load_exported(_altered(path, entry, change))
    with zipfile.ZipFile(_altered(path, "nothing", bytes), "a") as archive:
        archive.writestr("e/data/constants/custom_obj_0", b"x")
    with pytest.raises(TeacherError, match="could run code"):
        load_exported(tmp_path / "altered.pt2")
    assert not Path("ran").exists()
    (tmp_path / "text.pt2").write_text("no archive")
    with pytest.raises(TeacherError, match=r"no program of torch\.export"):
        load_exported(tmp_path / "text.pt2")


def test_a_forged_forest_is_refused(tmp_path):
    import numpy as np
    import skops.io as sio
    from sklearn.tree import DecisionTreeClassifier

    data = kinds.samples()
    tree = DecisionTreeClassifier(max_depth=2, random_state=0)
    tree.fit(data.inputs.flatten(1).numpy(), data.labels.numpy())
    sio.dump(tree, tmp_path / "good.skops")
    assert load_estimator(tmp_path / "good.skops").num_classes is None
    state = tree.tree_.__getstate__()
    nodes = state["nodes"].copy()
    nodes["right_child"][0] = 1 << 40
    tree.tree_.__setstate__({**state, "nodes": nodes})
    assert np.max(tree.tree_.children_right) == 1 << 40
    sio.dump(tree, tmp_path / "forged.skops")
    with pytest.raises(TeacherError, match="point outside"):
        load_estimator(tmp_path / "forged.skops")
    sio.dump(_Unknown(), tmp_path / "odd.skops")
    with pytest.raises(TeacherError, match="trusted types"):
        load_estimator(tmp_path / "odd.skops")


class _Unknown:
    def predict_proba(self, features):
        return features


def test_an_onnx_file_tells_what_it_wants(tmp_path):
    teacher = as_teacher(kinds.onnx_file(0, tmp_path))
    with pytest.raises(TeacherError, match=r"takes other inputs(.|\n)*input"):
        teacher(IDS, {"pixels": INPUTS})
    (name,) = (needed.name for needed in teacher._function._inputs)
    assert_close(teacher(IDS, {name: INPUTS, "labels": IDS}).logits, teacher(IDS, INPUTS).logits)
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(TeacherError, match="onnxruntime cannot read"):
        as_teacher(tmp_path / "text.onnx")


def test_the_command_line_takes_schemes_as_teachers_and_students(tmp_path):
    train = kinds.samples()
    spec = f"export:{pt2(tmp_path)}"
    teacher = teacher_source(spec, from_command_line=False, train=train, normalise=None)
    assert_close(logits(teacher), kinds.network(0).eval()(INPUTS).detach())
    both = trained_teacher(
        DistillConfig(teachers=[spec, spec]),
        from_command_line=True,
        train=train,
        normalise=None,
        device=torch.device("cpu"),
    )
    assert len(both.members) == 2
    assert student_source("timm:test_resnet", from_command_line=False) == "timm:test_resnet"
    with pytest.raises(ConfigError, match="does not name code"):
        student_source("my.nets:build", from_command_line=False)


@pytest.mark.parametrize("kind", ["exported", "frozen script", "onnx", "output with .logits", "own device and batch"])
def test_a_job_measures_and_learns_from_any_kind(kind, tmp_path):
    data = kinds.samples()
    with kinds.quiet():
        result = limbeck.distill(
            "mlp:widths=6",
            kinds.KINDS[kind].make(0, tmp_path),
            data,
            test=data,
            recipe=TrainConfig(num_epochs=1, batch_size=8),
            seeds=1,
            progress="silent",
            device="cpu",
            validation_fraction=0.0,
        )
    assert any("once for each sample" in note for note in result.record.notes)
    (errors,) = result.record.values("teacher", "errors").values()
    views = Views().batch(data, torch.arange(len(data)), view=None)
    assert errors == int((kinds.network(0).eval()(views.inputs).argmax(1) != data.labels).sum())


def test_a_timm_student_is_trained_saved_and_loaded(tmp_path):
    kinds.import_timm()
    data = kinds.samples()
    with kinds.quiet():
        result = limbeck.distill(
            "timm:test_resnet",
            kinds.network(0),
            data,
            test=data,
            recipe=TrainConfig(num_epochs=1, batch_size=8),
            seeds=1,
            progress="silent",
            device="cpu",
            out=tmp_path / "run",
            validation_fraction=0.0,
        )
        written = [load_model(path.parent) for path in (tmp_path / "run").rglob("model.json")]
    saved = next(model for model in written if model.fingerprint == fingerprint(result.student))
    assert saved.spec == "timm:test_resnet"
    assert_close(saved.module(INPUTS), result.student(INPUTS))
    assert fingerprint(saved.module) == saved.fingerprint


def test_limbeck_evaluate_takes_a_saved_timm_network(tmp_path):
    kinds.import_timm()
    splits = load_data("digits")
    with kinds.quiet():
        network = build_foreign("timm:test_resnet", input_shape=splits.test.input_shape, num_classes=10, seed=0)
        save_model(
            tmp_path,
            network,
            spec="timm:test_resnet",
            input_shape=splits.test.input_shape,
            class_names=splits.test.class_names,
            normalise=None,
        )
        measured = evaluate.run(
            tmp_path, data="digits", split="test", image_size=None, factory=None, device="cpu", num_threads=None
        )
    right = predict(network, splits.test, Views(), runtime=Runtime.resolve("cpu")).argmax(dim=1) == splits.test.labels
    assert measured["measurements"]["errors"]["value"] == int((~right).sum())


def test_a_transformer_student_is_rebuilt_without_its_folder(tmp_path):
    folder = kinds.transformer(0, tmp_path)
    with kinds.quiet():
        network = build_foreign(f"hf:{folder}", input_shape=kinds.SHAPE, num_classes=5, seed=3)
        again = build_foreign(f"hf:{folder}", input_shape=kinds.SHAPE, num_classes=5, seed=3)
        assert fingerprint(network) == fingerprint(again)
        save_model(
            tmp_path / "saved",
            network,
            spec=f"hf:{folder}",
            input_shape=kinds.SHAPE,
            class_names=list("abcde"),
            normalise=None,
        )
        folder.rename(tmp_path / "elsewhere")
        saved = load_model(tmp_path / "saved")
    assert_close(saved.module(INPUTS).logits, network.eval()(INPUTS).logits)


def test_the_package_needs_none_of_these():
    heavy = ("timm", "transformers", "onnx", "onnxruntime", "skops", "torchvision")
    code = f"import limbeck.teachers.resolve, sys; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
