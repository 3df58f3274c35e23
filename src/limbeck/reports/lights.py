"""Claims as traffic lights: reached, open, missed, or without a goal, each with its 95 % interval."""

from __future__ import annotations

from dataclasses import dataclass

from limbeck.reports.quantities import MISSING
from limbeck.reproduction import ReproductionRecord, Verdict, unit_text, value_text
from limbeck.statistics import mean_interval

SYMBOLS = {"reached": "🟢", "open": "🟠", "missed": "🔴", "no goal": "⚪", "not measured": "⚪", "not judged": "⚪"}
MEANINGS = {
    "reached": "the mean reaches the goal",
    "open": "the mean misses the goal, but its 95 % interval holds it",
    "missed": "the interval holds no value that reaches the goal, or there is one run and it misses",
    "no goal": "none was set; the paper's number and ours stand side by side",
}
ENDS = ("_low_end", "_high_end")


@dataclass(frozen=True)
class Light:
    """One claim's colour in a word, with the interval of what was measured."""

    verdict: Verdict
    word: str  # a key of SYMBOLS
    interval: tuple[float, float] | None  # in the claim's unit; None for a single run

    @property
    def text(self) -> str:
        """The colour and the word."""
        return f"{SYMBOLS[self.word]} {self.word}"

    @property
    def interval_text(self) -> str:
        """The interval with its unit."""
        if self.interval is None:
            return MISSING
        unit = self.verdict.claim.unit
        low, high = (value_text(end, unit) for end in self.interval)
        return f"{low.removesuffix(unit_text(unit))} to {high}"

    @property
    def goal_text(self) -> str:
        """The goal, short: "≤ 74"."""
        claim = self.verdict.claim
        parts = [
            f"{sign} {value_text(goal, claim.unit)}"
            for sign, goal in (("≥", claim.at_least), ("≤", claim.at_most))
            if goal is not None
        ]
        return ", ".join(parts) or MISSING


def lights(record: ReproductionRecord) -> list[Light]:
    """Return the light of every claim, in order.

    "reached" and "no goal" are the record's own verdicts. What misses its goal is "open" where the 95 % interval of
    the mean holds the goal, so that chance is not ruled out, and "missed" otherwise. A claim on one end of an interval
    has that interval.
    """
    return [_light(record, verdict) for verdict in record.verdicts()]


def _light(record: ReproductionRecord, verdict: Verdict) -> Light:
    interval = _interval(record, verdict)
    if verdict.status != "not reached":
        return Light(verdict, verdict.status, interval)
    goals = [goal for goal in (verdict.claim.at_least, verdict.claim.at_most) if goal is not None]
    is_open = interval is not None and any(interval[0] <= goal <= interval[1] for goal in goals)
    return Light(verdict, "open" if is_open else "missed", interval)


def _interval(record: ReproductionRecord, verdict: Verdict) -> tuple[float, float] | None:
    """Return the interval over runs; of a number that belongs to no run, the one whose ends were observed with it."""
    claim = verdict.claim
    values = record.values(claim.condition, claim.quantity)
    if verdict.of_runs:
        return mean_interval(list(values.values())) if values else None
    base = claim.quantity
    for end in ENDS:
        base = base.removesuffix(end)
    ends = [list(record.values(claim.condition, base + end).values()) for end in ENDS]
    return (ends[0][0], ends[1][0]) if all(len(values) == 1 for values in ends) else None
