"""Claims are held against observations as they say; records go to JSON and come back; pages tell what records hold."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.errors import InvalidValue, RecordError, UnknownName
from limbeck.records import DataRecord, to_json
from limbeck.reports import (
    claims,
    read_any_record,
    read_pictures,
    redraw_report,
    render_reproduction,
    reproduction_table,
    write_report,
)
from limbeck.reproduction import (
    Claim,
    Figure,
    NetworkFacts,
    Observation,
    ReproductionRecord,
    Series,
    reproduction_from_json,
    reproduction_to_json,
    value_text,
)

DATA = DataRecord("mnist", "5f3d", ["0", "1"], [1, 28, 28], 60_000, 60_000, 0, 10_000)


def observed(condition, quantity, values, unit="count"):
    return [Observation(condition, seed, quantity, value, unit) for seed, value in enumerate(values)]


def record_of(claims=(), observations=(), **changes):
    plain = ReproductionRecord(
        recipe="toy",
        title="A toy of a paper",
        paper="Nobody 1999",
        command="limbeck reproduce toy",
        smoke=False,
        created="2025-06-01T12:00:00+00:00",
        elapsed_seconds=12.0,
        settings={"seeds": [0, 1], "recipe": {"num_epochs": 3}},
        departures=["shorter"],
        claims=list(claims),
        observations=list(observations),
        figures=[],
        notes=[],
        environment={"limbeck": "0.1", "commit": "abc", "device": "cpu"},
        data=DATA,
        networks=[NetworkFacts("net", "mlp:widths=8,max_norm=2.0", 0, "net-seed0-aa", 55, 3, 61.0, True, {})],
    )
    return dataclasses.replace(plain, **changes)


def verdict_on(claim, values, **changes):
    return record_of([claim], observed(claim.condition, claim.quantity, values, claim.unit), **changes).verdicts()[0]


AT_MOST = Claim("net", "test_errors", "It makes 74.", paper=74.0, at_most=74.0)
AT_LEAST = Claim("net", "test_accuracy", "It keeps 97 %.", at_least=0.97, unit="fraction")


@pytest.mark.parametrize(
    ("claim", "values", "status", "text"),
    [
        (AT_MOST, [70, 72, 78], "reached", "reached: the mean is at most 74; 2 of 3 runs reach it on their own"),
        (AT_MOST, [74, 74], "reached", "reached: the mean is at most 74; 2 of 2 runs reach it on their own"),
        (
            AT_MOST,
            [74, 75, 76],
            "not reached",
            "not reached: the mean is 1 above the goal of at most 74; 1 of 3 runs reaches it",
        ),
        (AT_MOST, [67], "reached", "reached by the one run there is (goal: at most 74)"),
        (AT_MOST, [80], "not reached", "not reached by the one run there is, 6 above (goal: at most 74)"),
        (AT_MOST, [], "not measured", "not measured"),
        (
            AT_LEAST,
            [0.975, 0.955],
            "not reached",
            "not reached: the mean is 0.5 % below the goal of at least 97 %; 1 of 2 runs reaches it",
        ),
        (AT_LEAST, [0.98, 0.97], "reached", "reached: the mean is at least 97 %; 2 of 2 runs reach it on their own"),
        (
            Claim("net", "test_errors", "It makes 146.", paper=146.0),
            [140, 150, 145],
            "no goal",
            "no goal: paper 146, ours 145.0 ± 5.0 (n = 3)",
        ),
        (Claim("net", "test_errors", "What it makes."), [140], "no goal", "no goal"),
    ],
)
def test_a_verdict_follows_from_the_mean(claim, values, status, text):
    verdict = verdict_on(claim, values)
    assert (verdict.status, verdict.text) == (status, text)


def test_a_verdict_shows_mean_sample_deviation_and_number_of_runs():
    verdict = verdict_on(AT_MOST, [70, 74, 78])  # sample variance (16 + 0 + 16) / 2
    assert (verdict.paper_text, verdict.ours_text) == ("74", "74.0 ± 4.0 (n = 3)")
    assert verdict_on(AT_MOST, [67]).ours_text == "67 (n = 1)"


def test_a_number_of_no_single_run_is_not_called_a_run():
    low_end = Claim("net", "saved_low", "It saves errors.", at_least=0.0)
    for value, status, text in (
        (2.5, "reached", "reached (goal: at least 0)"),
        (-1.5, "not reached", "not reached, 1.5 below (goal: at least 0)"),
    ):
        verdict = record_of([low_end], [Observation("net", None, "saved_low", value, "count")]).verdicts()[0]
        assert (verdict.status, verdict.text) == (status, text)
        assert verdict.ours_text == f"{value}".replace("-", "−")


def test_a_smoke_run_is_not_judged():
    assert verdict_on(AT_MOST, [3], smoke=True).status == "not judged"
    assert verdict_on(Claim("net", "test_errors", "", paper=1.0), [3], smoke=True).text == "not judged: a smoke run"


def test_rounding_of_sums_does_not_decide():
    third = Claim("net", "kept", "", at_most=0.3, unit="fraction")
    assert verdict_on(third, [0.1 + 0.2]).status == "reached"  # 0.30000000000000004


def test_a_mean_just_beyond_the_goal_is_not_said_to_be_at_no_distance():
    text = verdict_on(AT_MOST, [74] * 29 + [75]).text
    assert "less than 0.1 above" in text


def test_two_goals_make_a_range():
    claim = Claim("30 units", "best_temperature", "T in 2.5 .. 4 is best.", at_least=2.5, at_most=4.0, unit="T")
    assert [verdict_on(claim, [value]).status for value in (2.0, 2.5, 4.0, 6.0)] == [
        "not reached",
        "reached",
        "reached",
        "not reached",
    ]
    assert "at least 2.5 T and at most 4 T" in verdict_on(claim, [3.0]).text


def test_other_conditions_and_quantities_do_not_count():
    observations = observed("net", "held_out_errors", [1]) + observed("other", "test_errors", [1])
    assert record_of([AT_MOST], observations).verdicts()[0].status == "not measured"


def test_a_claim_in_another_unit_is_refused():
    with pytest.raises(RecordError, match="another unit"):
        record_of([AT_MOST], observed("net", "test_errors", [0.01], "fraction")).verdicts()


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1234.0, "count", "1,234"),
        (0.4731, "fraction", "47.31 %"),
        (-3.5, "count", "−3.5"),
        (1.0, "fraction", "100 %"),
        (0.02, "nats", "0.02 nats"),
        (12.3456, "bits", "12.35 bits"),
        (100.0, "count", "100"),
    ],
)
def test_numbers_as_a_reader_writes_them(value, unit, text):
    assert value_text(value, unit) == text


WORDS = st.text(st.characters(codec="utf-8"), max_size=6)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
OPTIONAL = st.none() | NUMBERS


@st.composite
def figures(draw):
    places = draw(st.lists(WORDS, max_size=3))
    row = st.builds(Series, WORDS, st.lists(WORDS, min_size=len(places), max_size=len(places)))
    kind = draw(st.sampled_from(["points", "heat_map"]))
    return Figure(kind, "title", "read", "errors", "label", places, draw(st.lists(row, min_size=1, max_size=3)))


RECORDS = st.builds(
    record_of,
    st.lists(st.builds(Claim, WORDS, WORDS, WORDS, OPTIONAL, OPTIONAL, OPTIONAL, WORDS), max_size=3),
    st.lists(st.builds(Observation, WORDS, st.none() | st.integers(), WORDS, NUMBERS, WORDS), max_size=3),
    figures=st.lists(figures(), max_size=2),
    smoke=st.booleans(),
    data=st.sampled_from([None, DATA]),
)


@given(RECORDS)
@settings(max_examples=40, deadline=None)
def test_any_record_comes_back_equal(record):
    assert reproduction_from_json(reproduction_to_json(record)) == record


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "limbeck-run-record"}, "not a reproduction record"),
        ({"version": 2}, "another version"),
        ({"claims": 3}, "claims"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_another_format_version_or_field_is_refused(change, words):
    content = json.loads(reproduction_to_json(record_of())) | change
    del content["sha256"]
    with pytest.raises(RecordError, match=words):
        reproduction_from_json(json.dumps(content))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"kind": "pie"}, UnknownName),
        ({"series": []}, InvalidValue),
        ({"places": ["1"]}, InvalidValue),
        ({"places": ["1", "two"]}, InvalidValue),
        ({"places": ["1", "inf"]}, InvalidValue),
        ({"places": ["0", "2"], "log_places": True}, InvalidValue),
        ({"series": [Series(str(i), ["a", "b"]) for i in range(8)]}, InvalidValue),
    ],
)
def test_a_figure_that_cannot_be_drawn_is_refused(changes, error):
    sound = {"kind": "curves", "places": ["1", "2"], "series": [Series("s", ["a", "b"])]}
    with pytest.raises(error):
        Figure(title="t", how_to_read="", quantity="errors", value_label="", **(sound | changes))


def swept_record(**changes):
    temperatures, widths = [1.0, 2.5, 20.0], [30, 300]
    places = [f"{t:g}" for t in temperatures]
    rows = [Series(f"{w} units", [f"{w} {t:g}" for t in temperatures]) for w in widths]
    observations = observed("net", "test_errors", [70, 74, 78]) + observed("lone", "test_errors", [100])
    for w in widths:
        for t in temperatures:
            observations += observed(f"{w} {t:g}", "sweep_errors", [9000 / w + t, 9000 / w + 2 * t])
    of = {"how_to_read": "Look.", "quantity": "sweep_errors", "value_label": "errors", "places": places}
    drawn = [
        Figure(
            kind="points",
            title="Points",
            how_to_read="",
            quantity="test_errors",
            value_label="errors",
            places=["a net", "another"],
            series=[Series("run", ["net", "lone"])],
        ),
        Figure(kind="curves", title="Curves", series=rows, log_places=True, log_values=True, place_label="T", **of),
        Figure(kind="heat_map", title="Cells", series=rows, place_label="T", series_label="units", **of),
    ]
    return dataclasses.replace(record_of([AT_MOST], observations, figures=drawn), **changes)


@pytest.fixture(scope="module")
def page():
    return render_reproduction(swept_record())


def test_the_page_holds_claims_figures_settings_departures_and_command(page):
    for words in (
        "74.0 ± 4.0 (n = 3)",
        "reached: the mean is at most 74",
        "It makes 74.",
        "shorter",
        "recipe.num_epochs",
    ):
        assert words in page
    for words in ("limbeck reproduce toy", "Nobody 1999", "1 of 1 goals reached.", "1 min 1 s", "mlp:widths=8"):
        assert words in page
    assert page.count("<svg xmlns") == 3


def test_the_figures_tell_their_numbers_to_those_who_cannot_see_them(page):
    told = re.findall(r'role="img" aria-label="([^"]*)"', page)
    assert told[0] == "Points: a net 74.0 ± 4.0 (n = 3); another 100 (n = 1)."
    assert told[1] == (
        "Curves: 30 units from 301.5 at 1 to 330 at 20; 300 units from 31.5 at 1 to 60 at 20."  # 9000 / w + 1.5 t
    )
    assert "30 units: 302 at 1 to 330 at 20" in told[2]


def test_the_page_counts_runs_and_no_number_that_belongs_to_none():
    observations = [*observed("net", "saved", [4, 6]), Observation("net", None, "saved_low_end", 2.0, "count")]
    record = record_of([], [*observations, Observation("wide", None, "saved_low_end", 1.0, "count")])
    assert [row[:2] for row in claims.observation_table(record).rows] == [["net", "2"], ["wide", "—"]]


def test_a_sweeps_networks_are_counted_and_their_seeds_told_once():
    networks = [NetworkFacts("net", "mlp:widths=8", seed, "net", 55, 3, 1.0, True, {}) for seed in (0, 0, 1, 1)]
    seeds = {n: claims.trained_table(record_of([], [], networks=networks[::n])).rows[0][3] for n in (1, 2)}
    assert seeds == {1: "0, 1 (4 networks)", 2: "0, 1"}


def test_points_are_written_in_digits_on_a_log_scale_and_have_room_for_their_names():
    record = swept_record()
    few = dataclasses.replace(record.figures[0], log_values=True)
    names = [f"what student {place} was shown" for place in range(8)]
    many = dataclasses.replace(few, places=names, series=[Series("run", ["net", "lone"] * 4)])
    pages = [render_reproduction(dataclasses.replace(record, figures=[figure])) for figure in (few, many)]
    widths = [float(re.search(r'viewBox="0 0 ([0-9.]+) ', page)[1]) for page in pages]
    assert widths[0] < 440
    assert widths[1] > 8 * 130  # points
    for page in pages:
        assert "mathdefault" not in page
        assert re.search(r">100</text>", page)


def test_the_page_shows_the_pictures_that_its_notes_name(tmp_path):
    record = dataclasses.replace(swept_record(), notes=["What was heard: heard.png.", "Gone: gone.png, not.png."])
    (tmp_path / "heard.png").write_bytes(b"\x89PNG\r\n\x1a\n and more")
    (tmp_path / "other.png").write_bytes(b"\x89PNG\r\n\x1a\n that no note names")
    (tmp_path / "not.png").write_bytes(b"<svg onload=...>")
    pictures = read_pictures(tmp_path, record)
    assert list(pictures) == ["heard.png"]
    shown = render_reproduction(record, pictures=pictures)
    assert shown.count('<img src="data:image/png;base64,iVBOR') == 1
    assert 'alt="What was heard: heard.png."' in shown
    (tmp_path / "record.json").write_text(reproduction_to_json(record))
    assert 'alt="What was heard: heard.png."' in redraw_report(tmp_path).read_text()


def test_the_page_is_the_same_each_time_and_asks_nothing_of_the_network(page):
    assert render_reproduction(swept_record()) == page
    assert "<script" not in page
    assert not re.search(r'(src|href)="(?!#|data:)', page)


@pytest.mark.parametrize(
    ("values", "ticks"), [((70.0, 5000.0), ["100", "300", "1,000", "3,000"]), ((210.0, 290.0), [])]
)
@pytest.mark.parametrize("kind", ["points", "curves"])
def test_logarithmic_values_are_written_in_digits(kind, values, ticks):
    observations = [*observed("a", "errors", values[:1]), *observed("b", "errors", values[1:])]
    of = {"title": "t", "how_to_read": "", "quantity": "errors", "value_label": "errors", "log_values": True}
    figure = Figure(kind=kind, places=["1", "2"], series=[Series("s", ["a", "b"])], **of)
    drawn = render_reproduction(record_of([], observations, figures=[figure]))
    assert "mathdefault" not in drawn
    written = re.findall(r"<text[^>]*>([0-9,]+)</text>", drawn)
    assert set(ticks) <= set(written)
    assert sum(values[0] <= float(text.replace(",", "")) <= values[1] for text in written) >= 2


def test_what_a_record_says_is_escaped():
    evil = "<b onclick=x>&"
    record = swept_record(
        title=evil, notes=[evil], departures=[evil], claims=[dataclasses.replace(AT_MOST, sentence=evil)]
    )
    figure = dataclasses.replace(record.figures[0], title=evil, places=[evil, evil], value_label=evil)
    html = render_reproduction(dataclasses.replace(record, figures=[figure]))
    assert "<b onclick" not in html
    assert "&lt;b onclick=x&gt;&amp;" in html


def test_figures_without_observations_are_drawn_empty():
    html = render_reproduction(swept_record(observations=[]))
    assert html.count("nothing was observed") == 4  # points, curves, and two rows of cells


def test_report_redraws_either_kind_of_record(make_record, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "record.json").write_text(to_json(make_record(seeds=(0,), num_epochs=1, num_dark=0)))
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "record.json").write_text(reproduction_to_json(swept_record()), encoding="utf-8")
    assert read_any_record(tmp_path / "toy") == swept_record()
    assert read_any_record(tmp_path / "run").kind == "distill"
    target = write_report(read_any_record(tmp_path / "toy"), tmp_path / "toy")
    assert "A toy of a paper" in target.read_text(encoding="utf-8")


def test_the_terminal_shows_claim_paper_ours_and_verdict():
    from rich.console import Console

    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(reproduction_table(swept_record()))
    text = capture.get()
    assert max(map(len, text.splitlines())) <= 80
    assert "1 of 1 goals reached." in text
    row = next(line for line in text.splitlines() if line.startswith("net, test errors"))
    assert [cell for cell in re.split(r"\s{2,}", row) if cell][1:3] == ["74", "74.0 ± 4.0 (n = 3)"]
