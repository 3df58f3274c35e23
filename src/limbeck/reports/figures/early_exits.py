"""Accuracy and cost of early exit, by the confidence that an exit needs."""

from __future__ import annotations

from limbeck.records import EarlyExitRecord, RunRecord
from limbeck.reports.drawing import LegendEntry, Panel, ReportFigure, legend_entry, new_figure, set_margins, to_svg
from limbeck.reports.quantities import OPERATIONS, Unit
from limbeck.reports.style import INK, SERIES_STYLES, css_colour, light_grid, role_style
from limbeck.reports.summary import RunSummary
from limbeck.reports.wording import percent, printable
from limbeck.statistics import summarise

HOW_TO_READ = (
    "A sample leaves at the first exit whose largest probability reaches a threshold. Lines are means over seeds, pale "
    "lines are seeds; each runs from the first exit alone (threshold 0) to the last (threshold 1), where every exit "
    "on the way has been asked."
)
HOW_TO_READ_CHOSEN = (
    " A framed diamond is what the threshold that validation samples chose gives on the test samples, one for each "
    "seed, in its network's colour."
)
HOW_TO_READ_SHARES = "The share of test samples that leave at each exit, mean over seeds, by the confidence it needs."


def early_exits_figure(record: RunRecord, summary: RunSummary) -> ReportFigure | None:
    """Draw accuracy against the cost of early exit; None for networks without exits."""
    if not record.early_exits:
        return None
    legend = [legend_entry(role, role_style(role, record.roles()), marker=False) for role in _by_role(record)]
    how_to_read = HOW_TO_READ
    if any(curve.chosen for curve in record.early_exits):
        diamond = "M-4.5 0L0 -4.5L4.5 0L0 4.5z"
        legend.append(LegendEntry("chosen threshold", css_colour(INK), line=False, marker=diamond))
        how_to_read += HOW_TO_READ_CHOSEN
    return ReportFigure("early-exits", "Early exit", how_to_read, [_tradeoff_panel(record)], legend)


def exit_shares_figure(record: RunRecord, summary: RunSummary) -> ReportFigure | None:
    """Draw how many samples leave at each exit, a panel for each network; None for networks without exits."""
    if not record.early_exits:
        return None
    styles = zip(record.early_exits[0].exits, SERIES_STYLES, strict=False)
    legend = [legend_entry(f"leaves at {name}", style, marker=False) for name, style in styles]
    panels = [_shares_panel(role, curves) for role, curves in _by_role(record).items()]
    return ReportFigure("exit-shares", "Who answers", HOW_TO_READ_SHARES, panels, legend)


def _by_role(record: RunRecord) -> dict[str, list[EarlyExitRecord]]:
    by_role: dict[str, list[EarlyExitRecord]] = {}
    for curve in record.early_exits:
        by_role.setdefault(curve.network, []).append(curve)
    return by_role


def _tradeoff_panel(record: RunRecord) -> Panel:
    by_role = _by_role(record)
    unit = _unit(max(point.cost for curves in by_role.values() for curve in curves for point in curve.points))
    figure = new_figure()
    axes = figure.add_subplot(
        title="Accuracy for compute", xlabel=f"{unit.label} per sample", ylabel="test accuracy (%)"
    )
    told = []
    for role, curves in by_role.items():
        style = role_style(role, record.roles())
        for curve in curves:
            costs = [unit.factor * point.cost for point in curve.points]
            axes.plot(
                costs, [100 * point.accuracy for point in curve.points], color=style.colour, alpha=0.3, linewidth=1
            )
        columns = list(zip(*(curve.points for curve in curves), strict=True))
        means = [
            (summarise([p.cost for p in points]).mean, summarise([p.accuracy for p in points]).mean)
            for points in columns
        ]
        axes.plot(
            [unit.factor * cost for cost, _ in means],
            [100 * accuracy for _, accuracy in means],
            color=style.colour,
            linestyle=(0, style.dashes) if style.dashes else "-",
        )
        for curve in curves:
            if curve.chosen is not None:
                axes.plot(
                    [unit.factor * curve.chosen.cost],
                    [100 * curve.chosen.accuracy],
                    "D",
                    color=style.colour,
                    markeredgecolor=INK,
                )
        (cheap, first), (dear, last) = means[0], means[-1]
        told.append(
            f"{role} from {percent(first, decimals=2)} at {unit.factor * cheap:.3g} {unit.label} "
            f"to {percent(last, decimals=2)} at {unit.factor * dear:.3g}"
        )
    axes.margins(y=0.12)
    light_grid(axes)
    set_margins(figure)
    return Panel(
        to_svg(figure, "early-exits-tradeoff"), printable(f"Test accuracy against compute: {'; '.join(told)}.")
    )


def _shares_panel(role: str, curves: list[EarlyExitRecord]) -> Panel:
    figure = new_figure()
    axes = figure.add_subplot(title=printable(role), xlabel="confidence needed", ylabel="samples that leave (%)")
    thresholds = [point.threshold for point in curves[0].points]
    for place, (_, style) in enumerate(zip(curves[0].exits, SERIES_STYLES, strict=False)):
        shares = [
            100 * summarise([curve.points[i].shares[place] for curve in curves]).mean for i in range(len(thresholds))
        ]
        axes.plot(thresholds, shares, color=style.colour, linestyle=(0, style.dashes) if style.dashes else "-")
    axes.set_ylim(-3, 103)
    light_grid(axes)
    set_margins(figure)
    return Panel(
        to_svg(figure, "early-exits-shares"), f"Share of samples that each exit of {role} answers, by threshold."
    )


def _unit(largest: float) -> Unit:
    return next((unit for unit in reversed(OPERATIONS) if largest * unit.factor >= 1), OPERATIONS[0])
