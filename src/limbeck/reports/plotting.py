"""A run or a search as one matplotlib figure, in the style of the reports; and as HTML for a notebook."""

from __future__ import annotations

import io
from html import escape
from statistics import fmean
from typing import TYPE_CHECKING, Any

from limbeck.records import RunRecord
from limbeck.records.notebook import html_table
from limbeck.records.search_record import SearchRecord
from limbeck.reports.drawing import POINTS_PER_INCH
from limbeck.reports.facts import summary_tables
from limbeck.reports.figures.search_front import draw_candidates
from limbeck.reports.style import drawing_style, light_grid, role_style
from limbeck.reports.summary import summarise_run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 576, 216  # points
DOTS_PER_INCH = 110


def plot_run(record: RunRecord) -> Figure:
    """Draw the test errors of every network, a mark a seed, and the validation errors by epoch, mean over seeds.

    The figure belongs to no window and no pyplot state; ``figure.savefig`` writes it.
    """
    from matplotlib.figure import Figure

    with drawing_style():
        figure = Figure(figsize=(WIDTH / POINTS_PER_INCH, HEIGHT / POINTS_PER_INCH), layout="constrained")
        tested, curves = figure.subplots(1, 2)
        _draw_tested(tested, record)
        _draw_curves(curves, record)
    return _showing_itself(figure)


def plot_search(record: SearchRecord) -> Figure:
    """Draw the validation accuracy of every candidate against its cost; the front is named."""
    with drawing_style():
        points = [point for point in record.points if point.cost > 0]
        figure, _, _ = draw_candidates(record, points, with_tips=False)
        figure.axes[0].legend(loc="lower right", frameon=False)
    return _showing_itself(figure)


def summary_html(record: RunRecord) -> str:
    """Return verdict, evidence and tables of a run as HTML, for a notebook."""
    summary = summarise_run(record)
    tables = [html_table(table.headings, table.rows, caption=table.caption) for table in summary_tables(summary)]
    return f"<p><strong>{escape(summary.verdict)}</strong> {escape(summary.evidence)}</p>{''.join(tables)}"


def _draw_tested(axes: Axes, record: RunRecord) -> None:
    roles = [role for role in record.roles() if record.values(role, "errors")]
    for place, role in enumerate(roles):
        style, errors = role_style(role, record.roles()), list(record.values(role, "errors").values())
        axes.plot([place] * len(errors), errors, style.marker, color=style.colour, alpha=0.6)
        axes.hlines(fmean(errors), place - 0.25, place + 0.25, color=style.colour)
    axes.set_xticks(range(len(roles)), roles)
    axes.set_xlim(-0.6, max(len(roles), 1) - 0.4)
    axes.set_title("Test errors: a mark a seed, a line for the mean")
    axes.set_ylabel(f"errors of {record.data.num_test:,}")
    light_grid(axes, axis="y")


def _draw_curves(axes: Axes, record: RunRecord) -> None:
    for role in record.roles():
        histories = [network.history for network in record.networks if network.role == role]
        by_epoch: dict[int, list[float]] = {}
        for epoch in (epoch for history in histories for epoch in history if "errors" in epoch.validation):
            by_epoch.setdefault(epoch.epoch, []).append(epoch.validation["errors"])
        if by_epoch:
            style = role_style(role, record.roles())
            dashes = (0, style.dashes) if style.dashes else "-"
            means = [fmean(values) for values in by_epoch.values()]
            axes.plot(list(by_epoch), means, color=style.colour, linestyle=dashes, label=role)
    axes.set_title("Validation errors")
    axes.set_xlabel("epoch")
    if axes.lines:
        axes.legend(frameon=False)
    light_grid(axes)


def _showing_itself(figure: Any) -> Figure:
    """Return the figure with what IPython shows it by, whether or not pyplot was imported."""

    def png() -> bytes:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, facecolor="white")
        return buffer.getvalue()

    figure._repr_png_ = png
    shown: Figure = figure
    return shown
