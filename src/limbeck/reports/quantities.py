"""The quantities that a report tabulates: their headings, their units, and how their numbers are written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from limbeck.statistics import Summary

MISSING = "—"


@dataclass(frozen=True)
class Unit:
    """A unit for display: shown = measured × factor."""

    factor: float
    label: str


COUNT = (Unit(1, ""),)
PERCENT = (Unit(100, "%"),)
NATS = (Unit(1, "nats"),)
BINARY_BYTES = (Unit(1, "B"), Unit(2**-10, "KiB"), Unit(2**-20, "MiB"), Unit(2**-30, "GiB"))
OPERATIONS = (Unit(1, "FLOP"), Unit(1e-3, "kFLOP"), Unit(1e-6, "MFLOP"), Unit(1e-9, "GFLOP"), Unit(1e-12, "TFLOP"))
TIME = (Unit(1e9, "ns"), Unit(1e6, "µs"), Unit(1e3, "ms"), Unit(1, "s"))


@dataclass(frozen=True)
class Quantity:
    """One column of the summary: what is measured and how it is shown."""

    name: str  # a Measurement's name
    heading: str
    group: str  # "errors", "probabilities" or "cost": a table each
    units: tuple[Unit, ...]  # from the finest to the coarsest; the column's largest value chooses
    decimals: int | None  # None: three digits for the column's smallest value, at most five for its largest
    meaning: str  # one sentence for the reader
    split: str = "test"
    always_spread: bool = True  # False: a spread of zero, or of a single value, is left out


QUANTITIES = (
    Quantity("errors", "errors", "errors", COUNT, None, "Test samples whose most probable class is wrong."),
    Quantity("accuracy", "accuracy", "errors", PERCENT, 2, "Share of test samples whose most probable class is right."),
    Quantity(
        "top5_accuracy", "top-5 accuracy", "errors", PERCENT, 2, "Share whose class is among the five most probable."
    ),
    Quantity("nll", "NLL", "errors", NATS, 4, "Mean negative log-likelihood of the true class; smaller is better."),
    Quantity(
        "ece",
        "ECE",
        "probabilities",
        PERCENT,
        2,
        "Expected calibration error: mean distance of confidence from accuracy.",
    ),
    Quantity(
        "brier", "Brier", "probabilities", COUNT, 4, "Mean squared distance of the probabilities from the true class."
    ),
    Quantity(
        "agreement",
        "agreement",
        "probabilities",
        PERCENT,
        2,
        "Share of test samples on which network and teacher choose the same class.",
    ),
    Quantity(
        "kl_to_teacher",
        "KL to teacher",
        "probabilities",
        NATS,
        4,
        "Mean KL divergence of the network's probabilities from the teacher's at T = 1.",
    ),
    Quantity("parameters", "parameters", "cost", COUNT, 0, "Trained numbers in the network.", "machine", False),
    Quantity("bytes", "size", "cost", BINARY_BYTES, None, "Bytes of the network's weights.", "machine", False),
    Quantity(
        "flops", "compute", "cost", OPERATIONS, None, "Floating-point operations of one sample.", "machine", False
    ),
    Quantity(
        "latency_batch1", "latency, batch 1", "cost", TIME, None, "Time for one sample, alone in its batch.", "machine"
    ),
    Quantity(
        "latency_batch256",
        "latency, batch 256",
        "cost",
        TIME,
        None,
        "Time per sample in batches of 256.",
        "machine",
    ),
)


@dataclass(frozen=True)
class Column:
    """A quantity with the unit and the decimals that suit the values of one table."""

    quantity: Quantity
    unit: Unit
    decimals: int

    @property
    def heading(self) -> str:
        """The heading with its unit, as "latency, batch 1 (µs)"."""
        return f"{self.quantity.heading} ({self.unit.label})" if self.unit.label else self.quantity.heading

    def format(self, summary: Summary | None) -> str:
        """Return "mean ± spread" in the column's unit; "mean ± —" for a single value; "—" for none.

        Example:
            >>> column_for(QUANTITIES[1], []).format(Summary(mean=0.975, spread=0.002, count=3))
            '97.50 ± 0.20'
            >>> column_for(QUANTITIES[1], []).format(Summary(mean=0.975, spread=None, count=1))
            '97.50 ± —'
        """
        if summary is None:
            return MISSING
        mean = self.number(summary.mean)
        if not self.quantity.always_spread and not summary.spread:
            return mean
        return f"{mean} ± {MISSING if summary.spread is None else self.number(summary.spread)}"

    def number(self, value: float) -> str:
        """Return one measured value in the column's unit, without the unit's name."""
        return f"{value * self.unit.factor:,.{self.decimals}f}"


def column_for(quantity: Quantity, summaries: Sequence[Summary]) -> Column:
    """Return the column whose unit suits the largest of the values and whose decimals suit the smallest."""
    means = [abs(summary.mean) for summary in summaries if summary.mean] or [1.0]
    unit = next((u for u in reversed(quantity.units) if max(means) * u.factor >= 1), quantity.units[0])
    if quantity.decimals is not None:
        return Column(quantity, unit, quantity.decimals)
    if quantity.units is COUNT:
        whole = all(summary.spread is None and float(summary.mean).is_integer() for summary in summaries)
        return Column(quantity, unit, 0 if whole else 1)
    digits_before = [math.floor(math.log10(mean * unit.factor)) + 1 for mean in (min(means), max(means))]
    return Column(quantity, unit, max(0, min(3 - digits_before[0], 5 - max(digits_before[1], 1))))
