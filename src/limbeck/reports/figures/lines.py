"""Means of each series over numbers, in a band of one standard deviation."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from limbeck.reports.drawing import Panel, ReportFigure, legend_entry, new_figure, set_margins, to_svg
from limbeck.reports.log_ticks import write_log_ticks, write_wanted_ticks
from limbeck.reports.style import SERIES_STYLES, RoleStyle, light_grid
from limbeck.reports.wording import printable
from limbeck.reproduction import Figure, ReproductionRecord, Series, Strip, drawn_factor, value_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HOW_TO_READ = "Marks are means over runs, bands reach one sample standard deviation to either side."
WIDTH = 400.0  # points
_PNG = re.compile(r"iVBORw0KGgo[A-Za-z0-9+/]*={0,2}")


def lines_figure(record: ReproductionRecord, figure: Figure, key: str) -> ReportFigure:
    """Draw one line for each series; places where nothing was observed are left out."""
    unit = record.unit_of(figure.quantity)
    drawing = new_figure(width=WIDTH, height=0.6 * WIDTH)
    axes = drawing.add_subplot(xlabel=printable(figure.place_label), ylabel=_label(figure))
    told = []
    for series, style in zip(figure.series, SERIES_STYLES, strict=False):
        if extremes := _draw(axes, record, figure, series, style):
            told.append(series.label + " from " + " to ".join(f"{value_text(y, unit)} at {x:g}" for x, y in extremes))
    if figure.log_places:
        axes.set_xscale("log")
        write_wanted_ticks(axes.xaxis, figure.numbers)
    if figure.log_values:
        axes.set_yscale("log")
        write_log_ticks(axes.yaxis)
    light_grid(axes)
    set_margins(drawing)
    alternative = printable(f"{figure.title}: {'; '.join(told) or 'nothing was observed'}.")
    legend = [legend_entry(series.label, style) for series, style in zip(figure.series, SERIES_STYLES, strict=False)]
    how_to_read = f"{printable(figure.how_to_read)} {HOW_TO_READ}"
    panel = Panel(to_svg(drawing, key), alternative, wide=True)
    panels = [*(_strip_panel(strip) for strip in figure.strips), panel]
    return ReportFigure(key, printable(figure.title), how_to_read, panels, legend, columns=1)


def _strip_panel(strip: Strip) -> Panel:
    """Return pictures as a panel of their own; what is no base64 of a PNG is not shown."""
    label = printable(strip.label)
    image = f"data:image/png;base64,{strip.png}" if _PNG.fullmatch(strip.png) else ""
    return Panel("", label, heading=label, image=image, image_alternative=label, is_strip=True)


def _draw(
    axes: Axes, record: ReproductionRecord, figure: Figure, series: Series, style: RoleStyle
) -> list[tuple[float, float]]:
    """Draw a series; return place and mean of its lowest and highest point, nothing where none was observed."""
    factor = drawn_factor(record.unit_of(figure.quantity))
    summaries = [record.summary(condition, figure.quantity) for condition in series.conditions]
    drawn = [(x, s) for x, s in zip(figure.numbers, summaries, strict=True) if s is not None]
    if not drawn:
        return []
    drawn.sort(key=lambda item: item[0])
    places, means = [x for x, _ in drawn], [factor * s.mean for _, s in drawn]
    spreads = [factor * (s.spread or 0.0) for _, s in drawn]
    low = [mean - spread for mean, spread in zip(means, spreads, strict=True)]
    high = [mean + spread for mean, spread in zip(means, spreads, strict=True)]
    if figure.log_values:
        low = [max(value, 0.5 * mean) for value, mean in zip(low, means, strict=True)]
    axes.fill_between(places, low, high, color=style.colour, alpha=0.18, linewidth=0)
    dashes = (0, style.dashes) if style.dashes else "-"
    axes.plot(places, means, style.marker, color=style.colour, linestyle=dashes, markersize=5.5)
    extremes = (min(drawn, key=lambda item: item[1].mean), max(drawn, key=lambda item: item[1].mean))
    return [(x, summary.mean) for x, summary in extremes]


def _label(figure: Figure) -> str:
    return printable(figure.value_label) + (", log scale" if figure.log_values else "")
