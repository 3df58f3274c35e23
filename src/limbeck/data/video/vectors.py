"""Motion vectors of a decoder as a field of displacements, followed back to the group's I-frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

CELL = 8  # pixels a side: the smallest block that decoders export vectors of
_MOST_CELLS = 8  # rows and columns of a block: 64 pixels
_GOOD_FIT = 24  # sum of absolute differences up to which no other frame is tried
_PROBES_RIGHT = np.array([[2], [5], [2], [5]])  # pixels of a cell that are compared, to tell which frame it came from
_PROBES_DOWN = np.array([[2], [2], [5], [5]])
Array: TypeAlias = "np.ndarray[Any, Any]"


@dataclass(frozen=True, eq=False)
class Reference:
    """A decoded frame that others are predicted from.

    Args:
        luma: uint8, shape (height, width).
        displacement: to its I-frame, float32, shape (rows, columns, 2): for each cell of 8 x 8 pixels (right, down)
            from the cell to where its content is in the I-frame.
    """

    luma: Array
    displacement: Array


def cells_of(height: int, width: int) -> tuple[int, int]:
    """Return rows and columns of cells that cover a frame.

    Example:
        >>> cells_of(64, 100)
        (8, 13)
    """
    return -(-height // CELL), -(-width // CELL)


def vector_fields(vectors: Array, *, height: int, width: int) -> tuple[Array, Array]:
    """Return the vectors of a frame cell by cell: those into the past, then those into the future.

    Args:
        vectors: a structured array with the fields of FFmpeg's ``AVMotionVector``: blocks (``w``, ``h``) around
            ``dst_x``, ``dst_y``, predicted from ``motion_x / motion_scale`` to the right and likewise down.
        height: of the frame in pixels.
        width: likewise.
    Returns:
        Two arrays, float32, shape (rows, columns, 2): (right, down) in pixels, NaN where a cell has no such vector, or
        one of 0 in a frame that looks at the past alone.
    """
    rows, columns = cells_of(height, width)
    room = columns + _MOST_CELLS  # blocks may reach over the edge
    fields = np.full((2, (rows + _MOST_CELLS) * room, 2), np.nan, dtype=np.float32)
    future = vectors["source"] > 0
    if not future.any():  # then a cell without a vector and one of 0 mean the same
        vectors = vectors[(vectors["motion_x"] != 0) | (vectors["motion_y"] != 0)]
        future = np.zeros(len(vectors), dtype=bool)
    block_height, block_width = vectors["h"].astype(np.int64), vectors["w"].astype(np.int64)
    top = (vectors["dst_y"] - block_height // 2) // CELL
    left = (vectors["dst_x"] - block_width // 2) // CELL
    first = np.where((top >= 0) & (left >= 0) & (top < rows) & (left < columns), top * room + left, -1)
    moved = np.empty((len(vectors), 2), dtype=np.float32)
    np.divide(vectors["motion_x"], vectors["motion_scale"], out=moved[:, 0], casting="unsafe")
    np.divide(vectors["motion_y"], vectors["motion_scale"], out=moved[:, 1], casting="unsafe")
    down, right = block_height // CELL, block_width // CELL
    for row in range(min(_MOST_CELLS, max(1, int(down.max(initial=0))))):
        for column in range(min(_MOST_CELLS, max(1, int(right.max(initial=0))))):
            inside = (first >= 0) & ((down > row) | (row == 0)) & ((right > column) | (column == 0))
            for way, chosen in ((0, inside & ~future), (1, inside & future)):
                fields[way, first[chosen] + row * room + column] = moved[chosen]
    past, coming = fields.reshape(2, rows + _MOST_CELLS, room, 2)[:, :rows, :columns]
    return past, coming


def follow(luma: Array, candidates: Sequence[tuple[Array, Reference]]) -> Array:
    r"""Return a frame's displacement to the I-frame: its vectors, then those of what they point to.

    .. math:: D_t(x) = v_t(x) + D_r(x + v_t(x))

    A decoder says where a block was predicted from, not out of which of several frames. For every cell the first
    candidate is taken whose content at the vector's end fits the cell's (sum of absolute differences of four pixels at
    most 24), otherwise the one that fits best. A cell that the first candidate moves by nothing, and one without
    vectors (an intra block), stays where it is in the first candidate's frame.

    Args:
        luma: of the frame, uint8, shape (height, width).
        candidates: vectors as :func:`vector_fields` gives them, and a frame that they may point into; the nearest
            frame first, at least one.
    Returns:
        float32, shape (rows, columns, 2): (right, down) in pixels.
    """
    first, nearest = candidates[0]
    found = nearest.displacement.copy()
    flat = found.reshape(-1, 2)
    unknown = np.isnan(first[..., 0])
    moving = first.any(axis=-1) & ~unknown
    for field, _ in candidates[1:]:
        if field is not first:
            moving |= unknown & ~np.isnan(field[..., 0])
    cells = np.flatnonzero(moving)
    if not len(cells):
        return found
    rows, columns = unknown.shape
    place = np.stack([cells % columns, cells // columns], axis=1) * CELL  # (right, down) of each cell's corner
    own = _probed(luma, place)
    best = np.zeros((len(cells), 2), dtype=np.float32)
    lowest = np.full(len(cells), np.inf, dtype=np.float32)
    tried = np.arange(len(cells))  # those whose fit is not good yet
    for field, reference in candidates:
        vector = field.reshape(-1, 2)[cells[tried]]
        known = ~np.isnan(vector[:, 0])
        vector[~known] = 0
        cost = np.abs(own[:, tried] - _probed(reference.luma, place[tried] + np.rint(vector).astype(np.int64)))
        total = np.where(known, cost.sum(axis=0, dtype=np.float32), np.float32(np.inf))
        better = np.flatnonzero(total < lowest[tried])
        chosen, vector = tried[better], vector[better]
        end = ((place[chosen] + CELL // 2 + vector) // CELL).astype(np.int64)
        at = _within(end[:, 1], rows) * columns + _within(end[:, 0], columns)
        best[chosen] = vector + reference.displacement.reshape(-1, 2)[at]
        lowest[chosen] = total[better]
        tried = tried[lowest[tried] > _GOOD_FIT]
        if not len(tried):
            break
    flat[cells] = best
    return found


def warped(image: Array, displacement: Array) -> Array:
    """Return an image read at every pixel's place plus the displacement of its cell, rounded to whole pixels.

    What lies outside is read at the edge.

    Args:
        image: shape (height, width) or (height, width, channels).
        displacement: shape (rows, columns, 2).
    """
    height, width = image.shape[:2]
    whole = np.rint(displacement).astype(np.int32)
    down = whole[..., 1].repeat(CELL, axis=0).repeat(CELL, axis=1)[:height, :width]
    right = whole[..., 0].repeat(CELL, axis=0).repeat(CELL, axis=1)[:height, :width]
    row = _within(np.arange(height, dtype=np.int32)[:, None] + down, height)
    column = _within(np.arange(width, dtype=np.int32) + right, width)
    flat = image.reshape(height * width, *image.shape[2:])
    taken: Array = flat[(row * width + column).reshape(-1)].reshape(image.shape)
    return taken


def _within(index: Array, count: int) -> Array:
    """Return indices moved into 0 .. count - 1; faster than ``np.clip`` on small arrays."""
    return np.minimum(np.maximum(index, 0), count - 1)


def _probed(luma: Array, place: Array) -> Array:
    """Four pixels of the cell at each place (right, down), at the edge where it lies outside; int16, shape (4, n)."""
    height, width = luma.shape
    right = _within(place[:, 0] + _PROBES_RIGHT, width)
    down = _within(place[:, 1] + _PROBES_DOWN, height)
    probed: Array = luma[down, right].astype(np.int16)
    return probed
