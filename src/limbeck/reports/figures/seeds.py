"""Test errors of the baseline and the distilled student, seed by seed: the evidence for the verdict."""

from __future__ import annotations

from limbeck.records import RunRecord
from limbeck.reports.drawing import (
    INK,
    ROLE_STYLES,
    LegendEntry,
    Panel,
    ReportFigure,
    css_colour,
    legend_entry,
    light_grid,
    new_figure,
    set_margins,
    to_svg,
)
from limbeck.reports.summary import RunSummary
from limbeck.reports.wording import plain_number
from limbeck.statistics import summarise

MOST_NAMED_SEEDS = 10
HOW_TO_READ = (
    "Each thin line joins two students of the same seed: the same starting weights, recipe and number of steps, "
    "trained without the teacher (left) and with it (right). Lines that fall mean fewer errors with the teacher. "
)
HOW_TO_READ_DIFFERENCE = (
    "The second drawing shows the change of each seed, and below it their mean with its 95 % interval: where the "
    "interval crosses zero, these seeds cannot tell the teacher's effect from chance."
)


def seeds_figure(record: RunRecord, summary: RunSummary) -> ReportFigure | None:
    """Draw paired test errors and their differences; None without both a baseline and a distilled student."""
    baseline, distilled = record.values("baseline", "errors"), record.values("distilled", "errors")
    seeds = [seed for seed in baseline if seed in distilled]
    pairs = [(baseline[seed], distilled[seed]) for seed in seeds]
    if not pairs or summary.difference is None:
        return None
    teacher = summary.mean("teacher", "errors")
    panels = [_paired_panel(pairs, teacher)]
    legend = [legend_entry(role, ROLE_STYLES[role], line=False) for role in ("baseline", "distilled")]
    legend.append(LegendEntry("one seed", "currentColor"))
    if teacher is not None:
        legend.append(legend_entry("teacher", ROLE_STYLES["teacher"], marker=False))
    how_to_read = HOW_TO_READ
    mean, low, high = summary.difference.mean, summary.difference.low, summary.difference.high
    if low is not None and high is not None:
        panels.append(_difference_panel(seeds, pairs, (mean, low, high)))
        legend.append(LegendEntry("mean with 95 % interval", css_colour(INK), marker="M-6 0L0 -6L6 0L0 6z"))
        how_to_read += HOW_TO_READ_DIFFERENCE
    return ReportFigure("seeds", "Seed by seed", how_to_read, panels, legend)


def _paired_panel(pairs: list[tuple[float, float]], teacher: float | None) -> Panel:
    figure = new_figure()
    axes = figure.add_subplot(title="Test errors")
    for pair in pairs:
        axes.plot([0, 1], pair, color=INK, alpha=0.45, linewidth=1)
    for place, role in enumerate(("baseline", "distilled")):
        style = ROLE_STYLES[role]
        values = [pair[place] for pair in pairs]
        axes.plot([place] * len(values), values, style.marker, color=style.colour, markersize=6.5)
    if teacher is not None:
        style = ROLE_STYLES["teacher"]
        axes.axhline(teacher, color=style.colour, linestyle=(0, style.dashes), linewidth=1.4)
    axes.set_xticks([0, 1], ["baseline\n(no teacher)", "distilled\n(with teacher)"])
    axes.set_xlim(-0.45, 1.45)
    axes.set_ylabel("errors")
    axes.margins(y=0.12)
    light_grid(axes, axis="y")
    set_margins(figure)
    means = [plain_number(summarise([pair[place] for pair in pairs]).mean) for place in (0, 1)]
    alternative = f"Test errors: baseline {means[0]}, distilled {means[1]} on average over {len(pairs)} seeds"
    alternative += "." if teacher is None else f"; teacher {plain_number(teacher)}."
    return Panel(to_svg(figure, "seeds-pairs"), alternative)


def _difference_panel(
    seeds: list[int | None], pairs: list[tuple[float, float]], interval: tuple[float, float, float]
) -> Panel:
    """Draw the change of each seed, and below them the mean with its interval (mean, low, high)."""
    mean, low, high = interval
    figure = new_figure()
    axes = figure.add_subplot(title="Change by the teacher")
    differences = [distilled - baseline for baseline, distilled in pairs]
    rows = list(range(len(pairs), 0, -1))
    axes.axvline(0, color=INK, linewidth=1)
    axes.hlines(rows, 0, differences, color=ROLE_STYLES["distilled"].colour, alpha=0.45, linewidth=2)
    axes.plot(differences, rows, "o", color=ROLE_STYLES["distilled"].colour)
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
    axes.set_xlabel("errors, distilled − baseline")
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
