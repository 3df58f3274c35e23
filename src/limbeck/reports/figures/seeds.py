"""Test errors with an effect and without it (a teacher, mostly), seed by seed: the evidence for the verdict."""

from __future__ import annotations

from limbeck.records import Comparison, RunRecord
from limbeck.reports.drawing import LegendEntry, Panel, ReportFigure, legend_entry, new_figure, set_margins, to_svg
from limbeck.reports.style import INK, ROLE_STYLES, RoleStyle, css_colour, light_grid, role_style
from limbeck.reports.summary import RunSummary
from limbeck.reports.wording import plain_number
from limbeck.statistics import summarise

MOST_NAMED_SEEDS = 10
HOW_TO_READ = (
    "Each thin line joins two students of the same seed: the same starting weights, recipe and number of steps, "
    "trained without {effect} (left) and with it (right). Lines that fall mean fewer errors with {effect}. "
)
HOW_TO_READ_DIFFERENCE = (
    "The second drawing shows the change of each seed, and below it their mean with its 95 % interval: where the "
    "interval crosses zero, these seeds cannot tell the effect of {effect} from chance."
)


def seeds_figure(record: RunRecord, summary: RunSummary) -> ReportFigure | None:
    """Draw paired test errors and their differences; None where the verdict is not about one pair of networks."""
    if len(summary.leading) != 1:
        return None
    comparison, difference = summary.leading[0].comparison, summary.leading[0].difference
    reference, network = (record.values(role, "errors") for role in (comparison.reference, comparison.network))
    styles = {role: role_style(role, record.roles()) for role in (comparison.reference, comparison.network)}
    seeds = [seed for seed in reference if seed in network]
    pairs = [(reference[seed], network[seed]) for seed in seeds]
    teacher = summary.mean("teacher", "errors")
    panels = [_paired_panel(comparison, styles, pairs, teacher)]
    legend = [legend_entry(role, style, line=False) for role, style in styles.items()]
    legend.append(LegendEntry("one seed", "currentColor"))
    if teacher is not None:
        legend.append(legend_entry("teacher", ROLE_STYLES["teacher"], marker=False))
    how_to_read = HOW_TO_READ
    if difference.low is not None and difference.high is not None:
        panels.append(
            _difference_panel(comparison, styles, seeds, pairs, (difference.mean, difference.low, difference.high))
        )
        legend.append(LegendEntry("mean with 95 % interval", css_colour(INK), marker="M-6 0L0 -6L6 0L0 6z"))
        how_to_read += HOW_TO_READ_DIFFERENCE
    return ReportFigure("seeds", "Seed by seed", how_to_read.format(effect=comparison.effect), panels, legend)


def _paired_panel(
    comparison: Comparison, styles: dict[str, RoleStyle], pairs: list[tuple[float, float]], teacher: float | None
) -> Panel:
    figure = new_figure()
    axes = figure.add_subplot(title="Test errors")
    for pair in pairs:
        axes.plot([0, 1], pair, color=INK, alpha=0.45, linewidth=1)
    for place, style in enumerate(styles.values()):
        values = [pair[place] for pair in pairs]
        axes.plot([place] * len(values), values, style.marker, color=style.colour, markersize=6.5)
    if teacher is not None:
        style = ROLE_STYLES["teacher"]
        axes.axhline(teacher, color=style.colour, linestyle=(0, style.dashes), linewidth=1.4)
    axes.set_xticks([0, 1], [f"{comparison.reference}\n(without)", f"{comparison.network}\n(with)"])
    axes.set_xlim(-0.45, 1.45)
    axes.set_ylabel("errors")
    axes.margins(y=0.12)
    light_grid(axes, axis="y")
    set_margins(figure)
    means = [plain_number(summarise([pair[place] for pair in pairs]).mean) for place in (0, 1)]
    told = f"{comparison.reference} {means[0]}, {comparison.network} {means[1]}"
    alternative = f"Test errors: {told} on average over {len(pairs)} seeds"
    alternative += "." if teacher is None else f"; teacher {plain_number(teacher)}."
    return Panel(to_svg(figure, "seeds-pairs"), alternative)


def _difference_panel(
    comparison: Comparison,
    styles: dict[str, RoleStyle],
    seeds: list[int | None],
    pairs: list[tuple[float, float]],
    interval: tuple[float, float, float],
) -> Panel:
    """Draw the change of each seed, and below them the mean with its interval (mean, low, high)."""
    mean, low, high = interval
    figure = new_figure()
    axes = figure.add_subplot(title=f"Change by {comparison.effect}")
    differences = [network - reference for reference, network in pairs]
    colour = styles[comparison.network].colour
    rows = list(range(len(pairs), 0, -1))
    axes.axvline(0, color=INK, linewidth=1)
    axes.hlines(rows, 0, differences, color=colour, alpha=0.45, linewidth=2)
    axes.plot(differences, rows, "o", color=colour)
    axes.errorbar(
        [mean],
        [0],
        xerr=[[mean - low], [high - mean]],
        fmt="D",
        color=INK,
        capsize=4,
        markersize=6,
    )
    named = [f"seed {seed}" if len(pairs) <= MOST_NAMED_SEEDS else "" for seed in seeds]
    axes.set_yticks([0, *rows], ["mean", *named])
    axes.set_ylim(-0.8, len(pairs) + 0.6)
    axes.set_xlabel(f"errors, {comparison.network} − {comparison.reference}")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    left, right = axes.get_xlim()
    reach = 0.15 * max(abs(left), abs(right))
    axes.set_xlim(min(left, -reach), max(right, reach))
    light_grid(axes, axis="x")
    set_margins(figure)
    told = f"mean {plain_number(mean)}, 95 % interval {plain_number(low)} to {plain_number(high)}"
    alternative = f"Change of errors by seed; {told}."
    return Panel(to_svg(figure, "seeds-difference"), alternative)
