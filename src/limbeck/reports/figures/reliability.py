"""Reliability diagrams: is the network as often right as it is sure?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from limbeck.records import NetworkRecord, RunRecord
from limbeck.reports.drawing import LegendEntry, Panel, ReportFigure, new_figure, set_margins, to_svg
from limbeck.reports.style import INK, RoleStyle, light_grid, role_style
from limbeck.reports.summary import RunSummary, role_order
from limbeck.reports.wording import percent, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAIN_ROLES = 4  # diagrams drawn
HOW_TO_READ = (
    "Test samples are sorted into bins by the network's confidence in its prediction. Each mark compares the mean "
    "confidence of a bin with the share of correct predictions in it: on the diagonal the network is as often right "
    "as it is sure, below it is over-confident, above it is too modest. Bars are 95 % (Wilson) intervals for one "
    "seed's number of samples: where the strip below shows few samples, the mark says little. ECE is the mean distance "
    "from the diagonal, weighted by samples."
)


@dataclass(frozen=True)
class PooledBin:
    """A confidence bin, pooled over the seeds of a role."""

    low: float
    high: float
    count: int  # summed over networks
    confidence: float
    accuracy: float


def pooled_bins(networks: list[NetworkRecord]) -> list[PooledBin]:
    """Return the bins of several networks, put together by their edges, with means weighted by samples."""
    sums: dict[tuple[float, float], tuple[int, float, float]] = {}
    for network in networks:
        for one in network.reliability:
            count, confidence, right = sums.get((one.low, one.high), (0, 0.0, 0.0))
            sums[one.low, one.high] = (
                count + one.count,
                confidence + one.count * one.mean_confidence,
                right + one.count * one.accuracy,
            )
    return [
        PooledBin(low, high, count, confidence / count if count else 0.0, right / count if count else 0.0)
        for (low, high), (count, confidence, right) in sorted(sums.items())
    ]


def wilson_interval(fraction: float, count: float) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a fraction seen in ``count`` samples.

    Example:
        >>> low, high = wilson_interval(0.5, 100)
        >>> round(low, 4), round(high, 4)
        (0.4038, 0.5962)
    """
    z = 1.959964
    centre = (fraction + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(fraction * (1 - fraction) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return max(0.0, centre - half), min(1.0, centre + half)


def reliability_figure(record: RunRecord, summary: RunSummary) -> ReportFigure | None:
    """Draw one diagram per role; None where no network has bins with samples."""
    roles = sorted((role for role in record.roles() if not role.startswith("member ")), key=role_order)
    panels = []
    for role in roles:
        networks = [n for n in record.networks if n.role == role and any(one.count for one in n.reliability)]
        if networks:
            ece = summary.mean(role, "ece")
            panels.append(_panel(role, networks, ece, role_style(role, record.roles())))
    if not panels:
        return None
    legend = [LegendEntry("as often right as sure", "currentColor", dashes="6 4")]
    return ReportFigure(
        "reliability", "Can the confidence be trusted?", HOW_TO_READ, panels[-MAIN_ROLES:], legend, columns=3
    )


def _panel(role: str, networks: list[NetworkRecord], ece: float | None, style: RoleStyle) -> Panel:
    bins = pooled_bins(networks)
    total = sum(one.count for one in bins)
    if ece is None:
        ece = sum(one.count * abs(one.accuracy - one.confidence) for one in bins) / total
    figure = new_figure(columns=3, height=262)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3.4, 1])
    upper.set_title(f"{printable(role, limit=24)}: ECE {percent(ece, decimals=2)}")
    upper.plot([0, 100], [0, 100], color=INK, alpha=0.7, linewidth=1, dashes=(5, 3))
    filled = [one for one in bins if one.count]
    _draw_marks(upper, filled, len(networks), style)
    upper.set(xlim=(-3, 103), ylim=(-3, 103), ylabel="correct predictions (%)")
    _draw_counts(lower, filled, total, style)
    for axes in (upper, lower):
        light_grid(axes)
    set_margins(figure, gap=12)
    worst = max(filled, key=lambda one: one.count * abs(one.accuracy - one.confidence))
    alternative = (
        f"Reliability of the {printable(role)}: ECE {percent(ece, decimals=2)}; the bin that adds most has mean "
        f"confidence {percent(worst.confidence)} and {percent(worst.accuracy)} correct predictions."
    )
    key = "reliability-" + "".join(c if c.isascii() and c.isalnum() else f"-{ord(c):x}" for c in role)
    return Panel(to_svg(figure, key), alternative)


def _draw_marks(axes: Axes, bins: list[PooledBin], num_networks: int, style: RoleStyle) -> None:
    intervals = [wilson_interval(one.accuracy, one.count / num_networks) for one in bins]
    axes.errorbar(
        [100 * one.confidence for one in bins],
        [100 * one.accuracy for one in bins],
        yerr=[
            [100 * max(0.0, one.accuracy - low) for one, (low, _) in zip(bins, intervals, strict=True)],
            [100 * max(0.0, high - one.accuracy) for one, (_, high) in zip(bins, intervals, strict=True)],
        ],
        fmt=style.marker,
        color=style.colour,
        elinewidth=1.2,
        capsize=2,
        linestyle=(0, style.dashes) if style.dashes else "-",
        linewidth=1.2,
    )


def _draw_counts(axes: Axes, bins: list[PooledBin], total: int, style: RoleStyle) -> None:
    shares = [100 * one.count / total for one in bins]
    axes.bar(
        [100 * one.low for one in bins],
        shares,
        width=[100 * (one.high - one.low) for one in bins],
        align="edge",
        color=style.colour,
        alpha=0.55,
        linewidth=0,
    )
    most = max(range(len(bins)), key=shares.__getitem__)
    middle = min(max(50 * (bins[most].low + bins[most].high), 8), 92)
    axes.text(middle, shares[most] + 4, f"{shares[most]:.0f} %", ha="center", va="bottom", fontsize=8)
    axes.set(ylim=(0, 140), yticks=[0, 50, 100], ylabel="samples (%)", xlabel="confidence (%)")
