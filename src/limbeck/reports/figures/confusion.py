"""Confusion matrices side by side, and the pairs of classes that are taken for each other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from limbeck.records import RunRecord
from limbeck.reports.confusions import Matrix, summed_confusions
from limbeck.reports.drawing import (
    INK,
    PAPER,
    LegendEntry,
    Panel,
    ReportFigure,
    css_colour,
    new_figure,
    to_svg,
)
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
    "Rows are the true classes, columns what the network answered. Right answers lie on the diagonal (blue); everything "
    "off it is a mistake (orange). A cell is as dark as the square root of its share of the row, so that rare mistakes "
    "still show. "
)

def confusion_figure(record: RunRecord) -> ReportFigure | None:
    """Draw one matrix per role, summed over its seeds; None where no network has one."""
    sums = list(summed_confusions(record).items())[-MAIN_ROLES:]
    if not sums:
        return None
    names = [printable(name, limit=12) for name in record.data.class_names]
    with_digits = len(names) <= MOST_CELLS_WITH_DIGITS
    panels = [
        _panel(role, matrix, count, names, with_digits=with_digits, first=place == 0)
        for place, (role, (matrix, count)) in enumerate(sums)
    ]
    how_to_read = HOW_TO_READ + (
        "Numbers are test samples, summed over seeds."
        if with_digits
        else f"With {len(names)} classes the cells are too small for numbers: the most confused pairs are listed below."
    )
    if len(names) > MOST_PIXELS:
        how_to_read += " Neighbouring classes share a pixel."
    legend = [LegendEntry(f"right, {share} %", css_colour(RIGHT), opacity=math.sqrt(share / 100)) for share in (100,)]
    legend += [
        LegendEntry(f"{share} %", css_colour(WRONG), opacity=math.sqrt(share / 100)) for share in (1, 5, 20, 50)
    ]
    legend[1] = LegendEntry("mistaken, 1 %", css_colour(WRONG), opacity=0.1)
    return ReportFigure("confusion", "Which classes are taken for which", how_to_read, panels, legend)


def _panel(role: str, matrix: Matrix, count: int, names: list[str], *, with_digits: bool, first: bool) -> Panel:
    wrong = sum(value for i, row in enumerate(matrix) for j, value in enumerate(row) if i != j)
    wide = with_digits and len(names) > MOST_CLASSES_ON_A_PHONE
    side = 302.0 if not wide else 24.0 * len(names) + 60
    figure = new_figure(width=side, height=side)
    networks = f", {count} seeds" if count > 1 else ""
    axes = figure.add_subplot(title=f"{printable(role, limit=24)}: {plain_number(wrong)} errors{networks}")
    if with_digits:
        _draw_cells(axes, matrix)
        turned = max(len(name) for name in names) > 3
        axes.set_xticks(range(len(names)), names, rotation=90 if turned else 0)
        axes.set_yticks(range(len(names)), names)
    else:
        _draw_pixels(axes, matrix)
    axes.set_xlabel("class answered")
    axes.set_ylabel("true class")
    axes.tick_params(length=0 if with_digits else 3)
    axes.set_aspect("equal")
    for spine in axes.spines.values():
        spine.set(visible=True, alpha=0.35)
    total = sum(map(sum, matrix))
    alternative = f"Confusion matrix of the {role}: {wrong:,} of {total:,} answers are wrong."
    key = "confusion-" + "".join(c if c.isascii() and c.isalnum() else f"-{ord(c):x}" for c in role)
    return Panel(to_svg(figure, key), printable(alternative), wide=wide)


def _draw_cells(axes: Axes, matrix: Matrix) -> None:
    from matplotlib.patches import Rectangle

    size = len(matrix)
    axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5))
    digits = max(len(str(value)) for row in matrix for value in row)
    fontsize = min(9.0, 238 / size / (0.68 * max(digits, 2))) if size <= MOST_CLASSES_ON_A_PHONE else 8.0
    for i, row in enumerate(matrix):
        for j, value in enumerate(row):
            if not value:
                continue
            opacity = math.sqrt(value / sum(row))
            colour = RIGHT if i == j else WRONG
            axes.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor=colour, alpha=opacity, linewidth=0))
            ink = PAPER if opacity > DARK_CELL else INK
            axes.text(j, i, str(value), ha="center", va="center_baseline", fontsize=fontsize, color=ink)


def _draw_pixels(axes: Axes, matrix: Matrix) -> None:
    import numpy as np

    counts = np.asarray(matrix, dtype=np.float64)
    size = len(counts)
    step = math.ceil(size / MOST_PIXELS)
    edges = np.arange(0, size, step)
    diagonal = np.add.reduceat(np.diag(counts), edges)
    blocks = np.add.reduceat(np.add.reduceat(counts, edges, axis=0), edges, axis=1)
    totals = np.maximum(blocks.sum(axis=1, keepdims=True), 1)
    wrong = blocks.copy()
    np.fill_diagonal(wrong, 0)
    pixels = np.zeros((*blocks.shape, 4))
    pixels[..., :3] = (0.88, 0.42, 0.05)
    pixels[..., 3] = np.sqrt(wrong / totals)
    middle = np.arange(len(edges))
    pixels[middle, middle] = np.column_stack([np.tile((0.16, 0.52, 0.80), (len(edges), 1)), np.sqrt(diagonal / totals[:, 0])])
    axes.imshow(pixels, interpolation="none", extent=(-0.5, size - 0.5, size - 0.5, -0.5))
