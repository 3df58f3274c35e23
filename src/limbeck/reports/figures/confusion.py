"""Confusion matrices side by side, and the pairs of classes that are taken for each other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from limbeck.records import RunRecord
from limbeck.reports.confusions import Cells, summed_confusions
from limbeck.reports.drawing import LARGE, LegendEntry, Panel, ReportFigure, new_figure, set_margins, to_svg
from limbeck.reports.style import INK, PAPER, css_colour
from limbeck.reports.wording import plain_number, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_CELLS_WITH_DIGITS = 20  # classes
MOST_CLASSES_ON_A_PHONE = 12  # more with digits, and the drawing scrolls
MOST_PIXELS = 400  # a side: neighbouring classes share a pixel above that
MAIN_ROLES = 4  # matrices drawn
RIGHT, WRONG = "#004b78", "#b34700"
DARK_CELL = 0.71  # opacity from which a digit is written in the page's colour
HOW_TO_READ = (
    "Rows are the true classes, columns the predicted ones. Correct predictions lie on the diagonal (blue); what is "
    "off it is a mistake (orange). The larger its share of the row, the stronger a cell's colour; small shares are "
    "exaggerated, so that rare mistakes still show. "
)


def confusion_figure(record: RunRecord) -> ReportFigure | None:
    """Draw one matrix per role, summed over its seeds; None where no network has one."""
    sums = list(summed_confusions(record).items())[-MAIN_ROLES:]
    if not sums:
        return None
    names = [printable(name, limit=12) for name in record.data.class_names]
    with_digits = len(names) <= MOST_CELLS_WITH_DIGITS
    panels = [_panel(role, cells, count, names, with_digits=with_digits) for role, (cells, count) in sums]
    how_to_read = HOW_TO_READ + (
        "Numbers are test samples, summed over seeds."
        if with_digits
        else f"With {len(names)} classes the cells are too small for numbers: the most confused pairs are listed below."
    )
    if len(names) > MOST_PIXELS:
        how_to_read += " Neighbouring classes share a pixel."
    legend = [LegendEntry("right, 100 % of the row", css_colour(RIGHT), opacity=1.0)] + [
        LegendEntry(f"{told}{share} %", css_colour(WRONG), opacity=cell_opacity(share / 100))
        for told, share in (("mistaken, ", 1), ("", 5), ("", 20), ("", 50))
    ]
    columns = 2 if any(panel.wide for panel in panels) else 3
    return ReportFigure("confusion", "Which classes are taken for which", how_to_read, panels, legend, columns)


def cell_opacity(share: float) -> float:
    """Return how strongly a cell is coloured: the square root of its share of the row, but never so weak as to vanish.

    Example:
        >>> cell_opacity(0.0), cell_opacity(0.25), cell_opacity(1.0)
        (0.0, 0.55, 1.0)
    """
    return 0.1 + 0.9 * math.sqrt(share) if share > 0 else 0.0


def _panel(role: str, cells: Cells, count: int, names: list[str], *, with_digits: bool) -> Panel:
    wrong = sum(value for (i, j), value in cells.items() if i != j)
    wide = with_digits and len(names) > MOST_CLASSES_ON_A_PHONE
    figure = new_figure(columns=3, width=LARGE if wide else None)
    networks = f", {count} seeds" if count > 1 else ""
    axes = figure.add_subplot(title=f"{printable(role, limit=24)}: {plain_number(wrong)} errors{networks}")
    turned = with_digits and max(len(name) for name in names) > 3
    if with_digits:
        _draw_cells(axes, cells, len(names))
        axes.set_xticks(range(len(names)), names)
        axes.tick_params(axis="x", labelrotation=90 if turned else 0)
        axes.set_yticks(range(len(names)), names)
    else:
        _draw_pixels(axes, cells, len(names))
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.tick_params(length=0 if with_digits else 3)
    set_margins(figure, square=True, turned=turned)
    for spine in axes.spines.values():
        spine.set(visible=True, alpha=0.35)
    total = sum(cells.values())
    alternative = f"Confusion matrix of the {role}: {wrong:,} of {total:,} predictions are wrong."
    key = "confusion-" + "".join(c if c.isascii() and c.isalnum() else f"-{ord(c):x}" for c in role)
    return Panel(to_svg(figure, key), printable(alternative), wide=wide)


def _draw_cells(axes: Axes, cells: Cells, size: int) -> None:
    from matplotlib.patches import Rectangle

    axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5))
    digits = max(len(str(value)) for value in cells.values())
    fontsize = min(9.0, (190 if size <= MOST_CLASSES_ON_A_PHONE else 340) / size / (0.68 * max(digits, 2)))
    totals = [0] * size
    for (i, _), value in cells.items():
        totals[i] += value
    for (i, j), value in sorted(cells.items()):
        opacity = cell_opacity(value / totals[i])
        colour = RIGHT if i == j else WRONG
        axes.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor=colour, alpha=opacity, linewidth=0))
        ink = PAPER if opacity > DARK_CELL else INK
        axes.text(j, i, str(value), ha="center", va="center_baseline", fontsize=fontsize, color=ink)


def _draw_pixels(axes: Axes, cells: Cells, size: int) -> None:
    import numpy as np

    step = math.ceil(size / MOST_PIXELS)
    true, predicted = np.array(list(cells), dtype=np.int64).T
    counts = np.array(list(cells.values()), dtype=np.float64)
    side = math.ceil(size / step)
    blocks, diagonal = np.zeros((side, side)), np.zeros(side)
    np.add.at(blocks, (true // step, predicted // step), counts)
    np.add.at(diagonal, true[true == predicted] // step, counts[true == predicted])
    totals = np.maximum(blocks.sum(axis=1, keepdims=True), 1)
    wrong = blocks.copy()
    np.fill_diagonal(wrong, 0)
    pixels = np.zeros((*blocks.shape, 4))
    pixels[..., :3] = (0.88, 0.42, 0.05)
    pixels[..., 3] = np.where(wrong > 0, 0.1 + 0.9 * np.sqrt(wrong / totals), 0)
    middle = np.arange(side)
    on_diagonal = (diagonal > 0) & (diagonal >= np.diag(blocks) / 2)
    pixels[middle[on_diagonal], middle[on_diagonal], :3] = (0.16, 0.52, 0.80)
    pixels[middle, middle, 3] = np.sqrt(np.diag(blocks) / totals[:, 0])
    edge = (-0.5, size - 0.5, size - 0.5, -0.5)
    axes.imshow(pixels, interpolation="none", extent=edge, aspect="auto")
