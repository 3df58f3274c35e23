"""Accuracy against what a network costs: parameters, and latency."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck.records import RunRecord
from limbeck.reports.drawing import Panel, ReportFigure, legend_entry, new_figure, set_margins, to_svg
from limbeck.reports.log_ticks import write_few_log_ticks
from limbeck.reports.style import RoleStyle, light_grid, role_style
from limbeck.reports.summary import RunSummary, SummaryRow
from limbeck.reports.wording import percent, scaled, short_time

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HOW_TO_READ = (
    "Each mark is the mean of one kind of network; bars reach one standard deviation over seeds (none where there is "
    "one network). Up is more accurate, left is cheaper, and the cost axes are logarithmic. A good distillation lifts "
    "the student towards the teacher's height without moving it right. Networks of equal cost are drawn a little apart."
)
COSTS = (
    ("parameters", "Size", "parameters (log scale)"),
    ("latency_batch1", "One sample at a time", "time per sample (log scale)"),
    ("latency_batch256", "In batches of 256", "time per sample (log scale)"),
)


def tradeoff_figure(record: RunRecord, summary: RunSummary) -> ReportFigure | None:
    """Draw accuracy against each cost; None where fewer than two kinds of networks have both."""
    roles = record.roles()
    panels = []
    shown: dict[str, RoleStyle] = {}
    for cost, title, label in COSTS:
        rows = [row for row in summary.rows if "accuracy" in row.values and row.values.get(cost)]
        rows = [row for row in rows if row.values[cost].mean > 0]
        if len(rows) < 2:
            continue
        styles = {row.label: role_style(row.roles[0], roles) for row in rows}
        shown |= styles
        panels.append(_panel(rows, styles, cost, title, label))
    if not panels:
        return None
    legend = [legend_entry(row.label, shown[row.label], line=False) for row in summary.rows if row.label in shown]
    return ReportFigure("tradeoff", "Accuracy for its price", HOW_TO_READ, panels, legend, columns=3)


def _panel(rows: list[SummaryRow], styles: dict[str, RoleStyle], cost: str, title: str, label: str) -> Panel:
    from matplotlib.transforms import ScaledTranslation

    figure = new_figure(columns=3, height=185)
    axes = figure.add_subplot(title=title, xscale="log", xlabel=label, ylabel="test accuracy (%)")
    costs = [row.values[cost].mean for row in rows]
    for i, row in enumerate(rows):
        same = [j for j, other in enumerate(costs) if abs(other / costs[i] - 1) < 0.05]
        apart = (same.index(i) - (len(same) - 1) / 2) * 7 / 72  # inches
        accuracy, price, style = row.values["accuracy"], row.values[cost], styles[row.label]
        axes.errorbar(
            [price.mean],
            [100 * accuracy.mean],
            xerr=_whisker(price.spread, 1, limit=0.9 * price.mean),
            yerr=_whisker(accuracy.spread, 100),
            fmt=style.marker,
            color=style.colour,
            capsize=2.5,
            elinewidth=1.3,
            markersize=7,
            transform=axes.transData + ScaledTranslation(apart, 0, figure.dpi_scale_trans),
        )
    axes.update_datalim([(x, 100 * row.values["accuracy"].mean) for x, row in zip(costs, rows, strict=True)])
    _limits(axes, rows, costs)
    write_few_log_ticks(axes.xaxis, scaled if cost == "parameters" else short_time)
    light_grid(axes)
    set_margins(figure)
    described = "; ".join(
        f"{row.label} {percent(row.values['accuracy'].mean, decimals=2)} at "
        f"{(scaled if cost == 'parameters' else short_time)(price)}"
        for row, price in zip(rows, costs, strict=True)
    )
    return Panel(to_svg(figure, f"tradeoff-{cost.replace('_', '-')}"), f"Test accuracy against {label}: {described}.")


def _whisker(spread: float | None, factor: float, *, limit: float | None = None) -> list[float] | None:
    if not spread:
        return None
    return [factor * spread if limit is None else min(factor * spread, limit)]


def _limits(axes: Axes, rows: list[SummaryRow], costs: list[float]) -> None:
    accuracies = [row.values["accuracy"] for row in rows]
    low = min(100 * (a.mean - (a.spread or 0)) for a in accuracies)
    high = max(100 * (a.mean + (a.spread or 0)) for a in accuracies)
    pad = max(0.15 * (high - low), 0.1)
    axes.set_ylim(low - pad, high + pad)
    widen = max((max(costs) / min(costs)) ** 0.2, 1.6)
    axes.set_xlim(min(costs) / widen, max(costs) * widen)
