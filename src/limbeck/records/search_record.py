"""The record of a search: every candidate by validation, the front, and the answer."""

from __future__ import annotations

from dataclasses import dataclass, field

from limbeck.records.codec import decode_record, encode_record
from limbeck.records.notebook import html_table

SEARCH_FORMAT, SEARCH_VERSION = "limbeck-search", 1
SEARCH_FILE = "search.json"


@dataclass(frozen=True)
class Point:
    """The best setting of one candidate, by validation.

    Args:
        name: of the candidate.
        cost: in the search's measure.
        num_parameters: of it.
        accuracy: on validation.
        nll: likewise, in nats.
        values: temperature, hard_weight, learning_rate.
        num_trials: settings that were tried for it.
    """

    name: str
    cost: float
    num_parameters: int
    accuracy: float
    nll: float
    values: dict[str, float]
    num_trials: int


@dataclass(frozen=True)
class SearchRecord:
    """What a search found, as ``search.json`` keeps it.

    Args:
        cost: the measure.
        teacher_accuracy: on validation.
        num_validation: samples that chose.
        points: of every candidate that was trained, cheapest first.
        front: names of those that no cheaper one equals.
        chosen: the one that answers the question.
        answer: the sentence.
        notes: candidates that were left out, and what a reader must know.
        min_kept: share of the teacher's accuracy that was asked for.
    """

    cost: str
    teacher_accuracy: float
    num_validation: int
    points: list[Point]
    front: list[str]
    chosen: str
    answer: str
    notes: list[str] = field(default_factory=list)
    min_kept: float | None = None

    def __repr__(self) -> str:
        return f"SearchRecord({len(self.points)} candidates, {len(self.front)} on the front: {self.answer!r})"

    def _repr_html_(self) -> str:
        """Return the answer and the candidates, for a notebook."""
        rows = [
            [
                point.name,
                f"{point.num_parameters:,}",
                *([] if self.cost == "parameters" else [f"{point.cost:.3g}"]),
                f"{100 * point.accuracy:.2f}",
                "chosen" if point.name == self.chosen else "front" if point.name in self.front else "",
            ]
            for point in self.points
        ]
        cost = [] if self.cost == "parameters" else [self.cost]
        headings = ["candidate", "parameters", *cost, "validation accuracy (%)", "place"]
        return html_table(headings, rows, caption=self.answer)


def search_to_json(record: SearchRecord) -> str:
    """Return the record as sealed JSON text."""
    return encode_record(record, format_name=SEARCH_FORMAT, version=SEARCH_VERSION)


def search_from_json(text: str, *, source: str = "the record") -> SearchRecord:
    """Return the record that :func:`search_to_json` wrote.

    Raises:
        RecordError: not JSON, another format or version, or a field missing, unknown or of the wrong type.
    """
    return decode_record(
        SearchRecord,
        text,
        what="record of a search",
        format_name=SEARCH_FORMAT,
        version=SEARCH_VERSION,
        source=source,
    )
