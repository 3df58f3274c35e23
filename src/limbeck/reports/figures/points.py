"""Every run of each condition, mean and spread beside them, and the paper's number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck.reports.drawing import (
    LARGE,
    LegendEntry,
    Panel,
    ReportFigure,
    legend_entry,
    new_figure,
    set_margins,
    text_width,
    to_svg,
)
from limbeck.reports.log_ticks import write_log_ticks
from limbeck.reports.style import INK, SERIES_STYLES, css_colour, light_grid
from limbeck.reports.wording import printable
from limbeck.reproduction import Claim, Figure, ReproductionRecord, drawn_factor, summary_text
from limbeck.statistics import summarise

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HOW_TO_READ = (
    "Each pale mark is one run; the diamond beside them is their mean, with bars of one sample standard deviation "
    "where there are several."
)
HOW_TO_READ_PAPER = " A dashed line is the paper's number."
HOW_TO_READ_GOAL = " A dotted line is our goal where it is another one than the paper's number."
PAPER_COLOUR, GOAL_COLOUR = "#d55e00", "#009e73"
MOST_ON_A_PHONE = 5  # conditions; more, and the drawing scrolls
AXIS_ROOM, NAME_GAP = 60.0, 7.0  # points: for the vertical axis, and between two places' names
REACH = 0.4  # of a place, to either side


def points_figure(record: ReproductionRecord, figure: Figure, key: str) -> ReportFigure:
    """Draw runs, mean and spread at each place, and the claims' numbers."""
    factor = drawn_factor(record.unit_of(figure.quantity))
    num_marks = sum(bool(condition) for series in figure.series for condition in series.conditions)
    wide = num_marks > MOST_ON_A_PHONE
    room = _room(figure)
    drawing = new_figure(width=room, height=0.6 * LARGE) if room else new_figure(width=LARGE if wide else None)
    axes = drawing.add_subplot()
    lines: set[str] = set()
    told = []
    width = 2 * REACH / len(figure.series)
    for index, series in enumerate(figure.series):
        for place, condition in enumerate(series.conditions):
            middle = place - REACH + (index + 0.5) * width
            if values := list(record.values(condition, figure.quantity).values()):
                _draw_runs(axes, [factor * value for value in values], middle, width, index)
                unit = record.unit_of(figure.quantity)
                told.append(f"{printable(figure.places[place])} {summary_text(summarise(values), unit)}")
            for claim in record.claims:
                if (claim.condition, claim.quantity) == (condition, figure.quantity):
                    lines |= _draw_claim(axes, claim, factor, middle, width / 2)
    axes.set_xticks(range(len(figure.places)), [_lines(place) for place in figure.places])
    axes.set_xlim(-0.55, len(figure.places) - 0.45)
    axes.set_xlabel(printable(figure.place_label))
    axes.set_ylabel(printable(figure.value_label) + (", log scale" if figure.log_values else ""))
    if figure.log_values:
        axes.set_yscale("log")
    axes.margins(y=0.12)
    if figure.log_values:
        write_log_ticks(axes.yaxis)
    light_grid(axes, axis="y")
    set_margins(drawing)
    alternative = printable(f"{figure.title}: {'; '.join(told) or 'nothing was observed'}.")
    panel = Panel(to_svg(drawing, key), alternative, wide=wide or room is not None)
    how_to_read = HOW_TO_READ + (HOW_TO_READ_PAPER if "paper" in lines else "")
    how_to_read += HOW_TO_READ_GOAL if "goal" in lines else ""
    return ReportFigure(
        key,
        printable(figure.title),
        f"{printable(figure.how_to_read)} {how_to_read}",
        [panel],
        _legend(figure, lines),
        columns=1 if room else 2,
    )


def _room(figure: Figure) -> float | None:
    """Return the width in points that the places' names need side by side; None where a usual drawing has it."""
    widest = max(text_width(line) for place in figure.places for line in _lines(place).split("\n"))
    needed = AXIS_ROOM + len(figure.places) * (widest + NAME_GAP)
    return needed if needed > LARGE else None


def _draw_runs(axes: Axes, values: list[float], middle: float, width: float, index: int) -> None:
    style, summary = SERIES_STYLES[index], summarise(values)
    step = min(0.08, 0.4 * width / len(values))
    places = [middle - 0.12 * width + step * (i - (len(values) - 1) / 2) for i in range(len(values))]
    axes.plot(places, values, style.marker, color=style.colour, alpha=0.5, markersize=6, linestyle="none")
    axes.errorbar(
        [middle + 0.25 * width],
        [summary.mean],
        yerr=[summary.spread] if summary.spread is not None else None,
        fmt="D",
        color=INK,
        capsize=4,
        markersize=6,
    )


def _draw_claim(axes: Axes, claim: Claim, factor: float, middle: float, half: float) -> set[str]:
    """Draw the paper's number and our goal; return which of them are there."""
    drawn = set()
    if claim.paper is not None:
        axes.hlines(factor * claim.paper, middle - half, middle + half, colors=PAPER_COLOUR, linestyles=(0, (4, 2)))
        drawn.add("paper")
    for goal in (claim.at_most, claim.at_least):
        if goal is not None and goal != claim.paper:
            axes.hlines(factor * goal, middle - half, middle + half, colors=GOAL_COLOUR, linestyles=(0, (1.2, 1.4)))
            drawn.add("goal")
    return drawn


def _legend(figure: Figure, lines: set[str]) -> list[LegendEntry]:
    legend = [
        legend_entry(series.label, SERIES_STYLES[index], line=False) for index, series in enumerate(figure.series)
    ]
    legend.append(LegendEntry("mean ± standard deviation", css_colour(INK), line=False, marker="M-6 0L0 -6L6 0L0 6z"))
    if "paper" in lines:
        legend.append(LegendEntry("paper", css_colour(PAPER_COLOUR), "8 4"))
    if "goal" in lines:
        legend.append(LegendEntry("our goal", css_colour(GOAL_COLOUR), "2.4 2.8"))
    return legend


def _lines(place: str) -> str:
    return "\n".join(printable(line) for line in place.split("\n"))
