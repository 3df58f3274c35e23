"""The report tells what the record holds, escapes what it is given, asks nothing of the network, and never crashes."""

from __future__ import annotations

import dataclasses
import json
import re
import statistics
import subprocess
from html.parser import HTMLParser

import pytest

from limbeck.errors import OutputError, RecordError
from limbeck.records import DarkKnowledge, Measurement, NetworkRecord, ReliabilityBin, to_json, write_text
from limbeck.reports import (
    check_page,
    read_record,
    render_report,
    summarise_run,
    summary_table,
    summary_text,
    write_report,
)
from limbeck.reports.confusions import most_confused_pairs, summed_confusions
from limbeck.reports.figures.dark_knowledge import picture
from limbeck.reports.figures.reliability import pooled_bins
from limbeck.reports.quantities import QUANTITIES, column_for
from limbeck.reports.style import PALETTE
from limbeck.statistics import Summary

SMALL = {"num_classes": 3, "seeds": (0, 1), "num_epochs": 2, "num_dark": 1, "num_test": 90}
VOID = {"meta", "img", "br", "hr", "link", "input"}
LOADING = {"src", "href", "srcset", "data", "action", "poster", "background", "xlink:href"}
SECTIONS = ["notes", "summary", "seeds", "tradeoff", "curves", "confusion", "confused", "reliability"]
SECTIONS += ["dark-knowledge", "run", "reproduce"]


class Page(HTMLParser):
    """What a page holds: elements, ids, sections, tables, text."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.elements, self.open, self.tables, self.texts, self.unbalanced = [], [], [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data):
        if "style" in self.open:
            return
        self.texts.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def tags(self, name):
        return [attributes for tag, attributes in self.elements if tag == name]

    def ids(self):
        return [attributes["id"] for _, attributes in self.elements if "id" in attributes]

    def sections(self):
        return [attributes["id"] for attributes in self.tags("section")]

    def cell(self, row_heading, heading):
        """Return the cell of the first table that has both headings."""
        for rows in self.tables:
            for row in rows[1:]:
                if heading in rows[0] and row[0] == row_heading:
                    return row[rows[0].index(heading)]
        raise AssertionError(f"no cell {row_heading!r}, {heading!r}")


def replaced(record, **changes):
    return dataclasses.replace(record, **changes)


def with_networks(record, **changes):
    return replaced(record, networks=[dataclasses.replace(network, **changes) for network in record.networks])


@pytest.fixture(scope="module")
def bare(make_record):
    """A record without networks, which is drawn in no time."""
    return replaced(make_record(**{**SMALL, "num_dark": 0}), networks=[], measurements=[])


@pytest.fixture(scope="module")
def record(make_record):
    return make_record()


@pytest.fixture(scope="module")
def html(record):
    return render_report(record)


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def mean_and_spread(record, network, name, factor, decimals):
    values = [m.value for m in record.measurements if (m.network, m.name, m.weights) == (network, name, "selected")]
    return f"{factor * statistics.mean(values):.{decimals}f} ± {factor * statistics.stdev(values):.{decimals}f}"


@pytest.mark.parametrize(
    ("heading", "name", "factor", "decimals"),
    [
        ("errors", "errors", 1, 1),
        ("accuracy (%)", "accuracy", 100, 2),
        ("NLL (nats)", "nll", 1, 4),
        ("ECE (%)", "ece", 100, 2),
        ("Brier", "brier", 1, 4),
        ("agreement (%)", "agreement", 100, 2),
        ("KL to teacher (nats)", "kl_to_teacher", 1, 4),
        ("latency, batch 1 (µs)", "latency_batch1", 1e6, 1),
        ("latency, batch 256 (µs)", "latency_batch256", 1e6, 2),
    ],
)
@pytest.mark.parametrize("network", ["baseline", "distilled"])
def test_tables_show_the_means_and_spreads_of_the_record(record, page, network, heading, name, factor, decimals):
    assert page.cell(network, heading) == mean_and_spread(record, network, name, factor, decimals)


def test_costs_are_exact_and_without_a_spread_of_zero(page):
    assert page.cell("distilled", "parameters") == "79,510"
    assert page.cell("teacher", "parameters") == "1,238,730"
    assert page.cell("teacher", "size (MiB)") == f"{4 * 1_238_730 / 2**20:.3f}"
    assert page.cell("teacher", "compute (MFLOP)") == f"{2 * 1.23873:.3f}"


def test_one_network_has_a_dash_for_its_spread_and_what_was_not_measured_is_a_dash(page):
    assert re.fullmatch(r"[\d.]+ ± —", page.cell("teacher", "errors"))
    assert page.cell("teacher", "agreement (%)") == "—"
    assert page.cell("teacher", "n") == "1"
    assert page.cell("distilled", "n") == "5"


def test_last_epoch_stands_beside_the_selected_one(record, page):
    last = list(record.values("distilled", "errors", weights="last").values())
    expected = f"{statistics.mean(last):.1f} ± {statistics.stdev(last):.1f}"
    assert page.cell("distilled", "errors, last") == expected
    assert page.cell("distilled", "errors, selected") == page.cell("distilled", "errors")


def test_paired_difference_and_verdict(record, page):
    baseline, distilled = record.values("baseline", "errors"), record.values("distilled", "errors")
    differences = [distilled[seed] - baseline[seed] for seed in baseline]
    half = 2.776445 * statistics.stdev(differences) / 5**0.5  # t(0.975, 4)
    mean = statistics.mean(differences)
    summary = summarise_run(record)
    assert (summary.difference.low, summary.difference.high) == pytest.approx((mean - half, mean + half), rel=1e-5)
    assert summary.verdict == "The teacher helped."
    assert page.text.count("The teacher helped.") == 2  # title and heading
    assert f"{-mean:.1f} fewer errors on average, on 360 test samples" in page.text
    assert f"{mean - half:.1f} to {mean + half:.1f} errors".replace("-", "−") in page.text


def test_a_teacher_that_is_no_better_than_the_baseline_is_told(record):
    assert "The teacher itself" not in summarise_run(record).evidence
    weak = [
        dataclasses.replace(one, value=300.0)
        if (one.network, one.split, one.name) == ("teacher", "test", "errors")
        else one
        for one in record.measurements
    ]
    evidence = summarise_run(dataclasses.replace(record, measurements=weak)).evidence
    baseline = statistics.mean(record.values("baseline", "errors").values())
    assert f"The teacher itself makes 300 errors, no fewer than the baseline with {baseline:.1f}: train it" in evidence


def test_share_of_the_teachers_lead_is_the_closed_gap(record, page):
    means = {r: statistics.mean(record.values(r, "errors").values()) for r in ("teacher", "baseline", "distilled")}
    kept = (means["baseline"] - means["distilled"]) / (means["baseline"] - means["teacher"])
    assert f"{100 * kept:.0f} %" in page.text
    assert f"{1_238_730 / 79_510:.1f}×" in page.text


def test_every_section_is_there_in_order_and_linked(page):
    assert page.sections() == SECTIONS
    linked = {a["href"] for a in page.tags("a")}
    assert {f"#{key}" for key in SECTIONS} - linked == {"#notes", "#confused"}


def test_page_carries_settings_versions_seeds_fingerprint_notes_and_command(record, page):
    for told in ("optimizer.lr", "0.001", "2.13.0", "0, 1, 2, 3, 4", "5f3d5b8a", record.notes[0], record.command):
        assert told in page.text


def test_every_figure_has_a_paragraph_on_how_to_read_it(page):
    figures = len(page.tags("figure"))
    assert figures == 6
    assert page.text.count("How to read this.") == figures


def test_page_is_well_formed_and_accessible(page):
    assert page.unbalanced == []
    assert page.open == []
    assert page.tags("html")[0]["lang"] == "en"
    assert len(page.tags("h1")) == 1
    ids = page.ids()
    assert len(ids) == len(set(ids))
    labelled = [a for _, a in page.elements if a.get("role") == "img"]
    assert len(labelled) == 17
    assert all(len(a["aria-label"]) > 20 for a in labelled)
    assert all(a["alt"] for a in page.tags("img"))
    assert all("viewbox" in a or "viewBox" in a for a in page.tags("svg"))


def test_references_within_drawings_lead_to_elements_of_the_page(html, page):
    ids = set(page.ids())
    referenced = set(re.findall(r"url\(#([^)]+)\)", html)) | set(re.findall(r'href="#([^"]+)"', html))
    assert referenced
    assert referenced <= ids


def test_page_asks_nothing_of_the_network_and_runs_nothing(html, page):
    for tag, attributes in page.elements:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base", "form"), tag
        assert not [name for name in attributes if name.startswith("on")]
        for name in LOADING & attributes.keys():
            kept = "data:text/csv;" if "download" in attributes else "data:image/png;base64,"
            assert attributes[name].startswith(("#", kept)), attributes[name]
    outside = [url for url in re.findall(r"https?://[^\"'\s<)]+", html) if url != "http://www.w3.org/2000/svg"]
    assert outside == []
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)
    policy = next(a["content"] for a in page.tags("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "script" not in policy


def test_drawings_follow_the_pages_colours_and_fonts(html):
    drawings = re.findall(r'<svg xmlns="http://www.w3.org/2000/svg".*?</svg>', html, flags=re.DOTALL)
    assert len(drawings) == 17
    for drawing in drawings:
        assert "currentColor" in drawing
        assert "font-family" not in drawing
        assert "<style" not in drawing
        literal = re.findall(r"(?<!, )#[0-9a-fA-F]{6}\b", drawing)  # a colour that is no variable's fallback
        assert literal == []
    style = html[html.index("<style>") : html.index("</style>")]
    for name in PALETTE.values():
        assert style.count(f"{name}:") == 3, name  # light, dark, print


def contrast(first, second):
    def luminance(colour):
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1, 2], ids=["light", "dark", "print"])
def test_texts_and_lines_stand_out_from_the_page(html, scheme):
    root = re.findall(r":root \{(.*?)\}", html, flags=re.DOTALL)[scheme]
    colours = dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6})", root))
    for text in ("--ink", "--muted", "--accent"):
        for ground in ("--page", "--card", "--stress"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for mark in ("--blue", "--vermillion", "--green", "--purple"):
        assert contrast(colours[mark], colours["--page"]) >= 3.0, mark
    assert contrast(colours["--page"], colours["--cell-right"]) >= 4.5
    assert contrast(colours["--page"], colours["--cell-wrong"]) >= 4.5


def test_drawing_leaves_the_users_matplotlib_settings_alone(make_record):
    import matplotlib as mpl

    small = make_record(**SMALL)
    expected = render_report(small)
    with mpl.rc_context({"font.size": 23, "text.usetex": True, "axes.facecolor": "red", "svg.fonttype": "path"}):
        before = dict(mpl.rcParams)
        assert render_report(small) == expected
        assert dict(mpl.rcParams) == before


def test_hostile_strings_are_shown_and_never_obeyed(make_record):
    evil = "<script>alert(1)</script>"
    names = [evil, '"><img src=x onerror=alert(1)>', "$\\frac{$", "a\x00b\x1b[31m", "\ud800", "{{ 7*7 }}", "&amp;"]
    names += ["]]>", "日本語", "x" * 300]
    record = make_record(class_names=names, seeds=(0, 1), num_epochs=2, num_dark=1)
    record = replaced(
        record,
        command=f"limbeck distill {evil}",
        notes=[evil],
        config={evil: {evil: evil}},
        environment={"v": evil},
        created=evil,
        data=dataclasses.replace(record.data, name=evil, fingerprint=evil),
        networks=[dataclasses.replace(n, name=evil, origin=evil) for n in record.networks]
        + [NetworkRecord(role=evil, name=evil, seed=None, origin=evil, num_parameters=1)],
    )
    html = render_report(record)
    page = Page(html)
    assert page.tags("script") == []
    assert all(a["src"].startswith("data:") for a in page.tags("img"))
    assert not [a for _, a in page.elements if "onerror" in a]
    assert evil in page.text
    assert "{{ 7*7 }}" in page.text
    assert "\x00" not in html
    assert "\x1b" not in html
    html.encode("utf-8")
    text = summary_text(record)
    assert "\x1b" not in text
    assert text == summary_text(record)


def test_an_ensemble_of_few_lists_its_members_and_one_of_many_sums_them_up(make_record):
    few = make_record(num_members=3, **SMALL)
    assert [row.label for row in summarise_run(few).rows] == [
        "teacher",
        "member 1",
        "member 2",
        "member 3",
        "baseline",
        "distilled",
    ]
    many = make_record(num_members=10, **SMALL)
    rows = summarise_run(many).rows
    assert [row.label for row in rows] == ["teacher", "members (10)", "baseline", "distilled"]
    errors = [many.values(f"member {i}", "errors")[i] for i in range(1, 11)]
    assert rows[1].values["errors"] == Summary(statistics.fmean(errors), statistics.stdev(errors), 10)
    page = Page(render_report(many))
    assert page.cell("members (10)", "errors").startswith(f"{statistics.mean(errors):.1f} ±")
    assert page.sections() == SECTIONS


def test_one_seed_says_that_it_cannot_tell(make_record):
    record = make_record(**{**SMALL, "seeds": (0,)})
    page = Page(render_report(record))
    assert "One seed cannot tell whether the teacher helped." in page.text
    assert "train more seeds" in page.text
    assert "95 % interval" not in page.text.split("Summary", 2)[1]
    assert page.sections() == SECTIONS


def test_a_training_run_without_teacher_or_baseline(make_record):
    record = make_record(kind="train", **{**SMALL, "num_dark": 0})
    page = Page(render_report(record))
    assert page.sections() == ["notes", "summary", "curves", "confusion", "confused", "reliability", "run", "reproduce"]
    accuracy = statistics.mean(record.values("student", "accuracy").values())
    assert f"{100 * accuracy:.2f} % of the test samples are classified correctly." in page.text
    assert "teacher" not in page.text.replace("limbeck distill --data digits --teacher", "")
    assert summarise_run(record).difference is None


def test_without_validation_the_curves_show_the_loss_alone(make_record):
    page = Page(render_report(make_record(num_validation=0, **SMALL)))
    labels = [a["aria-label"] for _, a in page.elements if "by epoch" in a.get("aria-label", "")]
    assert [label.split(" by ")[0] for label in labels] == ["Training loss"]
    assert "There was no validation split" in page.text


def test_features_instead_of_images_show_no_picture(make_record):
    page = Page(render_report(make_record(images=False, **SMALL)))
    assert page.tags("img") == []
    assert "dark-knowledge" in page.sections()


def test_many_classes_are_drawn_as_pixels_with_the_most_probable_named(make_record):
    record = make_record(num_classes=200, num_test=1000, seeds=(0,), num_epochs=2, images=False)
    html = render_report(record)
    page = Page(html)
    assert page.sections() == SECTIONS
    images = [a for a in page.tags("image") if a["href"].startswith("data:image/png;base64,")]
    assert len(images) == 3
    assert "192 others" in page.text
    assert "cells are too small for numbers" in page.text
    assert len(html) < 600_000


def test_more_classes_than_pixels_share_them(make_record):
    names = [f"c{i}" for i in range(450)]
    record = make_record(class_names=names, num_test=900, seeds=(0,), num_epochs=1, images=False, num_dark=0)
    assert "Neighbouring classes share a pixel." in Page(render_report(record)).text


@pytest.mark.parametrize(
    ("change", "gone"),
    [
        (lambda r: replaced(r, dark_knowledge=[], notes=[]), {"dark-knowledge", "notes"}),
        (lambda r: with_networks(r, history=[], confusion=[]), {"curves", "confusion"}),
        (
            lambda r: with_networks(r, confusion=[], most_confused=[], reliability=[]),
            {"confusion", "confused", "reliability"},
        ),
        (
            lambda r: with_networks(r, confusion=[[1, 2], [3]], reliability=[ReliabilityBin(0, 1, 0, 0, 0)]),
            {"confusion", "reliability"},
        ),
        (lambda r: replaced(r, measurements=[]), {"seeds", "tradeoff"}),
        (
            lambda r: replaced(r, measurements=[m for m in r.measurements if m.name != "accuracy"]),
            {"tradeoff"},
        ),
        (
            lambda r: replaced(r, networks=[n for n in r.networks if n.role == "teacher"], measurements=[]),
            {"seeds", "tradeoff", "curves", "confused"},  # a teacher without mistakes
        ),
        (
            lambda r: replaced(r, networks=[], measurements=[], seeds=[]),
            {"seeds", "tradeoff", "curves", "confusion", "confused", "reliability"},
        ),
        (
            lambda r: replaced(r, data=dataclasses.replace(r.data, class_names=[])),
            {"confusion"},
        ),
        (
            lambda r: replaced(r, networks=[n for n in r.networks if n.role != "teacher"]),
            set(),
        ),
    ],
)
def test_what_is_missing_is_left_out(make_record, change, gone):
    record = change(make_record(**SMALL))
    page = Page(render_report(record))
    assert set(SECTIONS) - set(page.sections()) == gone
    assert page.unbalanced == []
    assert summary_text(record).strip()


@pytest.mark.parametrize(
    "sample",
    [
        DarkKnowledge(1, -1, [], [4.0], [[0.2, 0.8]]),
        DarkKnowledge(1, 99, [[[1, 2, 3], [4, 5, 6]]], [1.0, 2.0], [[0.2, 0.8], [0.4, 0.6]]),
        DarkKnowledge(1, 0, [[1, 2], [3]], [1.0, 2.0, 4.0, 8.0, 16.0], [[0.5, 0.5]] * 5),
        DarkKnowledge(1, 0, ["text"], [1.0], [[1.0, 0.0]]),
        DarkKnowledge(1, 0, [], [], []),
    ],
)
def test_odd_dark_knowledge_does_not_stop_the_report(bare, sample):
    page = Page(render_report(replaced(bare, dark_knowledge=[sample])))
    assert page.unbalanced == []
    assert ("dark-knowledge" in page.sections()) == bool(sample.temperatures)


def test_one_epoch_and_zero_errors_are_drawn(make_record):
    record = make_record(**{**SMALL, "num_epochs": 1})
    record = replaced(
        record,
        measurements=[
            dataclasses.replace(m, value=0.0) if m.name in ("errors", "latency_batch1") else m
            for m in record.measurements
        ],
    )
    page = Page(render_report(record))
    assert "as many errors as without" in page.text
    assert "The teacher did not show a difference." in page.text


def test_picture_keeps_pixels():
    import base64
    import io

    from PIL import Image

    for pixels, expected in (
        ([[0, 255], [7, 300]], [0, 255, 7, 255]),
        ([[[1, 2, 3], [4, 5, 6]]], [(1, 2, 3), (4, 5, 6)]),
    ):
        image = Image.open(io.BytesIO(base64.b64decode(picture(pixels).split(",")[1])))
        assert [image.getpixel((x, y)) for y in range(image.height) for x in range(image.width)] == expected
    assert picture([]) == ""


def test_confusions_are_summed_over_seeds_and_pairs_ranked_by_the_student(make_record):
    record = make_record(seeds=(0, 1, 2), num_epochs=1, num_dark=0)
    networks = [n for n in record.networks if n.role == "distilled"]
    cells, count = summed_confusions(record)["distilled"]
    assert count == 3
    assert cells.get((4, 7), 0) == sum(n.confusion[4][7] for n in networks)
    roles, pairs = most_confused_pairs(record)
    assert roles == ["teacher", "baseline", "distilled"]
    off_diagonal = [number / 3 for (i, j), number in cells.items() if i != j]
    assert pairs[0].counts["distilled"] == f"{max(off_diagonal):.1f}"
    assert [float(p.counts["distilled"]) for p in pairs] == sorted(
        (float(p.counts["distilled"]) for p in pairs), reverse=True
    )


def test_pooled_bins_weigh_by_samples():
    first = [ReliabilityBin(0.9, 1.0, 30, 0.95, 0.9), ReliabilityBin(0.0, 0.9, 0, 0.0, 0.0)]
    second = [ReliabilityBin(0.9, 1.0, 10, 0.99, 0.5)]
    networks = [NetworkRecord("distilled", "m", s, "", 1, reliability=b) for s, b in enumerate((first, second))]
    empty, full = pooled_bins(networks)
    assert (empty.count, full.count) == (0, 40)
    assert (full.confidence, full.accuracy) == pytest.approx((0.96, 0.8))


@pytest.mark.parametrize(
    ("name", "means", "heading", "texts"),
    [
        ("errors", [7.0, 12.0], "errors", ["7 ± —", "12 ± —"]),
        ("bytes", [512.0], "size (B)", ["512"]),
        ("bytes", [4096.0, 4096.0 * 1024], "size (MiB)", ["0.0039", "4.0000"]),
        ("latency_batch1", [0.002, 0.25], "latency, batch 1 (ms)", ["2.00 ± —", "250.00 ± —"]),
        ("flops", [2.5e9], "compute (GFLOP)", ["2.50"]),
        ("nll", [0.0], "NLL (nats)", ["0.0000 ± —"]),
    ],
)
def test_columns_choose_their_unit_by_the_largest_value(name, means, heading, texts):
    quantity = next(q for q in QUANTITIES if q.name == name)
    summaries = [Summary(mean, None, 1) for mean in means]
    column = column_for(quantity, summaries)
    assert column.heading == heading
    assert [column.format(summary) for summary in summaries] == texts


def test_summary_text_fits_eighty_columns_and_says_what_the_page_says(record, page, make_record):
    text = summary_text(record)
    assert max(map(len, text.splitlines())) <= 80
    for network, heading in (("distilled", "errors"), ("baseline", "NLL (nats)"), ("teacher", "parameters")):
        assert page.cell(network, heading) in text
    flowing = " ".join(text.split())
    assert "The teacher helped." in flowing
    assert "at the last epoch" in flowing
    wide = summary_text(make_record(num_members=10, num_test=20_000, seeds=(0, 1), num_epochs=1))
    assert max(map(len, wide.splitlines())) <= 80
    assert "…" not in wide


def test_summary_table_is_a_rich_table(record):
    from rich.table import Table

    assert isinstance(summary_table(record), Table)


def test_write_report_and_read_record_round_trip(bare, tmp_path):
    write_text(tmp_path / "record.json", to_json(bare))
    assert read_record(tmp_path) == bare
    assert read_record(str(tmp_path / "record.json")) == bare
    assert write_report(bare, tmp_path) == tmp_path / "report.html"
    assert write_report(bare, tmp_path / "other.html") == tmp_path / "other.html"
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.startswith(render_report(bare))
    assert check_page(page, source="page")
    assert not check_page(render_report(bare), source="an earlier release's")
    with pytest.raises(RecordError, match="changed after it was written"):
        check_page(page.replace("digits", "dagits"), source="page")


def test_the_page_of_an_unsealed_record_says_so(bare, tmp_path):
    content = json.loads(to_json(bare))
    del content["sha256"]
    write_text(tmp_path / "record.json", json.dumps(content))
    assert "This record is unsealed" in render_report(read_record(tmp_path))
    write_text(tmp_path / "record.json", to_json(bare))
    assert "unsealed" not in render_report(read_record(tmp_path))


def test_no_page_is_drawn_of_a_record_in_which_a_digit_was_changed(bare, tmp_path):
    text = to_json(bare)
    elapsed = f'"elapsed_seconds": {bare.elapsed_seconds}'
    assert elapsed in text
    write_text(tmp_path / "record.json", text.replace(elapsed, f"{elapsed}1", 1))
    with pytest.raises(RecordError, match=r"record\.json was changed after it was written"):
        read_record(tmp_path)


def test_write_report_to_a_missing_folder_is_an_output_error(bare, tmp_path):
    with pytest.raises(OutputError, match="Cannot write"):
        write_report(bare, tmp_path / "nowhere" / "report.html")


def test_read_record_names_what_is_missing_or_unreadable(tmp_path):
    with pytest.raises(RecordError, match="There is no record") as caught:
        read_record(tmp_path)
    assert "--out" in caught.value.remedy
    (tmp_path / "record.json").write_bytes(b"\xff\xfe")
    with pytest.raises(RecordError, match="Cannot read"):
        read_record(tmp_path)
    (tmp_path / "record.json").write_text("{}")
    with pytest.raises(RecordError, match="not a run record"):
        read_record(tmp_path)
    with pytest.raises(RecordError):
        read_record(tmp_path / "record.json" / "deeper")


def test_same_record_gives_the_same_bytes(record, html):
    assert render_report(record) == html


def test_unpaired_networks_give_no_difference(make_record):
    record = make_record(**SMALL)
    measurements = [m for m in record.measurements if m.network != "baseline"]
    measurements.append(Measurement("baseline", 77, "test", "selected", "errors", 9.0, "count"))
    changed = replaced(record, measurements=measurements)
    assert summarise_run(changed).difference is None
    assert "seeds" not in Page(render_report(changed)).sections()


# In a real browser

QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"]
QUIET += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
FRAME = """<!doctype html><body style="margin:0">
<iframe id="frame" src="report.html" style="border:0;width:{width}px;height:900px;display:block"></iframe>
<p id="told">nothing yet</p>
<script>frame.onload = () => {{
  const page = frame.contentDocument, root = page.documentElement;
  const small = [...page.querySelectorAll(".panel:not(.wide) svg text")]
    .map((text) => parseFloat(getComputedStyle(text).fontSize) * text.ownerSVGElement.getScreenCTM().a);
  const outside = [...page.querySelectorAll(".panel svg text")].filter((text) => {{
    const inner = text.getBoundingClientRect(), outer = text.ownerSVGElement.getBoundingClientRect();
    return inner.left < outer.left - 2 || inner.right > outer.right + 2 || inner.bottom > outer.bottom + 2;
  }}).map((text) => text.textContent);
  told.textContent = JSON.stringify({{scroll: root.scrollWidth, client: root.clientWidth, height: root.scrollHeight,
    smallest: Math.min(...small), outside, background: getComputedStyle(page.body).backgroundColor}});
}}</script>"""


def browse(chromium, folder, page, *arguments, width, dark=False):
    command = [chromium, *QUIET, f"--user-data-dir={folder / 'profile'}", "--allow-file-access-from-files"]
    command += [f"--blink-settings=preferredColorScheme={0 if dark else 1}", f"--window-size={width},900"]
    command += ["--virtual-time-budget=4000", *arguments, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 1200])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_browser_shows_the_page_without_overflow_or_tiny_text(chromium, html, tmp_path, width, dark):
    import json

    (tmp_path / "report.html").write_text(html, encoding="utf-8")
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.format(width=width), encoding="utf-8")
    shown = browse(chromium, tmp_path, frame, "--dump-dom", width=max(width, 500), dark=dark)
    told = json.loads(re.search(r'<p id="told">(.*?)</p>', shown)[1].replace("&lt;", "<").replace("&amp;", "&"))
    assert told["scroll"] <= told["client"] == width
    assert told["outside"] == []
    assert told["smallest"] >= 8.0
    assert told["background"] == ("rgb(21, 24, 28)" if dark else "rgb(255, 255, 255)")


@pytest.mark.browser
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_browser_paints_text_and_every_role_of_the_palette(chromium, html, tmp_path, dark):
    from PIL import Image

    (tmp_path / "report.html").write_text(html, encoding="utf-8")
    picture_path = tmp_path / "page.png"
    browse(
        chromium,
        tmp_path,
        tmp_path / "report.html",
        f"--screenshot={picture_path}",
        "--window-size=1200,6000",
        width=1200,
        dark=dark,
    )
    image = Image.open(picture_path).convert("RGB")
    counts = {colour: count for count, colour in image.getcolors(maxcolors=image.width * image.height)}
    ground, ink, blue, orange = (
        [(21, 24, 28), (232, 234, 237), (86, 180, 233), (240, 160, 48)]
        if dark
        else [(255, 255, 255), (22, 25, 29), (0, 114, 178), (213, 94, 0)]
    )
    total = sum(counts.values())
    assert 0.5 * total < counts[ground] < 0.97 * total
    for colour in (ink, blue, orange):
        assert counts.get(colour, 0) > 300, colour


@pytest.mark.browser
def test_browser_keeps_long_class_names_inside_their_drawings(chromium, make_record, tmp_path):
    import json

    names = [
        "aeroplane",
        "automobile",
        "container ship",
        "日本語の名前です",
        "WWWWWWWWWWWWWW",
        "cat",
        "dog <b>&",
        "deer",
    ]
    names += [f"class {i}" for i in range(7)]
    (tmp_path / "report.html").write_text(render_report(make_record(class_names=names, seeds=(0, 1))), encoding="utf-8")
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.format(width=390), encoding="utf-8")
    shown = browse(chromium, tmp_path, frame, "--dump-dom", width=500)
    told = json.loads(re.search(r'<p id="told">(.*?)</p>', shown)[1].replace("&lt;", "<").replace("&amp;", "&"))
    assert told["scroll"] <= told["client"] == 390
    assert told["outside"] == []
