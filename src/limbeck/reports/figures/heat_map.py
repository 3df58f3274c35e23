"""Means as cells: series are rows, places columns."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from limbeck.reports.drawing import LARGE, LegendEntry, Panel, ReportFigure, new_figure, set_margins, text_width, to_svg
from limbeck.reports.style import INK, PAPER, css_colour
from limbeck.reports.wording import printable
from limbeck.reproduction import Figure, ReproductionRecord, drawn_factor

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOUR = "#004b78"
DARK_CELL = 0.62  # opacity from which a number is written in the page's colour
FAINTEST = 0.06
CELL_HEIGHT = 24.0  # points
HOW_TO_READ = (
    "Each cell is the mean over runs; the stronger its colour, the larger. In each row the smallest number has a whole "
    "frame, the largest a dashed one."
)
Cells = list[list[float | None]]  # [series][place], in units of the page


def heat_map_figure(record: ReproductionRecord, figure: Figure, key: str) -> ReportFigure:
    """Draw the means as cells of one colour; a cell without observations stays empty."""
    factor = drawn_factor(record.unit_of(figure.quantity))
    cells: Cells = [
        [None if (s := record.summary(c, figure.quantity)) is None else factor * s.mean for c in series.conditions]
        for series in figure.series
    ]
    means = [mean for row in cells for mean in row if mean is not None]
    log = figure.log_values and bool(means) and min(means) > 0
    drawing = new_figure(width=LARGE, height=CELL_HEIGHT * len(cells) + 60)
    axes = drawing.add_subplot(xlabel=printable(figure.place_label), ylabel=printable(figure.series_label))
    axes.set(xlim=(-0.5, len(figure.places) - 0.5), ylim=(len(cells) - 0.5, -0.5))
    axes.set_xticks(range(len(figure.places)), [printable(place) for place in figure.places])
    axes.set_yticks(range(len(cells)), [printable(series.label, limit=20) for series in figure.series])
    axes.tick_params(length=0)
    for row, values in enumerate(cells):
        _draw_row(axes, row, values, means, log=log)
    set_margins(drawing)
    for spine in axes.spines.values():
        spine.set(visible=True, alpha=0.35)
    legend = [
        LegendEntry(
            f"{printable(figure.value_label)}: {_cell_text(value)}",
            css_colour(COLOUR),
            opacity=_opacity(value, means, log=log),
        )
        for value in dict.fromkeys((min(means), max(means)) if means else ())
    ]
    told = [f"{series.label}: {_told(figure, values)}" for series, values in zip(figure.series, cells, strict=True)]
    panel = Panel(to_svg(drawing, key), printable(f"{figure.title}. {'; '.join(told)}."), wide=True)
    how_to_read = f"{printable(figure.how_to_read)} {HOW_TO_READ}" + (" Shades are logarithmic." if log else "")
    return ReportFigure(key, printable(figure.title), how_to_read, [panel], legend, columns=1)


def _draw_row(axes: Axes, row: int, values: list[float | None], means: list[float], *, log: bool) -> None:
    from matplotlib.patches import Rectangle

    seen = [value for value in values if value is not None]
    size = min(9.0, (LARGE - 80) / max(len(values), 1) / max(text_width(_cell_text(v), 1.0) for v in means or [0.0]))
    for column, value in enumerate(values):
        if value is None:
            continue
        opacity = _opacity(value, means, log=log)
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=COLOUR, alpha=opacity, linewidth=0))
        ink = PAPER if opacity > DARK_CELL else INK
        axes.text(column, row, _cell_text(value), ha="center", va="center_baseline", fontsize=size, color=ink)
        for extreme, dashes in ((min(seen), "-"), (max(seen), (0, (2, 2)))):
            if value == extreme and min(seen) < max(seen):
                frame = (column - 0.46, row - 0.43)
                axes.add_patch(Rectangle(frame, 0.92, 0.86, fill=False, edgecolor=ink, linewidth=1.3, linestyle=dashes))


def _opacity(value: float, means: list[float], *, log: bool) -> float:
    low, high, value = (math.log(v) if log else v for v in (min(means), max(means), value))
    return FAINTEST + (0.92 - FAINTEST) * ((value - low) / (high - low) if high > low else 0.0)


def _cell_text(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _told(figure: Figure, values: list[float | None]) -> str:
    seen = [(value, place) for value, place in zip(values, figure.places, strict=True) if value is not None]
    if not seen:
        return "nothing was observed"
    low, high = min(seen), max(seen)
    return f"{_cell_text(low[0])} at {low[1]} to {_cell_text(high[0])} at {high[1]}"
