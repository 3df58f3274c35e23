"""Many classes: confusions as the cells that occur, measured in blocks; a small record."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import astuple
from pathlib import Path

import pytest
import torch
from torch import nn

from limbeck.data import Samples, Views
from limbeck.distillation import reading
from limbeck.distillation.reading import mistakes, read_split
from limbeck.metrics import RowMeasures, confusion_cells, confusion_matrix, most_confused, most_confused_cells
from limbeck.records import DarkKnowledge, DataRecord, NetworkRecord, RunRecord, from_json, to_json
from limbeck.reports.confusions import most_confused_pairs, summed_confusions
from limbeck.reports.figures import dark_knowledge as drawn
from limbeck.training import Runtime, evaluate


@pytest.mark.slow
def test_a_hundred_thousand_classes_take_less_than_a_gigabyte_and_a_few_megabytes_of_record():
    script = Path(__file__).with_name("many_classes.py")
    run = subprocess.run([sys.executable, script, "100000", "400"], capture_output=True, text=True, check=True)
    measured = json.loads(run.stdout)
    assert measured["peak_bytes"] < 1 << 30
    assert measured["record_bytes"] < 4 << 20
    assert measured["page_bytes"] < 1 << 20


def test_cells_are_those_of_the_matrix():
    torch.manual_seed(0)
    logits, labels = torch.randn(500, 7), torch.randint(0, 7, (500,))
    matrix, cells = confusion_matrix(logits, labels), confusion_cells(logits, labels)
    assert int(cells[:, 2].sum()) == 500
    assert bool((cells[:, 2] > 0).all())
    assert all(int(matrix[true, predicted]) == number for true, predicted, number in cells.tolist())
    assert cells[:, 2].tolist() == sorted(cells[:, 2].tolist(), reverse=True)
    names = [f"class {number}" for number in range(7)]
    assert most_confused_cells(cells, names, 12) == most_confused(matrix, names, 12)


def test_blocks_measure_what_the_whole_does(monkeypatch):
    torch.manual_seed(0)
    network, names = nn.Linear(3, 12), tuple("abcdefghijkl")
    labels = torch.randint(-1, 12, (50,))
    samples = Samples("test", torch.arange(50), torch.randn(50, 3), labels, names)
    runtime, teacher = Runtime.resolve("cpu"), torch.randn(50, 12)
    found = read_split(network, samples, Views(), runtime=runtime, teacher_logits=teacher)
    once = evaluate(network, samples, Views(), runtime=runtime)
    monkeypatch.setattr(sys.modules["limbeck.training.evaluating"], "BLOCK_NUMBERS", 12 * 7)  # seven samples
    blocks = read_split(network, samples, Views(), runtime=runtime, teacher_logits=teacher)
    assert blocks.measured.keys() == found.measured.keys()
    for name, (value, unit) in found.measured.items():
        assert blocks.measured[name] == (pytest.approx(value), unit)
    assert evaluate(network, samples, Views(), runtime=runtime) == pytest.approx(once)
    assert found.rows is not None
    assert blocks.rows is not None
    assert blocks.rows.predicted.equal(found.rows.predicted)
    by_blocks, whole = mistakes(blocks.rows, names), mistakes(found.rows, names)
    for one, other in zip(by_blocks.pop("reliability"), whole.pop("reliability"), strict=True):
        assert astuple(one) == pytest.approx(astuple(other))  # a product of fewer rows rounds otherwise
    assert by_blocks == whole


def record_with(networks, names, dark=()):
    data = DataRecord("many", "", list(names), [8], 1, 1, 1, 1)
    return RunRecord("distill", "2026-01-01T00:00:00+00:00", "", 0.0, {}, {}, data, [0], networks, [], list(dark))


def test_a_record_keeps_the_most_frequent_cells_and_says_how_many_it_left_out(monkeypatch):
    names = [str(number) for number in range(150)]
    labels = torch.arange(300) % 150
    logits = torch.nn.functional.one_hot((labels + (torch.arange(300) < 40)) % 150, 150).float()
    rows = RowMeasures.of(logits, labels)
    whole = NetworkRecord("distilled", "m", 0, "given", 1, **mistakes(rows, names))
    assert whole.confusion == []
    assert whole.num_cells_left_out == 0
    record = record_with([whole, whole], names)
    assert from_json(to_json(record)) == record
    cells, count = summed_confusions(record)["distilled"]
    assert (count, sum(cells.values()), cells[0, 1], cells[140, 140]) == (2, 600, 2, 4)
    monkeypatch.setattr(reading, "MOST_CELLS", 5)
    cut = NetworkRecord("distilled", "m", 0, "given", 1, **mistakes(rows, names))
    assert len(cut.confusion_cells) == 15
    assert cut.num_cells_left_out > 0
    assert summed_confusions(record_with([cut], names)) == {}
    roles, pairs = most_confused_pairs(record_with([cut], names))
    assert roles == ["distilled"]
    assert (pairs[0].true, pairs[0].predicted) == ("0", "1")


def test_cells_outside_the_classes_are_not_drawn():
    for flat in ([0, 9, 1], [0, 1], [-1, 0, 3]):
        broken = NetworkRecord("distilled", "m", 0, "given", 1, confusion_cells=flat)
        assert summed_confusions(record_with([broken], ["a", "b"])) == {}


def test_what_the_teacher_knows_of_many_classes_is_kept_for_the_most_probable_ones():
    classes = [3, 5, 900]
    sample = DarkKnowledge(7, 5, [], [1.0, 20.0], [[0.1, 0.7, 0.1], [0.2, 0.3, 0.1]], classes)
    names = [f"word {number}" for number in range(1000)]
    figure = drawn.dark_knowledge_figure(record_with([], names, [sample]))
    assert figure is not None
    assert "word 900" in figure.panels[0].alternative
    assert from_json(to_json(record_with([], names, [sample]))).dark_knowledge == [sample]
