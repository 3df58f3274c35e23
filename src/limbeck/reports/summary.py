"""A run in numbers: one row per network, the difference that the teacher made, and the plain sentences about it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from limbeck.records import Comparison, RunRecord
from limbeck.reports.quantities import QUANTITIES, Column, column_for
from limbeck.reports.wording import plain_number
from limbeck.statistics import PairedDifference, Summary, common_verdict, paired_difference, summarise

LISTED_MEMBERS = 4  # an ensemble of more members is shown as one row
_NUMBERED = re.compile(r"(.+?) \d+")


@dataclass(frozen=True)
class SummaryRow:
    """The networks of one role: mean and spread of each quantity over them."""

    label: str  # "distilled", "member 2", "members (10)"
    roles: tuple[str, ...]
    name: str  # what the network is: "mlp:widths=800x800"
    origin: str
    count: int  # networks
    values: dict[str, Summary]  # by quantity; those that were not measured are left out


@dataclass(frozen=True)
class Judged:
    """A comparison that the run has numbers for: errors, with the effect less without it."""

    comparison: Comparison
    difference: PairedDifference


@dataclass(frozen=True)
class RunSummary:
    """What a reader wants to know first of a run."""

    verdict: str  # "The teacher helped."
    evidence: str  # the numbers behind it, in one or two sentences
    rows: list[SummaryRow]  # at the epoch that validation selected
    last_rows: list[SummaryRow]  # at the last epoch; empty where it was not measured
    judged: list[Judged]  # in the record's order; the verdict is about those of the first one's effect
    columns: list[Column]  # of the quantities that at least one row has

    @property
    def difference(self) -> PairedDifference | None:
        """The first comparison's difference; None where the run compares nothing."""
        return self.judged[0].difference if self.judged else None

    @property
    def leading(self) -> list[Judged]:
        """The comparisons that the verdict is about."""
        return leading_of(self.judged)

    def row(self, role: str) -> SummaryRow | None:
        """Return the row of a role, if the run has it."""
        return next((row for row in self.rows if role in row.roles), None)

    def mean(self, role: str, quantity: str) -> float | None:
        """Return the mean of a quantity over the networks of a role, or None where it was not measured."""
        row = self.row(role)
        summary = row.values.get(quantity) if row else None
        return summary.mean if summary else None

    def columns_of(self, group: str) -> list[Column]:
        """Return the columns of one group: "errors", "probabilities" or "cost"."""
        return [column for column in self.columns if column.quantity.group == group]


def summarise_run(record: RunRecord) -> RunSummary:
    """Return the summary of a run: rows of networks, the paired difference in errors, and the verdict.

    Rows come in the order teacher, ensemble members, others, baseline, distilled; where the run compares more than one
    pair, in the record's order. The members of an ensemble have a row
    each up to four, and share one row above that.
    """
    groups = _grouped_roles(record)
    rows = [_row(record, label, roles, "selected") for label, roles in groups]
    last = [_row(record, label, roles, "last") for label, roles in groups]
    judged = _judged(record)
    present = [q for q in QUANTITIES if any(q.name in row.values for row in rows)]
    return RunSummary(
        verdict=_headline(record, judged),
        evidence=_evidence(record, judged, rows),
        rows=rows,
        last_rows=[row for row in last if row.values],
        judged=judged,
        columns=[column_for(q, [row.values[q.name] for row in rows if q.name in row.values]) for q in present],
    )


def role_order(role: str) -> int:
    """Return the place of a role among the rows: the teacher first, its student last.

    Example:
        >>> sorted(["distilled", "baseline", "member 2", "teacher"], key=role_order)
        ['teacher', 'member 2', 'baseline', 'distilled']
    """
    return {"teacher": 0, "baseline": 3, "distilled": 4}.get(role, 1 if _NUMBERED.fullmatch(role) else 2)


def _grouped_roles(record: RunRecord) -> list[tuple[str, tuple[str, ...]]]:
    """Return (label, roles) of each row; more than four roles "x 1", "x 2", ... become one row "xs (n)"."""
    roles = record.roles() if record.comparisons[1:] else sorted(record.roles(), key=role_order)
    families: dict[str, list[str]] = {}
    for role in roles:
        numbered = _NUMBERED.fullmatch(role)
        families.setdefault(numbered[1] if numbered else role, []).append(role)
    groups: list[tuple[str, tuple[str, ...]]] = []
    for family, members in families.items():
        if len(members) > LISTED_MEMBERS:
            groups.append((f"{family}s ({len(members)})", tuple(members)))
        else:
            groups += [(role, (role,)) for role in members]
    return groups


def _row(record: RunRecord, label: str, roles: tuple[str, ...], weights: str) -> SummaryRow:
    networks = [network for network in record.networks if network.role in roles]
    names, origins = (list(dict.fromkeys(texts)) for texts in zip(*((n.name, n.origin) for n in networks), strict=True))
    values: dict[str, Summary] = {}
    for quantity in QUANTITIES:
        if weights == "last" and quantity.split == "machine":
            continue
        measured = [
            value
            for role in roles
            for value in record.values(role, quantity.name, split=quantity.split, weights=weights).values()
        ]
        if not measured and quantity.name == "parameters" and weights == "selected":
            measured = [float(network.num_parameters) for network in networks if network.num_parameters]
        if measured:
            values[quantity.name] = summarise(measured)
    return SummaryRow(
        label=label,
        roles=roles,
        name=_first_of(names),
        origin=_first_of(origins),
        count=len(networks),
        values=values,
    )


def _first_of(texts: list[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{texts[0]} and {len(texts) - 1} more"


def comparisons_of(record: RunRecord) -> list[Comparison]:
    """Return what a run compares; records of older releases do not say it, and mean baseline and distilled student."""
    return record.comparisons or [Comparison("baseline", "distilled", "the teacher")]


def _judged(record: RunRecord) -> list[Judged]:
    judged = []
    for comparison in comparisons_of(record):
        reference, network = (record.values(role, "errors") for role in (comparison.reference, comparison.network))
        if reference.keys() & network.keys():
            judged.append(Judged(comparison, paired_difference(reference, network)))
    return judged


def leading_of(judged: list[Judged]) -> list[Judged]:
    """Return the comparisons that share the first one's effect: the verdict is about these."""
    return [one for one in judged if one.comparison.effect == judged[0].comparison.effect]


def _headline(record: RunRecord, judged: list[Judged]) -> str:
    if judged:
        differences = [one.difference for one in leading_of(judged)]
        return common_verdict(differences, effect=judged[0].comparison.effect)
    if record.kind == "distill" and record.data.num_labelled == 0:
        return "The student was distilled without labels."
    if record.kind == "distill":
        return "Without a baseline nothing can be said of the teacher."
    role = next(iter(sorted(record.roles(), key=role_order, reverse=True)), None)
    accuracies = list(record.values(role, "accuracy").values()) if role else []
    if not accuracies:
        return f"One network trained on {record.data.name}."
    return f"{100 * summarise(accuracies).mean:.2f} % of the test samples are classified correctly."


def _evidence(record: RunRecord, judged: list[Judged], rows: list[SummaryRow]) -> str:
    tested = f"{record.data.num_test:,} test samples"
    if not judged:
        errors = [(row.label, row.values["errors"].mean) for row in rows if "errors" in row.values]
        followed = [row for row in rows if "agreement" in row.values and "kl_to_teacher" in row.values]
        if not errors and followed:
            means = [(row.label, row.values["agreement"].mean, row.values["kl_to_teacher"].mean) for row in followed]
            listed = "; ".join(f"{label} {100 * agreement:.1f} % and {kl:.3g} nats" for label, agreement, kl in means)
            return f"Agreement with the teacher and KL from it on the {tested}: {listed}."
        if not errors:
            return f"The run holds no errors measured on the {tested}."
        listed = ", ".join(f"{label} {plain_number(mean)}" for label, mean in errors)
        return f"Mean errors on {tested}: {listed}."
    leading = leading_of(judged)
    if len(leading) == 1:
        sentences = [_difference_sentence(leading[0], tested), _interval_sentence(leading[0])]
        return " ".join([*sentences, *_weak_teacher(leading[0], rows)])
    changes = "; ".join(f"{one.comparison.network} {_change(one.difference)}" for one in leading)
    return (
        f"Change of errors on {tested} with {judged[0].comparison.effect}: {changes}. Means over seeds, with 95 % "
        "intervals where there are at least two."
    )


def _change(difference: PairedDifference) -> str:
    mean = plain_number(difference.mean)
    if difference.low is None or difference.high is None:
        return mean
    return f"{mean} ({plain_number(difference.low)} to {plain_number(difference.high)})"


def _difference_sentence(judged: Judged, tested: str) -> str:
    difference, effect = judged.difference, judged.comparison.effect
    if difference.mean == 0:
        return f"With {effect} the student makes as many errors as without, on {tested}."
    change = "fewer" if difference.mean < 0 else "more"
    number = plain_number(abs(difference.mean))
    noun = "error" if number == "1" else "errors"
    average = " on average" if difference.count > 1 else ""
    return f"With {effect} the same student makes {number} {change} {noun}{average}, on {tested}."


def _weak_teacher(judged: Judged, rows: list[SummaryRow]) -> list[str]:
    """A sentence where the teacher is no better than its student without it; none where it is."""
    errors = {row.label: row.values["errors"].mean for row in rows if "errors" in row.values}
    reference = judged.comparison.reference
    teacher, student = errors.get("teacher"), errors.get(reference)
    if judged.comparison.effect != "the teacher" or teacher is None or student is None or teacher < student:
        return []
    return [
        f"The teacher itself makes {plain_number(teacher)} errors, no fewer than the {reference} with "
        f"{plain_number(student)}: train it longer, or take a stronger one."
    ]


def _interval_sentence(judged: Judged) -> str:
    difference = judged.difference
    if difference.low is None or difference.high is None:
        return "That is one pair of networks from one seed: train more seeds to tell chance from effect."
    interval = f"{plain_number(difference.low)} to {plain_number(difference.high)}"
    roles = f"{judged.comparison.network} − {judged.comparison.reference}"
    return (
        f"The {100 * difference.confidence:g} % interval of the difference ({roles}) is {interval} "
        f"errors, paired over {difference.count} seeds."
    )
