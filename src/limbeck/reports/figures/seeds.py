"""Test errors of the baseline and the distilled student, seed by seed: the evidence for the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    to_svg,
)
from limbeck.reports.summary import RunSummary
from limbeck.reports.wording import plain_number
from limbeck.statistics import summarise

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HOW_TO_READ = (
    "Each thin line joins two students of the same seed: the same starting weights and the same order of samples, "
    "trained without the teacher (left) and with it (right). Lines that fall mean fewer errors with the teacher. "
)
HOW_TO_READ_DIFFERENCE = (
    "The second drawing shows the change of each seed, and below it their mean with its 95 % interval: where the "
    "interval crosses zero, these seeds cannot tell the teacher's effect from chance."
)


def seeds_figure(record: RunRecord, summary: RunSummary) -> ReportFigure | None:
    """Draw paired test errors and their differences; None without both a baseline and a distilled student."""
    baseline, distilled = record.values("baseline", "errors"), record.values("distilled", "errors")
    pairs = [(baseline[seed], distilled[seed]) for seed in baseline if seed in distilled]
    if not pairs or summary.difference is None:
        return None
    teacher = summary.mean("teacher", "errors")
    panels = [_paired_panel(pairs, teacher)]
    legend = [legend_entry(role, ROLE_STYLES[role], line=False) for role in ("baseline", "distilled")]
    legend.append(LegendEntry("one seed", "currentColor", opacity=None))
    if teacher is not None:
        legend.append(legend_entry("teacher", ROLE_STYLES["teacher"], marker=False))
    how_to_read = HOW_TO_READ
    if len(pairs) > 1:
        panels.append(_difference_panel(pairs, summary))
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
    means = [plain_number(summarise([pair[place] for pair in pairs]).mean) for place in (0, 1)]
    alternative = f"Test errors: baseline {means[0]}, distilled {means[1]} on average over {len(pairs)} seeds"
    alternative += "." if teacher is None else f"; teacher {plain_number(teacher)}."
    return Panel(to_svg(figure, "seeds-pairs"), alternative)


def _difference_panel(pairs: list[tuple[float, float]], summary: RunSummary) -> Panel:
    figure = new_figure()
    axes = figure.add_subplot(title="Change by the teacher")
    differences = [distilled - baseline for baseline, distilled in pairs]
    rows = list(range(len(pairs), 0, -1))
    axes.axvline(0, color=INK, linewidth=1)
    axes.hlines(rows, 0, differences, color=ROLE_STYLES["distilled"].colour, alpha=0.45, linewidth=2)
    axes.plot(differences, rows, "o", color=ROLE_STYLES["distilled"].colour)
    difference = summary.difference
    assert difference is not None and difference.low is not None and difference.high is not None
    axes.errorbar(
        [difference.mean],
        [0],
        xerr=[[difference.mean - difference.low], [difference.high - difference.mean]],
        fmt="D",
        color=INK,
        capsize=4,
        markersize=6,
    )
    axes.set_yticks([0], ["mean"])
    axes.set_ylim(-0.8, len(pairs) + 0.6)
    axes.set_xlabel("errors, distilled − baseline")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    _mark_sides(axes)
    light_grid(axes, axis="x")
    interval = f"{plain_number(difference.low)} to {plain_number(difference.high)}"
    alternative = f"Change of errors by seed; mean {plain_number(difference.mean)}, 95 % interval {interval}."
    return Panel(to_svg(figure, "seeds-difference"), alternative)


def _mark_sides(axes: Axes) -> None:
    """Say on which side of zero the teacher helps, above the data."""
    low, high = axes.get_xlim()
    reach = max(abs(low), abs(high), 1.0)
    axes.set_xlim(low - 0.06 * reach if low < 0 else -0.25 * reach, high + 0.06 * reach if high > 0 else 0.25 * reach)
