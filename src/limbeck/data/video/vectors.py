"""Motion vectors of a decoder as a field of displacements, followed back to the group's I-frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

CELL = 8  # pixels a side: the smallest block that decoders export vectors of
_PROBES = (2, 5)  # rows and columns of a cell that are compared, to tell which frame a block was predicted from
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
        Two arrays, float32, shape (rows, columns, 2): (right, down) in pixels, NaN where a cell has no such vector.
    """
    rows, columns = cells_of(height, width)
    fields = np.full((2, rows * columns, 2), np.nan, dtype=np.float32)
    block_height, block_width = vectors["h"].astype(np.int64), vectors["w"].astype(np.int64)
    top = (vectors["dst_y"] - block_height // 2) // CELL
    left = (vectors["dst_x"] - block_width // 2) // CELL
    way = (vectors["source"] > 0).astype(np.int64)
    moved = np.empty((len(vectors), 2), dtype=np.float32)
    np.divide(vectors["motion_x"], vectors["motion_scale"], out=moved[:, 0], casting="unsafe")
    np.divide(vectors["motion_y"], vectors["motion_scale"], out=moved[:, 1], casting="unsafe")
    down, right = np.maximum(block_height // CELL, 1), np.maximum(block_width // CELL, 1)
    for row in range(int(down.max(initial=0))):
        for column in range(int(right.max(initial=0))):
            at_row, at_column = top + row, left + column
            inside = (down > row) & (right > column) & (at_row >= 0) & (at_row < rows)
            inside &= (at_column >= 0) & (at_column < columns)
            fields[way[inside], (at_row * columns + at_column)[inside]] = moved[inside]
    past, future = fields.reshape(2, rows, columns, 2)
    return past, future


def follow(luma: Array, candidates: Sequence[tuple[Array, Reference]]) -> Array:
    r"""Return a frame's displacement to the I-frame: its vectors, then those of what they point to.

    .. math:: D_t(x) = v_t(x) + D_r(x + v_t(x))

    A decoder says where a block was predicted from, not out of which of several frames. For every cell the candidate is
    taken whose content at the vector's end is nearest to the cell's (sum of absolute differences of four pixels); of
    equal ones the first. A cell that the first candidate moves by nothing, and one without vectors (an intra block),
    stays where it is in the first candidate's frame.

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
    for field, reference in candidates:
        vector = field.reshape(-1, 2)[cells]
        cost = np.abs(own - _probed(reference.luma, place + _whole(vector))).sum(axis=0, dtype=np.float32)
        cost[np.isnan(vector[:, 0])] = np.inf
        better = np.flatnonzero(cost < lowest)
        end = ((place[better] + CELL // 2 + vector[better]) // CELL).astype(np.int64)
        at = np.clip(end[:, 1], 0, rows - 1) * columns + np.clip(end[:, 0], 0, columns - 1)
        best[better] = vector[better] + reference.displacement.reshape(-1, 2)[at]
        lowest[better] = cost[better]
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
    row = np.clip(np.arange(height, dtype=np.int32)[:, None] + down, 0, height - 1)
    column = np.clip(np.arange(width, dtype=np.int32) + right, 0, width - 1)
    flat = image.reshape(height * width, *image.shape[2:])
    taken: Array = flat[(row * width + column).reshape(-1)].reshape(image.shape)
    return taken


def _whole(vector: Array) -> Array:
    whole: Array = np.rint(np.nan_to_num(vector)).astype(np.int64)
    return whole


def _probed(luma: Array, place: Array) -> Array:
    """Four pixels of the cell at each place (right, down), at the edge where it lies outside; int16, shape (4, n)."""
    height, width = luma.shape
    right = np.clip(place[:, 0] + np.array([_PROBES[0], _PROBES[1]] * 2)[:, None], 0, width - 1)
    down = np.clip(place[:, 1] + np.array([_PROBES[0]] * 2 + [_PROBES[1]] * 2)[:, None], 0, height - 1)
    probed: Array = luma[down, right].astype(np.int16)
    return probed
