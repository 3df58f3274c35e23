"""Several runs side by side: the student of each, what it costs, and the settings in which they differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from limbeck.records import RunRecord
from limbeck.reports.drawing import ReportFigure
from limbeck.reports.facts import flattened, student_role
from limbeck.reports.figures.runs import runs_figure
from limbeck.reports.html_table import HtmlTable
from limbeck.reports.quantities import MISSING, QUANTITIES, column_for
from limbeck.reports.style import drawing_style
from limbeck.reports.summary import SummaryRow, summarise_run
from limbeck.reports.text_table import text_table
from limbeck.reports.wording import plain_number, printable
from limbeck.statistics import paired_difference

MACHINE = ("device", "platform", "num_threads")  # of a record's environment: what latencies depend on
SETTING_LETTERS = 48  # of a value in the table of settings: lists of numbers are long
SHOWN = ("errors", "accuracy", "nll", "ece", "agreement", "parameters", "latency_batch1")


@dataclass(frozen=True)
class RunComparison:
    """What a page, or a terminal, shows of several runs."""

    students: HtmlTable
    settings: HtmlTable | None  # None where the runs have all settings in common
    verdicts: list[tuple[str, str]]  # (run, verdict and evidence)
    notes: list[str]
    figure: ReportFigure | None


def compare_runs(records: Mapping[str, RunRecord]) -> RunComparison:
    """Return runs side by side; each stands for its student: the distilled one, or the last one trained.

    Differences in errors are from the first run, paired by seed; they are left out where the test samples are others.

    Args:
        records: by name, at least one.
    """
    rows = {name: _student(record) for name, record in records.items()}
    summaries = {name: summarise_run(record) for name, record in records.items()}
    with drawing_style():
        figure = runs_figure(rows, records)
    return RunComparison(
        students=_student_table(records, rows),
        settings=_settings_table(records),
        verdicts=[(name, f"{summary.verdict} {summary.evidence}") for name, summary in summaries.items()],
        notes=_notes(records),
        figure=figure,
    )


def comparison_text(comparison: RunComparison) -> str:
    """Return the comparison for a terminal."""
    parts = [text_table([comparison.students.headings, *comparison.students.rows], words=(0, 1))]
    if comparison.settings is not None:
        parts.append(text_table([comparison.settings.headings, *comparison.settings.rows], words=range(99)))
    return "\n\n".join([*parts, *comparison.notes])


def _student(record: RunRecord) -> SummaryRow | None:
    summary = summarise_run(record)
    return summary.row(student_role(record, summary))


def _student_table(records: Mapping[str, RunRecord], rows: Mapping[str, SummaryRow | None]) -> HtmlTable:
    columns = []
    for quantity in QUANTITIES:
        measured = [row.values[quantity.name] for row in rows.values() if row and quantity.name in row.values]
        if quantity.name in SHOWN and measured:
            columns.append(column_for(quantity, measured))
    first = next(iter(records))
    cells = []
    for name, record in records.items():
        row = rows[name]
        told = [printable(name), printable(row.name) if row else MISSING, row.label if row else MISSING]
        told += [str(row.count) if row else "0", "" if name == first else _change(records[first], record)]
        told += [column.format(row.values.get(column.quantity.name) if row else None) for column in columns]
        cells.append([*told, printable(record.data.name)])
    change = f"change of errors from {printable(first)} (95 %)"
    headings = ["run", "student", "role", "n", change, *(column.heading for column in columns), "data"]
    return HtmlTable("The student of each run, test set", headings, cells)


def _change(first: RunRecord, other: RunRecord) -> str:
    """Return the difference in errors from the first run's student with its interval, paired by seed."""
    if not _same_test_set(first, other):
        return MISSING
    errors = [record.values(student_role(record, summarise_run(record)), "errors") for record in (first, other)]
    if not errors[0].keys() & errors[1].keys():
        return MISSING
    difference = paired_difference(*errors)
    mean = plain_number(difference.mean)
    if difference.low is None or difference.high is None:
        return mean
    return f"{mean} ({plain_number(difference.low)} to {plain_number(difference.high)})"


def _same_test_set(first: RunRecord, other: RunRecord) -> bool:
    """Tell whether errors may be compared: as far as records know, data sets of one name with as many test samples."""
    return (first.data.name, first.data.num_test) == (other.data.name, other.data.num_test)


def _settings_table(records: Mapping[str, RunRecord]) -> HtmlTable | None:
    configs = {name: record.config for name, record in records.items()}
    if any(config.get("teacher_recipe") for config in configs.values()):  # else teachers are trained as students are
        configs = {
            name: {**config, "teacher_recipe": config.get("teacher_recipe") or config.get("recipe")}
            for name, config in configs.items()
        }
    settings = {name: dict(flattened(config)) for name, config in configs.items()}
    keys = list(dict.fromkeys(key for own in settings.values() for key in own))
    differing = [key for key in keys if len({own.get(key, MISSING) for own in settings.values()}) > 1 and key != "out"]
    if not differing:
        return None
    rows = [
        [printable(key), *(printable(own.get(key, MISSING), limit=SETTING_LETTERS) for own in settings.values())]
        for key in differing
    ]
    return HtmlTable("Settings, run by run", ["setting", *map(printable, settings)], rows)


def _notes(records: Mapping[str, RunRecord]) -> list[str]:
    first, *others = records.items()
    notes = [
        f"{name} was tested on other samples than {first[0]}: errors are not compared."
        for name, record in others
        if not _same_test_set(first[1], record)
    ]
    notes += [
        f"{name} was trained on other samples than {first[0]}."
        for name, record in others
        if _same_test_set(first[1], record) and record.data.fingerprint != first[1].data.fingerprint
    ]
    machines = [[record.environment.get(key) for key in MACHINE] for record in records.values()]
    if any(machine != machines[0] for machine in machines):
        notes.append("The runs were timed on different devices or numbers of threads: latencies are not comparable.")
    return notes
