"""``limbeck report results --markdown``: a table of all claims, a page and two figures for each recipe."""

from __future__ import annotations

import dataclasses
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from limbeck.commands.report import results
from limbeck.reports import read_results, results_markdown, results_pages
from limbeck.reproduction import (
    Claim,
    Figure,
    NetworkFacts,
    Observation,
    ReproductionRecord,
    Series,
    reproduction_to_json,
)

DOCS, RESULTS = (Path(__file__).parents[2] / name for name in ("docs", "results"))
LARGEST_FIGURE = 40_000  # bytes
TITLE = re.compile(r"<title>(.*?)</title>", re.DOTALL)


def errors_of(condition, values, quantity="test_errors", unit="count"):
    return [Observation(condition, seed, quantity, float(value), unit) for seed, value in enumerate(values)]


def end(condition, quantity, value):
    return [Observation(condition, None, quantity, value, "points")]


def a_record(**changes):
    goal = Claim("net", "test_errors", "It makes 74 at most.", paper=74, at_most=74)
    record = ReproductionRecord(
        recipe="toy",
        title="A toy | <i>of</i> a paper",
        paper="Nobody 1999",
        command="limbeck reproduce toy",
        smoke=False,
        created="2026-01-02T03:04:05+00:00",
        elapsed_seconds=1.0,
        settings={},
        departures=["It is *shorter*."],
        claims=[goal],
        observations=errors_of("net", [70, 74, 78]),
        figures=[
            Figure("points", "Errors", "Look.", "test_errors", "errors", ["a net"], [Series("run", ["net"])]),
        ],
        notes=["A note."],
        environment={"torch": "2.13"},
        data=None,
        networks=[NetworkFacts("net", "mlp:widths=8", seed, "net/x", 90, 5, 30.5, False, {}) for seed in (0, 1)],
    )
    return dataclasses.replace(record, **changes)


@pytest.mark.parametrize(
    ("values", "light", "interval"),
    [
        ([70, 74, 78], "🟢 reached", "64.1 to 83.9"),
        ([73, 75, 79], "🟠 open", "68.1 to 83.3"),
        ([90, 91, 92], "🔴 missed", "88.5 to 93.5"),
        ([90], "🔴 missed", "—"),
    ],
)
def test_a_claims_light_follows_from_mean_and_interval(values, light, interval):
    text = results_markdown({"toy": a_record(observations=errors_of("net", values))})
    row = next(line for line in text.splitlines() if line.startswith("| [toy]"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:5] == [light, "It makes 74 at most.", "74", "≤ 74"]
    assert cells[6:] == [interval, "1 min 1 s"]


def test_a_claim_without_a_goal_is_grey_and_each_colour_is_counted_and_explained():
    claims = [Claim("net", "test_errors", "It makes 60.", paper=60), *a_record().claims]
    text = results_markdown({"toy": a_record(claims=claims)})
    assert "| ⚪ no goal | 1 |" in text
    assert "| 🟢 reached | 1 | the mean reaches the goal |" in text
    assert "| 🔴 missed | 0 |" in text


def test_a_claim_on_an_end_has_the_whole_interval():
    claims = [Claim("net", "gain_low_end", "A gain is shown.", at_least=0, unit="points")]
    ends = end("net", "gain_low_end", -0.5) + end("net", "gain_high_end", 2.0)
    text = results_markdown({"toy": a_record(claims=claims, observations=ends)})
    assert "| 🟠 open | A gain is shown. | — | ≥ 0 points | −0.5 points | −0.5 to 2 points |" in text


def test_a_recipes_page_has_two_figures_claims_command_and_the_rest_folded_away():
    pages = results_pages({"toy": a_record()})
    assert sorted(pages) == ["toy-1.svg", "toy-2.svg", "toy.md"]
    page = pages["toy.md"]
    assert page.startswith("# A toy \\| \\<i\\>of\\</i\\> a paper\n")
    for words in (
        "![Errors](toy-1.svg)",
        "![What it took](toy-2.svg)",
        "1 of 1 goals reached.",
        "limbeck reproduce toy",
        "- It is \\*shorter\\*.",
        "A note.",
        "<details><summary>Everything observed (1 numbers)</summary>",
        "| net | 3 | test errors | 74.0 ± 4.0 |",
    ):
        assert words in page


def test_a_figure_is_a_file_of_its_own_with_its_legend():
    for text in (pages := results_pages({"toy": a_record()}))["toy-1.svg"], pages["toy-2.svg"]:
        root = ET.fromstring(text)
        assert float(root.get("width")) > 0
        assert "var(" not in text
        assert "currentColor" not in text
    assert "mean ± standard deviation" in pages["toy-1.svg"]
    assert TITLE.search(pages["toy-2.svg"])[1] == "Training time: net 1 min 1 s."


def test_a_record_without_networks_has_the_figure_that_there_is():
    assert sorted(results_pages({"toy": a_record(networks=[])})) == ["toy-1.svg", "toy.md"]


def test_the_command_writes_the_page_and_the_pages_below_it(tmp_path):
    (tmp_path / "records" / "toy").mkdir(parents=True)
    (tmp_path / "records" / "toy" / "record.json").write_text(reproduction_to_json(a_record()), encoding="utf-8")
    target = tmp_path / "docs" / "all.md"
    results(tmp_path / "records", target)
    assert "[toy](all/toy.md)" in target.read_text(encoding="utf-8")
    assert sorted(p.name for p in (tmp_path / "docs" / "all").iterdir()) == ["toy-1.svg", "toy-2.svg", "toy.md"]


@pytest.mark.slow
def test_the_committed_pages_of_results_are_what_the_committed_records_say():
    records = read_results(RESULTS) if RESULTS.is_dir() else {}
    assert not any(record.smoke for record in records.values())
    assert (DOCS / "results.md").read_text(encoding="utf-8") == results_markdown(records)
    pages = results_pages(records)
    committed = {path.name: path.read_text(encoding="utf-8") for path in (DOCS / "results").iterdir()}
    assert sorted(committed) == sorted(pages)
    for name, text in pages.items():
        if name.endswith(".md"):
            assert committed[name] == text
        else:  # matplotlib's versions differ in digits; the numbers stand in the title
            assert TITLE.search(committed[name])[1] == TITLE.search(text)[1]
            assert len(committed[name]) < LARGEST_FIGURE
