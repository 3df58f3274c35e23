"""The examples run as they stand, at a smoke size."""

from __future__ import annotations

import ast
import importlib.util
import io
import json
import math
import os
import sys
import tarfile
import tokenize
from pathlib import Path
from types import ModuleType

import pytest
import torch
from PIL import Image
from torch import nn

import limbeck
from limbeck.specialists import load_plan

EXAMPLES = Path(__file__).parents[2] / "examples"
SHORT = {  # at most 30 lines of code beside imports
    "black_box",
    "ensemble",
    "forest_to_mlp",
    "images_from_timm",
    "imagenet_teacher_ten_classes",
    "multi_label",
    "onnx_teacher",
    "own_dataset_own_transform",
    "text_from_transformers",
    "token_tagging",
}
quiet_imports = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
needs_mnist = pytest.mark.skipif(
    not (Path(os.environ.get("LIMBECK_DATA", "absent")) / "mnist").is_dir(), reason="LIMBECK_DATA has no mnist"
)


def load_example(name: str, folder: Path = EXAMPLES) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # worker processes and fingerprints look there
    spec.loader.exec_module(module)
    return module


def file_in_data(name: str) -> Path:
    """Return a file of LIMBECK_DATA, or skip the test."""
    path = Path(os.environ.get("LIMBECK_DATA", "absent")) / name
    if not path.exists():
        pytest.skip(f"LIMBECK_DATA has no {name}")
    return path


def run_of(folder: Path, *roles: str) -> limbeck.records.RunRecord:
    """Return a run's record after a look at what the run has to leave: the roles, a student that loads, a page."""
    record = limbeck.read_record(folder / "record.json")
    assert set(roles) == {network.role for network in record.networks}
    assert (folder / "report.html").stat().st_size > 10_000
    return record


def keep_every_third_text(archive: Path, smaller: Path) -> None:
    member = "intents/clinc150/data/data_small.json"
    with tarfile.open(archive) as files:
        texts = json.load(files.extractfile(member))
    content = json.dumps({split: rows[::3] for split, rows in texts.items()}).encode()
    with tarfile.open(smaller, "w:gz", compresslevel=1) as files:
        entry = tarfile.TarInfo(member)
        entry.size = len(content)
        files.addfile(entry, io.BytesIO(content))


def mean_of(record: limbeck.records.RunRecord, role: str, quantity: str) -> float:
    values = record.values(role, quantity, split="test", weights="selected").values()
    return sum(values) / len(values)


def test_a_loop_of_ones_own_learns():
    assert load_example("own_loop").main() > 0.8


def test_an_ensemble_is_distilled(tmp_path):
    summary = load_example("ensemble").main(tmp_path / "run", num_epochs=1, seeds=1)
    assert "member 2" in summary
    assert (tmp_path / "run" / "report.html").exists()


def test_a_black_box_is_distilled():
    assert "distilled" in load_example("black_box").main(num_epochs=2, seeds=2)


def test_independent_labels_are_distilled():
    assert "distilled" in load_example("multi_label").main(num_epochs=1, seeds=1)


def test_tags_of_characters_are_distilled():
    assert "distilled" in load_example("token_tagging").main(num_epochs=1, seeds=1, count=300)


def test_a_teacher_of_a_thousand_classes_serves_a_student_of_three(tmp_path):
    example = load_example("imagenet_teacher_ten_classes")
    generator = torch.Generator().manual_seed(0)
    for name in ("cat", "dog", "zebra"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(12):
            pixels = torch.randint(0, 256, (16, 16, 3), generator=generator, dtype=torch.uint8)
            Image.fromarray(pixels.numpy()).save(tmp_path / "photos" / name / f"{number}.png")
    names = [*example.CLASS_MAP, "zebra", *(f"class {number}" for number in range(989))]
    teacher = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, len(names)))
    summary = example.main(tmp_path / "photos", teacher, names, num_epochs=1, seeds=1)
    assert "distilled" in summary


def test_a_forest_becomes_a_network(tmp_path):
    load_example("forest_to_mlp").main(tmp_path, num_epochs=8, seeds=1, num_trees=50)
    record = run_of(tmp_path, "teacher", "baseline", "distilled")
    assert mean_of(record, "teacher", "accuracy") > 0.9
    assert mean_of(record, "distilled", "agreement") > 0.8
    assert any("probabilities" in note for note in record.notes)
    assert not record.values("teacher", "parameters", split="machine", weights="selected")  # a forest has none


def test_a_transform_of_ones_own_is_replayed_from_the_store(tmp_path):
    module = load_example("own_dataset_own_transform")
    module.main(tmp_path, num_epochs=2, seeds=1, num_views=2)
    record = run_of(tmp_path, "teacher", "baseline", "distilled")
    store = limbeck.TargetStore.open(tmp_path / "targets")
    assert store.num_views == 2
    assert len(store.ids) == record.data.num_train


@quiet_imports
def test_text_is_distilled_by_a_network_of_transformers(tmp_path, monkeypatch):
    keep_every_third_text(file_in_data("intents.tar.gz"), tmp_path / "intents.tar.gz")
    monkeypatch.setenv("LIMBECK_DATA", str(tmp_path))
    load_example("teacher_kinds", EXAMPLES.parent / "tests" / "contracts").import_transformers()
    module = load_example("text_from_transformers")
    run = tmp_path / "run"
    module.main(run, num_labelled=600, num_epochs=2, seeds=1)
    record = run_of(run, "teacher", "baseline", "distilled")
    assert record.data.num_labelled == 600
    assert mean_of(record, "teacher", "accuracy") > 5 / 150
    assert mean_of(record, "distilled", "accuracy") > 2 / 150
    saved = limbeck.load_model(run)  # rebuilt from the configuration that was saved with it
    assert isinstance(saved.module, type(module.student(150)))
    sizes = {n.role: n.num_parameters for n in record.networks}
    assert sizes["distilled"] < sizes["teacher"] / 8


@quiet_imports
def test_images_are_distilled_by_networks_of_timm(tmp_path, monkeypatch):
    pixels = torch.randint(0, 256, (300, 3, 32, 32), dtype=torch.uint8)
    noise = limbeck.data.Samples("cifar10", torch.arange(300), pixels, torch.arange(300) % 10, tuple("abcdefghij"))
    split = limbeck.data.Splits(noise.take(torch.arange(240)), test=noise.take(torch.arange(240, 300)), name="cifar10")
    monkeypatch.setattr(limbeck, "load_data", lambda name: split)
    load_example("teacher_kinds", EXAMPLES.parent / "tests" / "contracts").import_timm()
    load_example("images_from_timm").main(tmp_path, num_train=200, num_test=50, num_epochs=1, seeds=1)
    run_of(tmp_path, "teacher", "baseline", "distilled")
    saved = limbeck.load_model(tmp_path)
    assert (saved.spec, saved.module(torch.zeros(1, 3, 32, 32)).shape) == ("timm:mobilenetv3_small_050", (1, 10))


@quiet_imports
def test_a_network_in_an_onnx_file_is_distilled(tmp_path):
    for package in ("onnx", "onnxruntime", "magika"):
        pytest.importorskip(package)
    load_example("onnx_teacher").main(tmp_path, per_suffix=2, num_epochs=2, seeds=1)
    record = run_of(tmp_path, "teacher", "distilled")
    assert len(record.data.class_names) == 214
    assert mean_of(record, "distilled", "agreement") > 1 / 214


@needs_mnist
def test_pictures_of_soft_targets_are_drawn(tmp_path):
    tables = load_example("soft_targets").main(tmp_path / "networks", tmp_path / "out", smoke=True, progress="silent")
    for name in ("digits", "entropy", "likeness", "shifts"):
        assert (tmp_path / "out" / f"soft-targets-{name}.png").stat().st_size > 10_000
    for row in tables["entropy"][1:]:
        bits = [float(cell) for cell in row[1:]]
        assert bits == sorted(bits), "entropy grows with temperature"
        assert bits[-1] <= math.log2(10) + 1e-3
    assert [row[0] for row in tables["shifts"][1:]] == [row[0] for row in tables["entropy"][1:]]


def test_every_example_is_run_here():
    tested = SHORT | {"own_loop", "soft_targets"}
    assert {path.stem for path in EXAMPLES.glob("*.py")} == tested


@pytest.mark.parametrize("name", sorted(SHORT))
def test_an_example_is_short(name):
    source = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    nodes = list(ast.walk(ast.parse(source)))
    left_out = {
        line
        for node in nodes
        if isinstance(node, ast.Import | ast.ImportFrom)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))  # docstrings
        for line in range(node.lineno, node.end_lineno + 1)
    }
    empty = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = {line for token in tokens if token.type not in empty for line in range(token.start[0], token.end[0] + 1)}
    assert len(lines - left_out) <= 30


@pytest.mark.parametrize("name", ["README.md", "docs/getting-started.md", "docs/guide/soft-targets.md"])
def test_python_in_the_documents_is_valid(name):
    for block in python_in(name):
        compile(block, name, "exec")


def test_python_in_the_guide_to_peers_and_exits_runs():
    name = "docs/guide/peers-and-exits.md"
    peers, exits, hints = ({} for _ in range(3))
    for block, names in zip(python_in(name), (peers, exits, hints), strict=True):
        exec(compile(block, name, "exec"), names)
    assert peers["best"].history[-1].validation["accuracy"] > 0.8
    assert exits["point"] in exits["points"]
    assert exits["logits"].shape[1:] == (2, 10)
    assert "projections" not in "".join(hints["plain"].state_dict())


def test_python_in_the_guide_to_specialists_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name, names = "docs/guide/specialists.md", {}
    for block in python_in(name):
        exec(compile(block, name, "exec"), names)
    assert load_plan("plan.yaml") == names["plan"]
    assert Path("plan.png").stat().st_size > 10_000
    assert min(names["plan"].coverage().values()) >= 1
    assert all(one.dustbin_offset > 0 for one in names["specialists"])
    assert names["together"] < 0.2 * len(names["held_out"])
    assert names["result"].record.networks[0].name == "generalist and 4 specialists"
    for plain, keeping in zip(names["specialists"], names["keeping"], strict=True):
        assert keeping.class_set == plain.class_set
        assert keeping.dustbin_offset == plain.dustbin_offset
        assert keeping.history[-1].train["soft"] > 0
    assert names["trained"].history[-1].validation["accuracy"] > 0.85
    assert names["apart"].num_jobs == 4
    assert names["apart"].span_seconds <= names["apart"].work_seconds


def test_python_in_the_guide_to_jobs_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (block,) = python_in("docs/guide/jobs.md")
    for last_line in ("student: done", "student: was there"):
        names = {"__name__": "__main__"}
        exec(compile(block, "docs/guide/jobs.md", "exec"), names)
        assert [outcome.name for outcome in names["outcomes"]] == ["member0", "member1", "member2", "student"]
        assert capsys.readouterr().out.splitlines()[-1].startswith(last_line)
    more = names["jobs_of"](names["root"], 4)
    assert [job.place(names["root"]).exists() for job in more] == [True, True, True, False, False]


def python_in(name: str) -> list[str]:
    text = (EXAMPLES.parent / name).read_text(encoding="utf-8")
    blocks = [block.split("```")[0] for block in text.split("```python\n")[1:]]
    assert blocks
    return blocks
