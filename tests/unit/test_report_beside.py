"""The report of a run shows what lies beside its record: a search's candidates, and the files of exports."""

from __future__ import annotations

import dataclasses
import re

import pytest

from limbeck.commands import report as command
from limbeck.errors import RecordError
from limbeck.records import to_json, write_text
from limbeck.records.export_record import EXPORT_FILE, ExportedFile, ExportRecord, export_to_json
from limbeck.records.search_record import SEARCH_FILE, Point, SearchRecord, search_to_json
from limbeck.reports import render_report
from limbeck.reports.exports import export_table
from limbeck.reports.searches import candidates_text, headline_of

SMALL = {"num_classes": 3, "seeds": (0, 1), "num_epochs": 1, "num_dark": 0, "num_test": 90}
VALUES = {"temperature": 3.25, "hard_weight": 0.125}
SEARCH = SearchRecord(
    cost="latency",
    teacher_accuracy=0.9,
    num_validation=144,
    points=[
        Point("mlp:widths=4", 20e-6, 310, 0.72, 0.9, VALUES, 3),
        Point("mlp:widths=8", 35e-6, 610, 0.891, 0.5, VALUES, 4),
        Point("<b>mlp</b>", 50e-6, 1210, 0.88, 0.5, VALUES, 2),
    ],
    front=["mlp:widths=4", "mlp:widths=8"],
    chosen="mlp:widths=8",
    answer="mlp:widths=8 keeps 99.0 % (98.0 to 100.0); the next smaller one does not: 80.0 %.",
    min_kept=0.98,
)


def exported(created, **changes):
    float32 = ExportedFile("float32", "model.onnx", "", 20_000, 144, 3e-6, 1e-6, 0, 0.9, 0.0, 60e-6, 2e-6)
    int8 = ExportedFile("int8", "model.int8.onnx", "", 5_000, 144, 0.3, 0.01, 2, 0.897, 0.003, 30e-6, 1e-6)
    values = {
        "created": created, "to": "onnx", "network": "mlp:widths=8", "fingerprint": "f", "num_parameters": 610,
        "class_names": ["a", "b"], "task": "single_label", "inputs": [], "preprocess": "normalise", "normalise": None,
        "data": "digits", "split": "validation", "tolerance": 1e-3, "max_lost": 0.02, "accuracy": 0.9,
        "seconds_per_sample_batch1": 47e-6, "seconds_per_sample_batch64": 1e-6, "files": [float32, int8],
        "environment": {},
    }  # fmt: skip
    return ExportRecord(**{**values, **changes})


@pytest.fixture(scope="module")
def record(make_record):
    return dataclasses.replace(make_record(**SMALL), kind="search")


def test_a_search_is_headed_by_its_answer_and_shows_every_candidate(record):
    html = render_report(record, search=SEARCH)
    assert (
        re.search(r"<h1>([^<]*)</h1>", html)[1] == headline_of(SEARCH) == "mlp:widths=8 keeps 99.0 % (98.0 to 100.0)."
    )
    assert "<td>chosen</td>" in html
    assert "<td>35 µs</td>" in html
    assert "<td>99.0 %</td>" in html
    assert "<b>mlp" not in html
    assert 'id="front"' in html
    assert "the front: mlp:widths=4 72.0 % at 20 µs; mlp:widths=8 89.1 % at 35 µs." in html
    for point in SEARCH.points:
        assert candidates_text(SEARCH).count(point.name) == 1


def test_each_mark_of_the_front_has_a_tip_that_shows_on_hover(record):
    html = render_report(record, search=SEARCH)
    spots = html.split('<g class="spot">')[1:]
    assert len(spots) == 3
    for spot, point in zip(spots, SEARCH.points, strict=True):
        mark, tip = spot.index('class="mark"'), spot.index('class="tip"')
        assert mark < tip
        assert f"{point.num_parameters:,} parameters" in spot[tip:]
        assert "temperature 3.25" in spot[tip:]
    assert ".spot:hover .tip" in html
    assert "<script" not in html


def test_a_run_without_them_has_no_such_sections(record):
    html = render_report(record)
    assert 'id="search"' not in html
    assert 'id="exports"' not in html


def test_exports_stand_in_one_table_with_a_sentence_for_each_smaller_file(record):
    export = exported(record.created)
    html = render_report(record, exports=[export])
    for cell in ("model.int8.onnx", "89.70 %", "0.30", "2 of 144", "5,000", "30.0", "47.0"):
        assert f">{cell}<" in html, cell
        assert cell in export_table(export)
    assert "int8: 0.30 points lost, 25 % of the size, 2.0 x as fast on this machine" in html


def test_report_draws_from_all_records_of_a_folder(record, tmp_path):
    write_text(tmp_path / "record.json", to_json(record))
    write_text(tmp_path / SEARCH_FILE, search_to_json(SEARCH))
    for name, created in (("onnx", record.created), ("torch", "2001-01-01T00:00:00+00:00")):
        (tmp_path / "export" / name).mkdir(parents=True)
        write_text(tmp_path / "export" / name / EXPORT_FILE, export_to_json(exported(created, network=f"as {name}")))
    page = command.run(tmp_path, out=None).read_text(encoding="utf-8")
    assert headline_of(SEARCH) in page
    assert "as onnx on digits" in page
    assert "as torch on digits" not in page  # of a run that was overwritten
    assert command.run(tmp_path / "record.json", out=tmp_path / "other.html").read_text(encoding="utf-8") == page
    (tmp_path / SEARCH_FILE).write_text("{}")
    with pytest.raises(RecordError, match="not a record of a search"):
        command.run(tmp_path, out=None)
