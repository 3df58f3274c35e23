"""The record of a reproduction, and its way to JSON and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from limbeck.errors import RecordError
from limbeck.records import DataRecord, decode_record, encode_record
from limbeck.records.notebook import html_table
from limbeck.reproduction.claim import Claim, Verdict
from limbeck.reproduction.figure import Figure
from limbeck.statistics import Summary, summarise

FORMAT = "limbeck-reproduction-record"
VERSION = 1


@dataclass(frozen=True)
class Observation:
    """One number that was measured."""

    condition: str
    seed: int | None  # None where it belongs to no single run
    quantity: str  # "test_errors", "test_accuracy", "test_nll", "held_out_errors", ...
    value: float
    unit: str


@dataclass(frozen=True)
class NetworkFacts:
    """One network of a reproduction, whenever it was trained."""

    name: str
    spec: str
    seed: int
    folder: str  # under --networks; its last part is the hash of everything that decides the weights
    num_parameters: int
    num_epochs: int
    training_seconds: float
    was_cached: bool  # trained by an earlier command
    environment: dict[str, Any]  # of its training


@dataclass(frozen=True)
class ReproductionRecord:
    """One run of ``limbeck reproduce``: everything that table, page and ``docs/results.md`` are drawn from."""

    recipe: str
    title: str
    paper: str
    command: str
    smoke: bool  # cut to a few samples and epochs: the numbers mean nothing
    created: str  # ISO 8601, UTC
    elapsed_seconds: float  # of this command; networks that were there already took theirs before
    settings: dict[str, Any]
    departures: list[str]
    claims: list[Claim]
    observations: list[Observation]
    figures: list[Figure]
    notes: list[str]
    environment: dict[str, Any]
    data: DataRecord | None  # None where the recipe opened none
    networks: list[NetworkFacts] = field(default_factory=list)

    def __repr__(self) -> str:
        return (
            f"ReproductionRecord({self.recipe}: {len(self.claims)} claims, {len(self.observations)} observations, "
            f"{len(self.networks)} networks)"
        )

    def _repr_html_(self) -> str:
        """Return claims, numbers and verdicts, for a notebook."""
        rows = [verdict.cells for verdict in self.verdicts()]
        return html_table(["what", "claim", "paper", "ours", "verdict"], rows, caption=f"{self.title} ({self.paper})")

    def values(self, condition: str, quantity: str) -> dict[int | None, float]:
        """Return the observed values by seed; empty where there are none."""
        return {o.seed: o.value for o in self.observations if (o.condition, o.quantity) == (condition, quantity)}

    def summary(self, condition: str, quantity: str) -> Summary | None:
        """Return mean, spread and number of runs; None where nothing was observed."""
        values = self.values(condition, quantity)
        return summarise(list(values.values())) if values else None

    def unit_of(self, quantity: str) -> str:
        """Return the unit of a quantity's observations; "" where there are none."""
        return next((o.unit for o in self.observations if o.quantity == quantity), "")

    def verdicts(self) -> list[Verdict]:
        """Return the verdict on every claim, in order."""
        return [self._verdict(claim) for claim in self.claims]

    def _verdict(self, claim: Claim) -> Verdict:
        values = self.values(claim.condition, claim.quantity)
        if values and (unit := self.unit_of(claim.quantity)) != claim.unit:
            raise RecordError(
                f"The claim on {claim.condition}'s {claim.quantity} is in another unit than what was observed.",
                received=unit,
                expected=claim.unit,
            )
        if not values:
            return Verdict(claim, "not measured", None, 0)
        ours = summarise(list(values.values()))
        num_reaching = sum(claim.is_reached_by(value) for value in values.values())
        if self.smoke:
            status = "not judged"
        elif not claim.has_goal:
            status = "no goal"
        else:
            status = "reached" if claim.is_reached_by(ours.mean) else "not reached"
        return Verdict(claim, status, ours, num_reaching, of_runs=set(values) != {None})


def reproduction_to_json(record: ReproductionRecord) -> str:
    """Return the record as JSON text with a format name and version; NaN and infinity are refused."""
    return encode_record(record, format_name=FORMAT, version=VERSION)


def reproduction_from_json(text: str, *, source: str = "the record") -> ReproductionRecord:
    """Return the record that :func:`reproduction_to_json` wrote.

    Raises:
        RecordError: not JSON, another format or version, a number that is not finite, or a field missing, unknown or
            of the wrong type.
    """
    return decode_record(
        ReproductionRecord, text, what="reproduction record", format_name=FORMAT, version=VERSION, source=source
    )
