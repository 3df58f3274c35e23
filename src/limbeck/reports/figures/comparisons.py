"""Everything that a run compares, side by side: change of errors by seed, mean and interval."""

from __future__ import annotations

from limbeck.records import RunRecord
from limbeck.reports.drawing import (
    LARGE,
    LegendEntry,
    Panel,
    ReportFigure,
    legend_entry,
    new_figure,
    set_margins,
    to_svg,
)
from limbeck.reports.style import INK, ROLE_STYLES, css_colour, light_grid
from limbeck.reports.summary import Judged, RunSummary
from limbeck.reports.wording import plain_number, printable

HOW_TO_READ = (
    "Each row is the change of test errors from one kind of network to another of the same seed and recipe: pale marks "
    "are seeds, the diamond is their mean, with its 95 % interval where there are several. Left of zero there are "
    "fewer errors; an interval across zero cannot be told from chance."
)
ROW_HEIGHT, FRAME_HEIGHT = 32.0, 62.0  # points


def comparisons_figure(record: RunRecord, summary: RunSummary) -> ReportFigure | None:
    """Draw a row for each comparison; None where there are fewer than two."""
    if len(summary.judged) < 2:
        return None
    figure = new_figure(width=LARGE, height=FRAME_HEIGHT + ROW_HEIGHT * len(summary.judged))
    axes = figure.add_subplot()
    style = ROLE_STYLES["distilled"]
    axes.axvline(0, color=INK, linewidth=1)
    rows = range(len(summary.judged), 0, -1)
    for row, judged in zip(rows, summary.judged, strict=True):
        reference = record.values(judged.comparison.reference, "errors")
        network = record.values(judged.comparison.network, "errors")
        changes = [network[seed] - reference[seed] for seed in reference if seed in network]
        axes.plot(changes, [row - 0.16] * len(changes), style.marker, color=style.colour, alpha=0.5, linestyle="none")
        mean, low, high = judged.difference.mean, judged.difference.low, judged.difference.high
        reach = None if low is None or high is None else [[mean - low], [high - mean]]
        axes.errorbar([mean], [row + 0.16], xerr=reach, fmt="D", color=INK, capsize=4, markersize=6)
    axes.set_yticks(list(rows), [_name(judged) for judged in summary.judged])
    axes.set_ylim(0.4, len(summary.judged) + 0.6)
    axes.set_xlabel("change of errors")
    axes.tick_params(axis="y", length=0)
    light_grid(axes, axis="x")
    set_margins(figure)
    told = "; ".join(
        f"{printable(judged.comparison.network)} against {printable(judged.comparison.reference)} "
        f"{plain_number(judged.difference.mean)}"
        for judged in summary.judged
    )
    legend = [
        legend_entry("one seed", style, line=False),
        LegendEntry("mean with 95 % interval", css_colour(INK), marker="M-6 0L0 -6L6 0L0 6z"),
    ]
    panel = Panel(to_svg(figure, "comparisons"), f"Mean change of errors: {told}.", wide=True)
    return ReportFigure("comparisons", "What made a difference", HOW_TO_READ, [panel], legend, columns=1)


def _name(judged: Judged) -> str:
    return f"{printable(judged.comparison.network)}\n− {printable(judged.comparison.reference)}"
