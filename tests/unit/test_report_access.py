"""Pages pass axe-core in a real browser; their tables download as CSV; runs are compared on one page."""

from __future__ import annotations

import base64
import csv
import dataclasses
import io
import re
from pathlib import Path

import pytest

import axe
from limbeck.commands import report as command
from limbeck.errors import InvalidValue, RecordError
from limbeck.records import to_json, write_text
from limbeck.records.search_record import Point, SearchRecord
from limbeck.reports import (
    compare_runs,
    comparison_text,
    read_reproduction,
    render_comparison,
    render_report,
    render_reproduction,
)
from limbeck.reports.html_table import HtmlTable
from limbeck.statistics import paired_difference

SMALL = {"num_classes": 3, "num_epochs": 2, "num_dark": 1, "num_test": 90}
SEARCH = SearchRecord("parameters", 0.9, 90, [Point("a", 5, 5, 0.8, 1, {}, 1), Point("b", 50, 50, 0.9, 1, {}, 1)],
                      ["a", "b"], "b", "b keeps 98 %.", min_kept=0.98)  # fmt: skip
RESULTS = Path(__file__).parents[2] / "results"


@pytest.fixture(scope="module")
def records(make_record):
    first = make_record(seeds=(0, 1, 2), **SMALL)
    changed = [
        dataclasses.replace(m, value=m.value + 3) if (m.network, m.name) == ("distilled", "errors") else m
        for m in first.measurements
    ]
    config = {**first.config, "temperature": 7.5}
    return {"first": first, "second": dataclasses.replace(first, measurements=changed, config=config)}


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "dark"), [("search", False), ("search", True), ("comparison", False), ("reproduction", False)]
)
def test_axe_finds_nothing_wrong_with_a_page(chromium, axe_script, records, tmp_path, kind, dark):
    pages = {
        "search": lambda: render_report(dataclasses.replace(records["first"], kind="search"), search=SEARCH),
        "comparison": lambda: render_comparison(records),
        "reproduction": lambda: render_reproduction(read_reproduction(RESULTS / "hinton2015-mnist")),
    }
    (tmp_path / "page.html").write_text(pages[kind](), encoding="utf-8")
    assert axe.violations(chromium, axe_script, tmp_path / "page.html", tmp_path, dark=dark) == []


def test_every_table_of_a_page_downloads_as_csv(records):
    html = render_report(records["first"])
    links = re.findall(r'download="([\w.-]+)" href="data:text/csv;charset=utf-8;base64,([^"]+)"', html)
    assert len(links) == html.count("<table")
    assert len({name for name, _ in links}) == len(links)
    files = {name: base64.b64decode(content).decode("utf-8-sig") for name, content in links}
    rows = list(csv.reader(io.StringIO(files["errors-on-the-test-set.csv"])))
    assert rows[0][:3] == ["network", "n", "errors"]
    errors = list(records["first"].values("distilled", "errors").values())
    assert rows[-1][0] == "distilled"
    assert rows[-1][2].startswith(f"{sum(errors) / 3:.1f} ± ")


@pytest.mark.parametrize(
    ("cell", "kept"),
    [
        ("1,234,567", "1234567"),
        ("−3.5 (−4 to −3)", "-3.5 (-4 to -3)"),
        ("=1+1", "'=1+1"),
        ("@x", "'@x"),
        ("-cmd", "'-cmd"),
        ("a, b", "a, b"),
        ("—", "—"),
    ],
)
def test_cells_of_csv_are_plain_numbers_and_never_formulas(cell, kept):
    assert list(csv.reader(io.StringIO(HtmlTable("t", ["h"], [[cell]]).csv_text)))[1] == [kept]


def test_runs_are_compared_by_seed_and_by_the_settings_that_differ(records):
    comparison = compare_runs(records)
    headings, (first, second) = comparison.students.headings, comparison.students.rows
    place = headings.index("change of errors from first (95 %)")
    difference = paired_difference(*(record.values("distilled", "errors") for record in records.values()))
    assert (first[place], second[place]) == ("", "3 (3 to 3)")
    assert difference.mean == 3
    assert comparison.settings.rows == [["temperature", "4.0", "7.5"]]
    assert comparison.notes == []
    told = comparison_text(comparison)
    assert "3 (3 to 3)" in told
    assert "temperature" in told


def test_long_settings_are_cut_and_teachers_trained_as_students_are_told_apart_by_what_differs(records):
    recipe = {"num_epochs": 2, "batch_size": 8}
    means = [{"mean": [number / 7 + k for number in range(30)]} for k in range(2)]
    configs = {"a": {"normalise": means[0], "recipe": recipe, "teacher_recipe": None}}
    configs["b"] = {"normalise": means[1], "recipe": recipe, "teacher_recipe": {**recipe, "num_epochs": 5}}
    runs = {name: dataclasses.replace(records["first"], config=config) for name, config in configs.items()}
    rows = compare_runs(runs).settings.rows
    assert [row[0] for row in rows] == ["normalise.mean", "teacher_recipe.num_epochs"]
    assert all(len(cell) <= 48 for cell in rows[0])
    assert rows[1][1:] == ["2", "5"]


def test_errors_on_other_samples_are_not_compared(records):
    other = dataclasses.replace(records["second"], data=dataclasses.replace(records["second"].data, num_test=91))
    comparison = compare_runs({"first": records["first"], "other": other})
    assert comparison.students.rows[1][4] == "—"
    assert comparison.notes == ["other was tested on other samples than first: errors are not compared."]
    machine = dataclasses.replace(records["second"], environment={"device": "cuda"})
    assert "latencies are not comparable" in compare_runs({"a": records["first"], "b": machine}).notes[0]


def test_report_of_several_runs_is_one_page(records, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for parent, record in zip(("x", "y"), records.values(), strict=True):
        (tmp_path / parent / "run").mkdir(parents=True)
        write_text(tmp_path / parent / "run" / "record.json", to_json(record))
    runs = [tmp_path / "x" / "run", tmp_path / "y" / "run" / "record.json"]
    target, told = command.compare(runs, out=None)
    page = (tmp_path / target).read_text(encoding="utf-8")
    for name in (str(tmp_path / "x" / "run"), str(tmp_path / "y" / "run")):
        assert name in page
        assert name in told
    assert "2 runs side by side" in page
    with pytest.raises(InvalidValue, match="one folder of reproductions"):
        command.only(runs)
    with pytest.raises(RecordError, match="There is no record"):
        command.compare([runs[0], tmp_path / "nowhere"], out=tmp_path / "never.html")
    assert not (tmp_path / "never.html").exists()
