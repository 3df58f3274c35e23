"""What the page shows beside the figures: the few numbers at its head, and small tables of settings and training."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from limbeck.errors import shortened
from limbeck.records import DataRecord, RunRecord
from limbeck.reports.confusions import most_confused_pairs
from limbeck.reports.html_table import HtmlTable
from limbeck.reports.quantities import MISSING, Column, column_for
from limbeck.reports.summary import RunSummary, role_order
from limbeck.reports.terminal import last_columns
from limbeck.reports.wording import percent, plain_number, printable, scaled
from limbeck.statistics import summarise


@dataclass(frozen=True)
class Fact:
    """A number at the head of the page."""

    value: str
    label: str
    detail: str


def key_facts(record: RunRecord, summary: RunSummary) -> list[Fact]:
    """Return the numbers that a busy reader needs: errors, accuracy, the share of the lead kept, size and speed."""
    student = student_role(record, summary)
    facts = [
        _errors_fact(summary, student),
        _lead_fact(summary) or _accuracy_fact(summary, student),
        _cost_fact(summary, student, "parameters", "fewer parameters", "more parameters", scaled),
        _cost_fact(summary, student, "latency_batch1", "faster", "slower", _microseconds),
    ]
    return [fact for fact in facts if fact is not None]


def student_role(record: RunRecord, summary: RunSummary) -> str:
    """Return the role that a run is about: that with the effect it judges, or the last one it trained."""
    if summary.judged:
        return summary.leading[0].comparison.network
    return max(record.roles(), key=role_order, default="")


def summary_tables(summary: RunSummary) -> list[HtmlTable]:
    """Return the tables of the summary: errors, probabilities, cost."""
    captions = {"errors": "Errors on the test set", "probabilities": "Probabilities on the test set", "cost": "Cost"}
    tables = []
    for group, caption in captions.items():
        columns = summary.columns_of(group)
        rows = [
            [printable(row.label), str(row.count), *(c.format(row.values.get(c.quantity.name)) for c in columns)]
            for row in summary.rows
        ]
        if columns:
            headings = ["network", "n", *(column.heading for column in columns)]
            tables.append(HtmlTable(caption, headings, rows, emphasised="distilled"))
    return tables


def last_epoch_table(summary: RunSummary) -> HtmlTable | None:
    """Return errors and accuracies at the selected and at the last epoch side by side; None where not measured."""
    if not summary.last_rows:
        return None
    headings = ["network"]
    pairs: list[Column] = []
    for column in last_columns(summary):
        name = column.quantity.name
        both = [row.values[name] for row in [*summary.rows, *summary.last_rows] if name in row.values]
        pairs.append(column_for(column.quantity, both))
        headings += [f"{column.heading}, selected", f"{column.heading}, last"]
    rows = []
    for last in summary.last_rows:
        selected = next(row for row in summary.rows if row.label == last.label)
        cells = [printable(last.label)]
        for column in pairs:
            name = column.quantity.name
            cells += [column.format(selected.values.get(name)), column.format(last.values.get(name))]
        rows.append(cells)
    return HtmlTable("Selected epoch and last epoch, test set", headings, rows, emphasised="distilled")


def confused_table(record: RunRecord) -> HtmlTable | None:
    """Return the pairs of classes that the student confuses most; None where the record knows of none."""
    roles, pairs = most_confused_pairs(record)
    if not pairs:
        return None
    rows = [[f"{pair.true} → {pair.predicted}", *(pair.counts[role] for role in roles)] for pair in pairs]
    return HtmlTable("Mistakes per network", ["true → predicted", *(printable(role) for role in roles)], rows)


def network_table(record: RunRecord, summary: RunSummary) -> HtmlTable:
    """Return what each kind of network is and how its training went."""
    headings = ["network", "n", "is", "origin", "epochs trained", "selected epoch", "training time"]
    rows = []
    for row in summary.rows:
        networks = [network for network in record.networks if network.role in row.roles]
        selected = [n.selected_epoch for n in networks if n.selected_epoch is not None]
        seconds = [n.elapsed_seconds for n in networks if n.elapsed_seconds > 0]
        rows.append(
            [
                printable(row.label),
                str(len(networks)),
                _joined(n.name for n in networks),
                _joined(n.origin for n in networks),
                _range([len(n.history) for n in networks if n.history]),
                _range(selected),
                duration(summarise(seconds).mean) + (" each" if len(seconds) > 1 else "") if seconds else MISSING,
            ]
        )
    return HtmlTable("Networks", headings, rows, emphasised="distilled")


def data_facts(data: DataRecord) -> list[tuple[str, str]]:
    """Return name and counts of the data set as (term, text)."""
    classes = shortened([printable(name) for name in data.class_names], most=20)
    unlabelled = data.num_train - data.num_labelled
    return [
        ("data set", data.name),
        ("training samples", f"{data.num_train:,}" + (f", of which {unlabelled:,} unlabelled" if unlabelled else "")),
        ("validation samples", f"{data.num_validation:,}" if data.num_validation else "none"),
        ("test samples", f"{data.num_test:,}"),
        ("shape of a sample", " × ".join(map(str, data.input_shape)) or "scalar"),
        ("classes", f"{len(data.class_names)}: {classes}" if data.class_names else MISSING),
        ("fingerprint of the training split", data.fingerprint or MISSING),
    ]


def flattened(settings: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return nested settings as (dotted name, text).

    Example:
        >>> flattened({"student": {"widths": [30, 30]}, "seed": None})
        [('student.widths', '30, 30'), ('seed', '—')]
    """
    rows: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            rows += flattened(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            rows.append((f"{prefix}{name}", ", ".join(map(str, value)) or MISSING))
        else:
            rows.append((f"{prefix}{name}", MISSING if value is None or value == {} else str(value)))
    return rows


def duration(seconds: float) -> str:
    """Return a time for people.

    Example:
        >>> duration(0.42), duration(75.0), duration(7260.0)
        ('0.4 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def moment(created: str) -> str:
    """Return an ISO 8601 time for people; what is none stays as it is.

    Example:
        >>> moment("2025-06-01T12:00:00+00:00"), moment("yesterday")
        ('2025-06-01 12:00 UTC', 'yesterday')
    """
    try:
        when = datetime.datetime.fromisoformat(created.replace("Z", "+00:00"))
    except ValueError:
        return printable(created)
    utc = when if when.tzinfo is None else when.astimezone(datetime.timezone.utc)
    return f"{utc:%Y-%m-%d %H:%M} UTC"


def _errors_fact(summary: RunSummary, student: str) -> Fact | None:
    errors = summary.mean(student, "errors")
    if errors is None:
        return None
    others = [(role, summary.mean(role, "errors")) for role in ("baseline", "teacher") if role != student]
    detail = " · ".join(f"{role} {plain_number(mean)}" for role, mean in others if mean is not None)
    return Fact(plain_number(errors), f"test errors, {student}", detail)


def _accuracy_fact(summary: RunSummary, student: str) -> Fact | None:
    accuracy = summary.mean(student, "accuracy")
    return None if accuracy is None else Fact(percent(accuracy, decimals=2), f"test accuracy, {student}", "")


def _lead_fact(summary: RunSummary) -> Fact | None:
    """Return how much of the teacher's lead over the baseline the distilled student keeps."""
    teacher, baseline, distilled = (summary.mean(role, "errors") for role in ("teacher", "baseline", "distilled"))
    if teacher is None or baseline is None or distilled is None or baseline <= teacher:
        return None
    kept = (baseline - distilled) / (baseline - teacher)
    text = f"{100 * kept:.0f} %".replace("-", "−")
    return Fact(text, "of the teacher's lead kept", "lead: errors that the teacher avoids and the baseline makes")


def _cost_fact(
    summary: RunSummary, student: str, cost: str, less: str, more: str, write: Callable[[float], str]
) -> Fact | None:
    own, teacher = summary.mean(student, cost), summary.mean("teacher", cost)
    if not own:
        return None
    if not teacher or student == "teacher":
        return Fact(write(own), {"parameters": "parameters"}.get(cost, "for one sample"), student)
    ratio = teacher / own
    factor, label = (ratio, less) if ratio >= 1 else (1 / ratio, more)
    shown = f"{factor:.1f}×" if factor < 100 else f"{factor:,.0f}×"
    return Fact(shown, f"{label} than the teacher", f"{write(own)} instead of {write(teacher)}")


def _microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:,.3g} µs" if seconds < 1e-3 else f"{seconds * 1e3:,.3g} ms"


def _joined(texts: Any) -> str:
    different = list(dict.fromkeys(printable(text) for text in texts))
    return shortened(different, most=3)


def _range(numbers: list[int]) -> str:
    if not numbers:
        return MISSING
    return str(numbers[0]) if min(numbers) == max(numbers) else f"{min(numbers)} to {max(numbers)}"
