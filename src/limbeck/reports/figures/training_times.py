"""What the networks of a reproduction cost to train, one bar for each name."""

from __future__ import annotations

from limbeck.reports.drawing import (
    Panel,
    ReportFigure,
    new_figure,
    set_margins,
    to_svg,
)
from limbeck.reports.facts import duration
from limbeck.reports.style import ROLE_STYLES, light_grid
from limbeck.reports.wording import printable
from limbeck.reproduction import ReproductionRecord

HOW_TO_READ = "Bars are the minutes that all seeds of a network took together, whenever they were trained."
WIDTH, ROW_HEIGHT, FRAME_HEIGHT = 400.0, 22.0, 56.0  # points
SECONDS_PER_MINUTE = 60.0


def training_times_figure(record: ReproductionRecord, key: str) -> ReportFigure | None:
    """Draw the training time of each network's seeds together; None where no network was trained."""
    if not record.networks:
        return None
    seconds: dict[str, float] = {}
    for network in record.networks:
        name = network.name.replace("_", " ")
        seconds[name] = seconds.get(name, 0.0) + network.training_seconds
    drawing = new_figure(width=WIDTH, height=FRAME_HEIGHT + ROW_HEIGHT * len(seconds))
    axes = drawing.add_subplot(xlabel="minutes of training, all seeds")
    minutes = [value / SECONDS_PER_MINUTE for value in seconds.values()]
    axes.barh(range(len(seconds)), minutes, height=0.6, color=ROLE_STYLES["distilled"].colour)
    axes.set_yticks(range(len(seconds)), [printable(name) for name in seconds])
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    light_grid(axes, axis="x")
    set_margins(drawing)
    told = "; ".join(f"{printable(name)} {duration(value)}" for name, value in seconds.items())
    panel = Panel(to_svg(drawing, key), f"Training time: {told}.", wide=True)
    return ReportFigure(key, "What it took", HOW_TO_READ, [panel], columns=1)
