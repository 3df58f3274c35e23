"""The covariance of predictions as cells, its classes ordered by the specialists that learn them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from limbeck.errors import InvalidValue, ShapeMismatch
from limbeck.reports.drawing import new_figure, text_width
from limbeck.reports.style import INK
from limbeck.reports.wording import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#d55e00", "#ffffff", "#0072b2")  # below 0, 0, above 0: told apart by colour-blind eyes
OWN_VARIANCE = "#c8c8c8"
MOST_NAMED = 60  # classes with a name of their own
SIDE = 400.0  # points of the matrix
LONGEST_NAME = 16  # characters
_STRIP = 11.0  # points of a specialist's column
_STRIP_LIMITS = (60.0, 220.0)  # points of all of them
Floats = npt.NDArray[np.float64]


def order_by_set(covariance: Floats, class_sets: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return the classes drawn with each set, then those of no set: one list more than there are sets.

    Example:
        >>> covariance = np.array([[3.0, 0, 0, 1], [0, 3, 1, 2], [0, 1, 3, 0], [1, 2, 0, 3]])
        >>> order_by_set(covariance, [[0, 3], [1, 3]])
        [[0], [1, 3], [2]]
    """
    blocks: list[list[int]] = [[] for _ in range(len(class_sets) + 1)]
    for number in range(len(covariance)):
        holders = [index for index, members in enumerate(class_sets) if number in members]
        likeness = [_mean_with(covariance, number, class_sets[index]) for index in holders]
        blocks[holders[int(np.argmax(likeness))] if holders else -1].append(number)
    return [_chained(covariance, block) for block in blocks]


def _chained(covariance: Floats, block: list[int]) -> list[int]:
    """Begin with the class that varies most with the rest; let each be followed by the one it varies most with."""
    left = sorted(block, key=lambda number: -_mean_with(covariance, number, block))
    chain = left[:1]
    left = left[1:]
    while left:
        chain.append(left.pop(int(np.argmax(covariance[chain[-1], left]))))
    return chain


def _mean_with(covariance: Floats, number: int, members: Sequence[int]) -> float:
    """Return the mean covariance of a class with the others of a set."""
    others = [other for other in members if other != number]
    return float(covariance[number, others].mean()) if others else 0.0


def draw_class_sets(
    covariance: Floats, blocks: list[list[int]], class_sets: Sequence[Sequence[int]], names: list[str], title: str
) -> Figure:
    """Draw the matrix, the sets beside it, and the scale of colours, within ``drawing_style``."""
    order = [number for block in blocks for number in block]
    named = len(order) <= MOST_NAMED
    labels = [printable(names[number], limit=LONGEST_NAME) for number in order]
    size = min(8.5, 0.9 * SIDE / len(order))
    left = 22.0 + (max(text_width(label, size) for label in labels) if named else 34.0)
    strip = min(max(_STRIP * len(class_sets), _STRIP_LIMITS[0]), _STRIP_LIMITS[1])
    bottom, top, gap, bar = 40.0, 44.0, 10.0, 72.0
    width, height = left + SIDE + gap + strip + bar, bottom + SIDE + top
    figure = new_figure(width=width, height=height)

    def place(start: float, across: float) -> Axes:
        return figure.add_axes((start / width, bottom / height, across / width, SIDE / height))

    axes = place(left, SIDE)
    _draw_matrix(axes, covariance[np.ix_(order, order)], blocks)
    if named:
        axes.set_yticks(range(len(order)), labels, fontsize=size)
    axes.set_xlabel("class, in the same order")
    axes.set_ylabel("class" if named else f"class ({len(order)}, in the order of the sets)")
    _draw_sets(place(left + SIDE + gap, strip), order, class_sets)
    _draw_scale(place(left + SIDE + gap + strip + 12.0, 11.0), _largest(covariance))
    figure.text(left / width, 1 - 18.0 / height, printable(title), fontsize=11, fontweight="bold")
    return figure


def _draw_matrix(axes: Axes, ordered: Floats, blocks: list[list[int]]) -> None:
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.patches import Rectangle

    shades = _rooted(ordered / _largest(ordered))
    np.fill_diagonal(shades, np.nan)
    colours = LinearSegmentedColormap.from_list("covariance", COLOURS).with_extremes(bad=OWN_VARIANCE)
    axes.imshow(shades, cmap=colours, vmin=-1, vmax=1, interpolation="nearest", aspect="auto")
    axes.tick_params(length=0 if len(ordered) <= MOST_NAMED else 3)
    axes.set_xticks([])
    if len(ordered) > MOST_NAMED:
        power = 10 ** math.floor(math.log10(len(ordered) / 2))
        step = power if len(ordered) / power >= 4 else power // 2
        axes.set_yticks(range(0, len(ordered), step), [str(place) for place in range(0, len(ordered), step)])
    start = 0
    for index, block in enumerate(blocks):
        if block and index < len(blocks) - 1:
            corner = (start - 0.5, start - 0.5)
            axes.add_patch(Rectangle(corner, len(block), len(block), fill=False, edgecolor=INK, linewidth=1.1))
        start += len(block)
    for spine in axes.spines.values():
        spine.set(visible=True, alpha=0.35)


def _draw_sets(axes: Axes, order: list[int], class_sets: Sequence[Sequence[int]]) -> None:
    """One column for each set: dark where it holds the class of that row."""
    holds = np.array([[number in set(members) for members in class_sets] for number in order], dtype=np.float64)
    axes.imshow(holds, cmap="Greys", vmin=0, vmax=1.25, interpolation="nearest", aspect="auto")
    every = max(1, math.ceil(len(class_sets) * _STRIP / _STRIP_LIMITS[1]))
    shown = range(0, len(class_sets), every)
    axes.set_xticks(shown, [str(index) for index in shown], fontsize=7.5)
    axes.set_xticks([index + 0.5 for index in range(len(class_sets) - 1)], minor=True)
    axes.grid(axis="x", which="minor", color=INK, alpha=0.2, linewidth=0.6)
    axes.tick_params(which="both", length=0)
    axes.set_yticks([])
    axes.set_xlabel("specialist")
    axes.set_title("its classes", fontsize=9, fontweight="normal")
    for spine in axes.spines.values():
        spine.set(visible=True, alpha=0.35)


def _draw_scale(axes: Axes, largest: float) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list("covariance", COLOURS)
    shades = np.linspace(1, -1, 256)[:, None]
    axes.imshow(shades, cmap=colours, vmin=-1, vmax=1, aspect="auto", extent=(0, 1, -1, 1))
    axes.set_xticks([])
    axes.yaxis.tick_right()
    ticks = (-1.0, -0.25, 0.0, 0.25, 1.0)
    texts = [f"{part * largest:.1e}".replace("-", "−") if part else "0" for part in ticks]
    axes.set_yticks([float(_rooted(np.array(part))) for part in ticks], texts, fontsize=7.5)
    axes.set_title("covariance", fontsize=9, fontweight="normal")
    for spine in axes.spines.values():
        spine.set(visible=True, alpha=0.35)


def _rooted(parts: Floats) -> Floats:
    rooted: Floats = np.sign(parts) * np.sqrt(np.abs(parts))
    return np.clip(rooted, -1, 1)


def _largest(covariance: Floats) -> float:
    """Return the largest covariance of two different classes, by size."""
    between = np.abs(covariance)[~np.eye(len(covariance), dtype=bool)]
    return float(between.max(initial=0.0)) or 1.0


def checked_covariance(
    covariance: npt.ArrayLike, class_sets: Sequence[Sequence[int]], class_names: Sequence[str] | None
) -> Floats:
    """Return the covariance in float64, or raise ShapeMismatch or InvalidValue."""
    values = np.asarray(covariance, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] != values.shape[1] or not len(values):
        raise ShapeMismatch("A covariance matrix is square.", received=values.shape, expected="(classes, classes)")
    if not np.isfinite(values).all():
        raise InvalidValue("The covariance matrix holds NaN or infinity.", expected="finite numbers")
    if class_names is not None and len(class_names) != len(values):
        raise ShapeMismatch(
            "There must be one name per class.", received=f"{len(class_names)} names", expected=f"{len(values)} names"
        )
    unknown = [number for members in class_sets for number in members if not 0 <= number < len(values)]
    if unknown or not class_sets:
        raise InvalidValue(
            f"There is no class {unknown[0]}." if unknown else "There are no class sets to draw.",
            expected=f"lists of class numbers from 0 to {len(values) - 1}",
        )
    return values
