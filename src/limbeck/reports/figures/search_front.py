"""What a search found: every candidate's validation accuracy against its cost, and the front."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck.records.search_record import Point, SearchRecord
from limbeck.reports.drawing import (
    LARGE,
    LegendEntry,
    Panel,
    ReportFigure,
    add_tip,
    legend_entry,
    new_figure,
    set_margins,
    to_svg,
)
from limbeck.reports.log_ticks import write_few_log_ticks
from limbeck.reports.searches import COSTS, cost_text, place_of
from limbeck.reports.style import INK, OTHER_STYLES, ROLE_STYLES, RoleStyle, css_colour, light_grid
from limbeck.reports.wording import percent, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HOW_TO_READ = (
    "Each mark is a candidate with the best of the settings that were tried for it: up is more accurate on validation, "
    "left is cheaper, on a logarithmic axis. The line joins the front: candidates that no cheaper one equals. Point at "
    "a mark to see its name; the table above has all numbers. The best of many settings looks better on the samples "
    "that chose it than it is: what the chosen one gives on fresh seeds is said at the top."
)
STYLES = {
    "chosen": ROLE_STYLES["distilled"],
    "front": OTHER_STYLES[0],
    "": RoleStyle(INK, (), "."),
}
MEANINGS = {"chosen": "chosen", "front": "front", "": "beaten by a cheaper one"}
ENOUGH_DASHES = (4.0, 2.0)


def search_front_figure(record: SearchRecord) -> ReportFigure | None:
    """Draw the candidates of a search; None where there are none."""
    points = [point for point in record.points if point.cost > 0]
    if not points:
        return None
    figure, legend, label = draw_candidates(record, points)
    told = "; ".join(
        f"{printable(p.name)} {percent(p.accuracy)} at {cost_text(record, p.cost)}" for p in _front(record, points)
    )
    panel = Panel(to_svg(figure, "front"), f"Validation accuracy against {label}; the front: {told}.", wide=True)
    return ReportFigure("front", "Accuracy against cost", HOW_TO_READ, [panel], legend, columns=1)


def draw_candidates(
    record: SearchRecord, points: list[Point], *, with_tips: bool = True
) -> tuple[Figure, list[LegendEntry], str]:
    """Draw candidates, front and goals within ``drawing_style``.

    Args:
        record: of the search.
        points: its candidates, of costs above 0.
        with_tips: texts that a page shows on hover; else the names of the front stand beside its marks.
    Returns:
        The figure, its legend, and what its cost axis is.
    """
    figure = new_figure(width=LARGE, height=0.62 * LARGE)
    label = f"{COSTS.get(record.cost, record.cost)} (log scale)"
    axes = figure.add_subplot(xscale="log", xlabel=label, ylabel="validation accuracy (%)")
    legend = _draw_goals(axes, record)
    front = _front(record, points)
    axes.plot([p.cost for p in front], [100 * p.accuracy for p in front], color=OTHER_STYLES[0].colour, linewidth=1.2)
    _limits(axes, record, points)
    for number, point in enumerate(points):
        style = STYLES[place_of(record, point)]
        size = {"chosen": 10, "front": 7}.get(place_of(record, point), 8)
        axes.plot(
            [point.cost], [100 * point.accuracy], style.marker,
            color=style.colour, markersize=size, gid=f"spot-{number}", clip_on=False,
        )  # fmt: skip
        if with_tips:
            add_tip(axes, f"spot-{number}", point.cost, 100 * point.accuracy, _tip(record, point))
        elif point in front:
            axes.annotate(point.name, (point.cost, 100 * point.accuracy), xytext=(8, -11), textcoords="offset points")
    write_few_log_ticks(axes.xaxis, lambda cost: cost_text(record, cost))
    light_grid(axes)
    set_margins(figure)
    shown = {place_of(record, point) for point in points}
    legend = [legend_entry(MEANINGS[place], STYLES[place], line=False) for place in STYLES if place in shown] + legend
    return figure, legend, label


def _front(record: SearchRecord, points: list[Point]) -> list[Point]:
    return sorted((point for point in points if point.name in record.front), key=lambda point: point.cost)


def _draw_goals(axes: Axes, record: SearchRecord) -> list[LegendEntry]:
    """Draw the teacher's accuracy, and the share of it that was asked for; return their lines of the legend."""
    teacher, legend = ROLE_STYLES["teacher"], []
    axes.axhline(
        100 * record.teacher_accuracy,
        color=teacher.colour,
        linewidth=1.2,
        linestyle=(0, teacher.dashes),
        label="teacher",
    )
    legend.append(legend_entry("teacher", teacher, marker=False))
    if record.min_kept is not None:
        colour = ROLE_STYLES["baseline"].colour
        enough = 100 * record.min_kept * record.teacher_accuracy
        told = f"{100 * record.min_kept:g} % of it, asked for"
        axes.axhline(enough, color=colour, linewidth=1.2, linestyle=(0, ENOUGH_DASHES), label=told)
        legend.append(LegendEntry(told, css_colour(colour), "8 4"))
    return legend


def _limits(axes: Axes, record: SearchRecord, points: list[Point]) -> None:
    costs = [point.cost for point in points]
    heights = [100 * record.teacher_accuracy, *(100 * point.accuracy for point in points)]
    widen = max((max(costs) / min(costs)) ** 0.08, 1.3)
    axes.set_xlim(min(costs) / widen, max(costs) * widen)
    pad = max(0.08 * (max(heights) - min(heights)), 0.5)
    axes.set_ylim(min(heights) - pad, max(heights) + pad)


def _tip(record: SearchRecord, point: Point) -> str:
    kept = f", {percent(point.accuracy / record.teacher_accuracy)} kept" if record.teacher_accuracy else ""
    settings = [f"{name.replace('_', ' ')} {value:.3g}" for name, value in point.values.items()]
    cost = cost_text(record, point.cost)
    size = f"{point.num_parameters:,} parameters" + ("" if record.cost == "parameters" else f", {cost}")
    lines = [printable(point.name, limit=32), f"{percent(point.accuracy, decimals=2)}{kept}", size, *settings]
    return "\n".join(lines)
