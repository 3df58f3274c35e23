"""The same job by a loop, by Limbeck and by other tools: every program runs, and the page counts its lines."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest

from code_lines import code_lines

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "coming_from"
PROGRAMS = sorted(path.stem for path in FOLDER.glob("with_*.py"))
TOGETHER = {"with_a_loop", "with_timm"}  # these two are compared


@pytest.fixture
def program(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module
    for name in (*PROGRAMS, "job", "evidence"):
        sys.modules.pop(name, None)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", sorted(set(PROGRAMS) - TOGETHER))
def test_a_program_runs(name, program, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "contracts"))
    importlib.import_module("teacher_kinds").declare_torchvision()
    pytest.importorskip(name.removeprefix("with_"), exc_type=ImportError)
    told = program(name).main(seeds=range(2), num_epochs=2)
    assert "with the teacher" in told.lower()


@pytest.mark.slow
def test_timms_task_and_the_loop_find_the_same(program, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "contracts"))
    importlib.import_module("teacher_kinds").import_timm()
    by_hand, by_timm = (program(name).main(seeds=range(2), num_epochs=2) for name in sorted(TOGETHER))
    assert "with the teacher" in by_hand
    assert by_hand == by_timm


def test_lines_are_those_that_the_page_counts():
    page = (ROOT / "docs" / "coming-from" / "index.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"\((?:\.\./)+examples/coming_from/(\w+)\.py\) \| (\d+) \|", page))
    counted = {path.stem: str(code_lines(path.read_text(encoding="utf-8"))) for path in FOLDER.glob("*.py")}
    assert told == counted
    sums = re.findall(r"coming_from/with_(?!limbeck)\w+\.py\) \| (\d+) \| (\d+) \|", page)
    assert [int(whole) - int(own) for own, whole in sums] == [int(counted["evidence"])] * 4


def test_the_readme_is_short_and_counts_the_same_lines():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
    (told,) = (line for line in lines if line.startswith("| [lines for one job"))
    counted = {path.stem: code_lines(path.read_text(encoding="utf-8")) for path in FOLDER.glob("*.py")}
    others = [
        counted[f"with_{name}"] + counted["evidence"] for name in ("a_loop", "torchdistill", "textbrewer", "timm")
    ]
    assert [int(cell) for cell in told.split("|")[2:-1]] == [counted["with_limbeck"], *others]
