"""Figures of a reproduction as pure data: they name observations and never repeat their values."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from limbeck.errors import InvalidValue, unknown_name

FIGURE_KINDS = ("points", "curves", "heat_map")
MOST_SERIES = 7  # that colour, dashes and marker can tell apart


@dataclass(frozen=True)
class Series:
    """Conditions that belong together: the points of a colour, a line of curves, a row of a heat map."""

    label: str
    conditions: list[str]  # one for each place of the figure; "" where nothing was observed


@dataclass(frozen=True)
class Strip:
    """Pictures side by side that stand above a figure of curves.

    Args:
        label: what they show.
        png: base64 of a PNG file, about three times as wide as high.
    """

    label: str
    png: str


@dataclass(frozen=True)
class Figure:
    """A drawing of one quantity over places and series, as pure data.

    "points" draws every run and mean ± standard deviation at named places, with the paper's numbers; "curves" draws the
    means of each series over numbers, in a band of one standard deviation; "heat_map" draws the means as cells, series
    as rows.

    Args:
        kind: "points", "curves" or "heat_map".
        title: above the figure.
        how_to_read: one or two sentences.
        quantity: of the observations drawn.
        value_label: what the numbers are, with their unit: "errors on 10,000 test images".
        places: along the horizontal axis, in words; of curves, numbers in digits.
        series: at least one, each with a condition for every place.
        place_label: what the places are: "temperature T".
        series_label: of a heat map's vertical axis: "hidden units in each layer".
        log_places: curves: logarithmic horizontal axis.
        log_values: logarithmic value axis, or shades.
        strips: of curves: pictures above them.
    Raises:
        UnknownName: another kind.
        InvalidValue: conditions and places that differ in number, places of curves that are no numbers, or more series
            than can be told apart.
    """

    kind: str
    title: str
    how_to_read: str
    quantity: str
    value_label: str
    places: list[str]
    series: list[Series]
    place_label: str = ""
    series_label: str = ""
    log_places: bool = False
    log_values: bool = False
    strips: list[Strip] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.kind not in FIGURE_KINDS:
            raise unknown_name("kind of figure", self.kind, FIGURE_KINDS)
        if not self.series or any(len(series.conditions) != len(self.places) for series in self.series):
            raise InvalidValue(
                f"The figure {self.title!r} needs a condition for every place.",
                received=f"{len(self.places)} places, series of {[len(s.conditions) for s in self.series]}",
                expected="at least one series, each as long as the places",
            )
        if self.kind != "heat_map" and len(self.series) > MOST_SERIES:
            raise InvalidValue(
                f"The figure {self.title!r} has more series than a reader can tell apart.",
                received=len(self.series), expected=f"at most {MOST_SERIES}", remedy="draw a heat map",
            )  # fmt: skip
        if self.kind == "curves":
            self._check_numbers()

    @property
    def numbers(self) -> list[float]:
        """The places of curves as numbers."""
        return [float(place) for place in self.places]

    def _check_numbers(self) -> None:
        try:
            sound = all(math.isfinite(x) and (x > 0 or not self.log_places) for x in self.numbers)
        except ValueError:
            sound = False
        if not sound:
            expected = "finite numbers" + (" above 0" if self.log_places else "")
            raise InvalidValue(f"The curves {self.title!r} run over numbers.", received=self.places, expected=expected)
