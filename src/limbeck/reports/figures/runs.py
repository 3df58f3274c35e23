"""The students of several runs: errors seed by seed, and accuracy against size."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from statistics import fmean

from limbeck.records import RunRecord
from limbeck.reports.drawing import Panel, ReportFigure, legend_entry, new_figure, set_margins, to_svg
from limbeck.reports.log_ticks import write_few_log_ticks
from limbeck.reports.style import SERIES_STYLES, RoleStyle, light_grid
from limbeck.reports.summary import SummaryRow
from limbeck.reports.wording import percent, plain_number, printable, scaled

HOW_TO_READ = (
    "Each run has its mark. The first drawing shows the test errors of its student, a mark for each seed and a line "
    "for the mean; the second its mean accuracy against its size, on a logarithmic axis."
)


def runs_figure(rows: Mapping[str, SummaryRow | None], records: Mapping[str, RunRecord]) -> ReportFigure | None:
    """Draw the students of runs; None where none was tested."""
    styles = dict(zip(rows, cycle(SERIES_STYLES), strict=False))
    errors = {
        name: [value for role in row.roles for value in records[name].values(role, "errors").values()]
        for name, row in rows.items()
        if row is not None
    }
    errors = {name: values for name, values in errors.items() if values}
    if not errors:
        return None
    panels = [_errors_panel(errors, styles)]
    sized = {
        name: (row.values["parameters"].mean, row.values["accuracy"].mean)
        for name, row in rows.items()
        if row is not None and "accuracy" in row.values and "parameters" in row.values
    }
    if len({size for size, _ in sized.values()}) > 1:
        panels.append(_size_panel(sized, styles))
    legend = [legend_entry(name, styles[name], line=False) for name in errors]
    return ReportFigure("runs", "Run by run", HOW_TO_READ, panels, legend)


def _errors_panel(errors: Mapping[str, list[float]], styles: Mapping[str, RoleStyle]) -> Panel:
    figure = new_figure()
    axes = figure.add_subplot(title="Test errors of the students", ylabel="errors")
    for place, (name, values) in enumerate(errors.items()):
        style = styles[name]
        axes.plot([place] * len(values), values, style.marker, color=style.colour, alpha=0.6, markersize=6.5)
        axes.hlines(fmean(values), place - 0.25, place + 0.25, color=style.colour)
    axes.set_xticks([])
    axes.set_xlim(-0.6, len(errors) - 0.4)
    axes.margins(y=0.12)
    light_grid(axes, axis="y")
    set_margins(figure)
    told = ", ".join(f"{printable(name)} {plain_number(fmean(values))}" for name, values in errors.items())
    return Panel(to_svg(figure, "runs-errors"), f"Mean test errors of the student of each run: {told}.")


def _size_panel(sized: Mapping[str, tuple[float, float]], styles: Mapping[str, RoleStyle]) -> Panel:
    figure = new_figure()
    axes = figure.add_subplot(
        title="Accuracy against size", xscale="log", xlabel="parameters (log scale)", ylabel="test accuracy (%)"
    )
    for name, (size, accuracy) in sized.items():
        axes.plot([size], [100 * accuracy], styles[name].marker, color=styles[name].colour, markersize=7)
    axes.margins(0.15)
    write_few_log_ticks(axes.xaxis, scaled)
    light_grid(axes)
    set_margins(figure)
    told = "; ".join(f"{printable(name)} {percent(value)} at {scaled(size)}" for name, (size, value) in sized.items())
    return Panel(
        to_svg(figure, "runs-size"), f"Mean test accuracy of the student of each run against its size: {told}."
    )
