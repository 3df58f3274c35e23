"""What a recipe observes, draws and notes while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from limbeck.errors import InvalidValue
from limbeck.reproduction.figure import Figure
from limbeck.reproduction.record import Observation


@dataclass(eq=False)
class Results:
    """Numbers, figures and sentences for a record.

    Args:
        folder: where the record will stand, for files beside it; None where nothing is to be written.
        observations: to begin with.
        figures: likewise.
        notes: likewise.
    """

    folder: Path | None = None
    observations: list[Observation] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def observe(self, condition: str, seed: int | None, quantity: str, value: float, unit: str) -> None:
        """Record one number.

        Raises:
            InvalidValue: the same was observed before, or the quantity in another unit.
        """
        for other in self.observations:
            if (other.condition, other.seed, other.quantity) == (condition, seed, quantity):
                raise InvalidValue(
                    "A run is observed once.", received=f"{condition}, seed {seed}, {quantity} a second time"
                )
            if other.quantity == quantity and other.unit != unit:
                raise InvalidValue(f"{quantity} has two units.", received=unit, expected=other.unit)
        self.observations.append(Observation(condition, seed, quantity, float(value), unit))

    def values(self, condition: str, quantity: str) -> dict[int | None, float]:
        """Return what was observed of a condition, by seed; empty where nothing was."""
        return {o.seed: o.value for o in self.observations if (o.condition, o.quantity) == (condition, quantity)}

    def draw(self, figure: Figure) -> None:
        """Add a figure to the page."""
        self.figures.append(figure)

    def note(self, sentence: str) -> None:
        """Add a sentence that a reader must know."""
        self.notes.append(sentence)

    def beside(self, name: str) -> Path | None:
        """Return the path of a file beside the record, such as a picture; None where the record has no folder."""
        return self.folder / name if self.folder is not None else None
