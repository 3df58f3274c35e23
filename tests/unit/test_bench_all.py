"""limbeck bench all: every benchmark into one file, with a figure of what reached its target."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest

from limbeck.bench.timing import machine_facts
from limbeck.commands import bench as command
from limbeck.errors import InvalidValue, OutputError
from limbeck.reports.bench_figure import bench_svg, ratios_over_targets


def quick(name, ratio):
    result = {
        "name": name,
        "floor": "a floor",
        "seconds": {"floor": {"median": 1.0}, "ours": {"median": ratio}},
        "ratios": {"ours": ratio},
        "targets": {"ours": 0.5},
        "machine": machine_facts(),
    }
    return lambda **settings: result | {"settings": settings}


@pytest.fixture
def benches(monkeypatch):
    def fails(**settings):
        raise InvalidValue("PyAV is not installed.")

    monkeypatch.setattr(command, "BENCHES", {"loss": quick("loss", 0.25), "store": quick("store", 2.0), "video": fails})


def test_all_benchmarks_go_into_one_file_with_a_figure(benches, tmp_path):
    out = tmp_path / "bench.json"
    result = command.run("all", num_rounds=3, num_threads=None, out=out)
    assert json.loads(out.read_text()) == result
    assert list(result["benches"]) == ["loss", "store"]
    assert result["benches"]["loss"]["settings"] == {"num_rounds": 3}
    assert "PyAV" in result["not_run"]["video"]
    text = command.as_texts(result)
    assert "loss: against a floor" in text
    assert "video: did not run" in text
    drawn = "".join(ET.fromstring(out.with_suffix(".svg").read_text()).itertext())
    assert "loss: ours" in drawn
    assert "store: ours" in drawn


def test_one_benchmark_is_kept_too(benches, tmp_path):
    result = command.run("loss", num_rounds=None, num_threads=None, out=tmp_path / "loss.json")
    assert json.loads((tmp_path / "loss.json").read_text()) == result
    assert (tmp_path / "loss.svg").exists()


def test_a_file_of_another_kind_is_refused_before_anything_runs(monkeypatch, tmp_path):
    monkeypatch.setattr(command, "BENCHES", {"loss": None})
    with pytest.raises(OutputError, match="JSON file"):
        command.run("all", num_rounds=None, num_threads=None, out=tmp_path / "bench.txt")


def test_a_figure_holds_times_and_memory_against_their_targets():
    result = {"ratios": {"a": 1.2, "b": 9.0}, "targets": {"a": 0.6}, "memory_ratios": {"a": 0.03},
              "memory_targets": {"a": 0.15}}  # fmt: skip
    assert ratios_over_targets({"chunked": result}) == pytest.approx({"chunked: a": 2.0, "chunked: a, memory": 0.2})
    assert bench_svg({}).lstrip().startswith("<?xml")
