"""The examples run as they stand, at a smoke size."""

from __future__ import annotations

import importlib.util
import math
import os
from pathlib import Path
from types import ModuleType

import pytest
import torch
from PIL import Image
from torch import nn

from limbeck.specialists import load_plan

EXAMPLES = Path(__file__).parents[2] / "examples"
needs_mnist = pytest.mark.skipif(
    not (Path(os.environ.get("LIMBECK_DATA", "absent")) / "mnist").is_dir(), reason="LIMBECK_DATA has no mnist"
)


def load_example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
    tested = {"own_loop", "ensemble", "black_box", "soft_targets"}
    tested |= {"multi_label", "token_tagging", "imagenet_teacher_ten_classes"}
    assert {path.stem for path in EXAMPLES.glob("*.py")} == tested


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
