"""A run in numbers: one row per network, the difference that the teacher made, and the plain sentences about it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from limbeck.records import RunRecord
from limbeck.reports.quantities import QUANTITIES, Column, column_for
from limbeck.reports.wording import plain_number
from limbeck.statistics import PairedDifference, Summary, paired_difference, summarise, verdict

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
class RunSummary:
    """What a reader wants to know first of a run."""

    verdict: str  # "The teacher helped."
    evidence: str  # the numbers behind it, in one or two sentences
    rows: list[SummaryRow]  # at the epoch that validation selected
    last_rows: list[SummaryRow]  # at the last epoch; empty where it was not measured
    difference: PairedDifference | None  # errors, distilled - baseline; None where the run has not both
    last_difference: PairedDifference | None
    columns: list[Column]  # of the quantities that at least one row has

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

    Rows come in the order teacher, ensemble members, others, baseline, distilled. The members of an ensemble have a row
    each up to four, and share one row above that.
    """
    groups = _grouped_roles(record)
    rows = [_row(record, label, roles, "selected") for label, roles in groups]
    last = [_row(record, label, roles, "last") for label, roles in groups]
    difference = _difference(record, "selected")
    present = [q for q in QUANTITIES if any(q.name in row.values for row in rows)]
    return RunSummary(
        verdict=_headline(record, difference),
        evidence=_evidence(record, difference, rows),
        rows=rows,
        last_rows=[row for row in last if row.values],
        difference=difference,
        last_difference=_difference(record, "last"),
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
    roles = sorted(record.roles(), key=role_order)
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
            measured = [float(network.num_parameters) for network in networks]
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


def _difference(record: RunRecord, weights: str) -> PairedDifference | None:
    baseline = record.values("baseline", "errors", weights=weights)
    distilled = record.values("distilled", "errors", weights=weights)
    return paired_difference(baseline, distilled) if baseline.keys() & distilled.keys() else None


def _headline(record: RunRecord, difference: PairedDifference | None) -> str:
    if difference is not None:
        return verdict(difference)
    if record.kind == "distill":
        return "Without a baseline nothing can be said of the teacher."
    role = next(iter(sorted(record.roles(), key=role_order, reverse=True)), None)
    accuracies = list(record.values(role, "accuracy").values()) if role else []
    if not accuracies:
        return f"One network trained on {record.data.name}."
    return f"{100 * summarise(accuracies).mean:.2f} % of the test samples are classified correctly."


def _evidence(record: RunRecord, difference: PairedDifference | None, rows: list[SummaryRow]) -> str:
    tested = f"{record.data.num_test:,} test samples"
    if difference is None:
        errors = [(row.label, row.values["errors"].mean) for row in rows if "errors" in row.values]
        if not errors:
            return f"The run holds no errors measured on the {tested}."
        listed = ", ".join(f"{label} {plain_number(mean)}" for label, mean in errors)
        return f"Mean errors on {tested}: {listed}."
    return f"{_difference_sentence(difference, tested)} {_interval_sentence(difference)}"


def _difference_sentence(difference: PairedDifference, tested: str) -> str:
    if difference.mean == 0:
        return f"With the teacher the student makes as many errors as without, on {tested}."
    change = "fewer" if difference.mean < 0 else "more"
    number = plain_number(abs(difference.mean))
    noun = "error" if number == "1" else "errors"
    average = " on average" if difference.count > 1 else ""
    return f"With the teacher the same student makes {number} {change} {noun}{average}, on {tested}."


def _interval_sentence(difference: PairedDifference) -> str:
    if difference.low is None or difference.high is None:
        return "That is one pair of networks from one seed: train more seeds to tell chance from effect."
    interval = f"{plain_number(difference.low)} to {plain_number(difference.high)}"
    return (
        f"The {100 * difference.confidence:g} % interval of the difference (distilled − baseline) is {interval} "
        f"errors, paired over {difference.count} seeds."
    )
