"""Learning curves: training loss and validation errors, epoch by epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from limbeck.records import EpochRecord, NetworkRecord, RunRecord
from limbeck.reports.drawing import Panel, ReportFigure, legend_entry, new_figure, set_margins, to_svg
from limbeck.reports.style import INK, RoleStyle, light_grid, role_style
from limbeck.reports.summary import RunSummary, comparisons_of
from limbeck.reports.wording import plain_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HOW_TO_READ = (
    "Lines are means over seeds; bands reach from the lowest to the highest seed. Each mark is one seed at the epoch "
    "that its validation samples selected; the test samples had no part in that choice."
)
HOW_TO_READ_LOSSES = (
    " Training losses of different objectives are not comparable in height, only in shape; validation results are."
)
LOGARITHMIC_RANGE = 12  # highest over lowest value from which an axis becomes logarithmic
Curve = dict[int, list[float]]  # values of the seeds by epoch


def curves_figure(record: RunRecord, summary: RunSummary) -> ReportFigure | None:
    """Draw loss and validation curves of the students; None where no network has a history.

    The teacher's own training is not drawn, unless it is all there is; its validation errors are a horizontal line.
    """
    roles = record.roles()
    trained = {role: [n for n in record.networks if n.role == role and n.history] for role in roles}
    trained = {role: networks for role, networks in trained.items() if networks}
    compared = {role for one in comparisons_of(record) for role in (one.reference, one.network)}
    students = {role: networks for role, networks in trained.items() if role in compared}
    drawn = students or trained
    if not drawn:
        return None
    styles = {role: role_style(role, roles) for role in drawn}
    panels = []
    if any("total" in epoch.train for networks in drawn.values() for n in networks for epoch in n.history):
        panels.append(_panel("loss", drawn, styles, lambda epoch: epoch.train.get("total")))
    measure = _validation_measure(drawn)
    teacher = None
    if measure is not None:
        values = record.values("teacher", measure, split="validation") if "teacher" not in drawn else {}
        teacher = sum(values.values()) / len(values) if values else None
        panels.append(_panel(measure, drawn, styles, lambda epoch: epoch.validation.get(measure), record, teacher))
    if not panels:
        return None
    legend = [legend_entry(role, styles[role]) for role in drawn]
    if teacher is not None:
        legend.append(legend_entry("teacher (final)", role_style("teacher", roles), marker=False))
    how_to_read = HOW_TO_READ + (HOW_TO_READ_LOSSES if len(drawn) > 1 else "")
    return ReportFigure("curves", "Learning curves", how_to_read, panels, legend)


def _validation_measure(drawn: dict[str, list[NetworkRecord]]) -> str | None:
    epochs = [epoch for networks in drawn.values() for network in networks for epoch in network.history]
    return next((name for name in ("errors", "accuracy", "nll") if any(name in e.validation for e in epochs)), None)


def _panel(
    measure: str,
    drawn: dict[str, list[NetworkRecord]],
    styles: dict[str, RoleStyle],
    value: Callable[[EpochRecord], float | None],
    record: RunRecord | None = None,
    teacher: float | None = None,
) -> Panel:
    figure = new_figure()
    percent = 100 if measure == "accuracy" else 1
    counted = f"errors of {record.data.num_validation:,}" if record and record.data.num_validation else "errors"
    title, label = {
        "loss": ("Training loss", "loss (nats)"),
        "errors": ("Validation errors", counted),
        "accuracy": ("Validation accuracy", "accuracy (%)"),
        "nll": ("Validation NLL", "NLL (nats)"),
    }[measure]
    axes = figure.add_subplot(title=title, xlabel="epoch")
    everything: list[float] = [] if teacher is None else [percent * teacher]
    told = []
    for role, networks in drawn.items():
        curve = _curve(networks, value, percent)
        if not curve:
            continue
        everything += [v for values in curve.values() for v in values]
        _draw_curve(axes, curve, styles[role])
        if measure != "loss":
            _mark_selected(axes, networks, value, percent, styles[role])
        first, *_, last = [curve[epoch] for epoch in (min(curve), max(curve))]
        told.append(f"{role} from {_mean_text(first)} to {_mean_text(last)}")
    if teacher is not None:
        style = styles.get("teacher", role_style("teacher", ["teacher", "distilled"]))
        axes.axhline(percent * teacher, color=style.colour, linestyle=(0, style.dashes), linewidth=1.4)
        told.append(f"teacher {_mean_text([percent * teacher])}")
    logarithmic = (
        measure != "accuracy" and min(everything) > 0 and max(everything) > LOGARITHMIC_RANGE * min(everything)
    )
    if logarithmic:
        _logarithmic(axes)
    axes.set_ylabel(f"{label}, log scale" if logarithmic else label)
    _whole_epochs(axes)
    light_grid(axes)
    set_margins(figure)
    return Panel(to_svg(figure, f"curves-{measure}"), f"{title} by epoch: {'; '.join(told)}.")


def _curve(networks: list[NetworkRecord], value: Callable[[EpochRecord], float | None], factor: float) -> Curve:
    curve: Curve = {}
    for network in networks:
        for epoch in network.history:
            if (v := value(epoch)) is not None:
                curve.setdefault(epoch.epoch, []).append(factor * v)
    return dict(sorted(curve.items()))


def _draw_curve(axes: Axes, curve: Curve, style: RoleStyle) -> None:
    epochs = list(curve)
    means = [sum(values) / len(values) for values in curve.values()]
    axes.fill_between(
        epochs,
        [min(values) for values in curve.values()],
        [max(values) for values in curve.values()],
        color=style.colour,
        alpha=0.2,
        linewidth=0,
    )
    axes.plot(epochs, means, color=style.colour, linestyle=(0, style.dashes) if style.dashes else "-")
    if len(epochs) == 1:
        axes.plot(epochs, means, style.marker, color=style.colour)


def _mark_selected(
    axes: Axes,
    networks: list[NetworkRecord],
    value: Callable[[EpochRecord], float | None],
    factor: float,
    style: RoleStyle,
) -> None:
    for network in networks:
        for epoch in network.history:
            if epoch.epoch == network.selected_epoch and (v := value(epoch)) is not None:
                axes.plot([epoch.epoch], [factor * v], style.marker, color=style.colour, markeredgecolor=INK)


def _mean_text(values: list[float]) -> str:
    mean = sum(values) / len(values)
    return plain_number(mean) if abs(mean) >= 10 else f"{mean:.3g}"


def _logarithmic(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    digits = (1.0, 2.0, 5.0) if high / low < 100 else (1.0, 3.0) if high / low < 1000 else (1.0,)
    axes.yaxis.set_major_locator(LogLocator(base=10, subs=digits, numticks=20))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _whole_epochs(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, min_n_ticks=1))
