"""Motion vectors of a decoder as a field of displacements, followed back to the group's I-frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

CELL = 8  # pixels a side: the smallest block that decoders export vectors of
_MOST_CELLS = 8  # rows and columns of a block: 64 pixels
_GOOD_FIT = 24  # sum of absolute differences up to which no other frame is tried
_PROBES = np.array([[2, 2], [5, 2], [2, 5], [5, 5]], dtype=np.int32)  # pixels of a cell that are compared
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


def vector_fields(vectors: Array, *, height: int, width: int) -> tuple[Array, Array | None]:
    """Return the vectors of a frame cell by cell: those into the past, then those into the future.

    Args:
        vectors: a structured array with the fields of FFmpeg's ``AVMotionVector``: blocks (``w``, ``h``) around
            ``dst_x``, ``dst_y``, predicted from ``motion_x / motion_scale`` to the right and likewise down.
        height: of the frame in pixels.
        width: likewise.
    Returns:
        Float32, shape (rows, columns, 2): (right, down) in pixels, NaN where a cell has no such vector; of the second
        None where none looks into the future.
    """
    future = vectors["source"] > 0
    if not future.any():
        return _painted(vectors, height, width), None
    return _painted(vectors[~future], height, width), _painted(vectors[future], height, width)


def _painted(vectors: Array, height: int, width: int) -> Array:
    rows, columns = cells_of(height, width)
    room = columns + _MOST_CELLS  # blocks may reach over the edge
    field = np.full(((rows + _MOST_CELLS) * room, 2), np.nan, dtype=np.float32)
    block_height, block_width = vectors["h"], vectors["w"]
    top = (vectors["dst_y"] - (block_height >> 1)) >> 3
    left = (vectors["dst_x"] - (block_width >> 1)) >> 3
    first = top.astype(np.int32) * room + left
    first[(top < 0) | (left < 0) | (top >= rows) | (left >= columns)] = -1
    moved = np.empty((len(vectors), 2), dtype=np.float32)
    np.divide(vectors["motion_x"], vectors["motion_scale"], out=moved[:, 0], casting="unsafe")
    np.divide(vectors["motion_y"], vectors["motion_scale"], out=moved[:, 1], casting="unsafe")
    size = (block_height >> 3).astype(np.int32) * 64 + (block_width >> 3)
    for code in np.flatnonzero(np.bincount(size, minlength=1)).tolist():
        chosen = np.flatnonzero((size == code) & (first >= 0))
        down, right = (min(_MOST_CELLS, max(1, count)) for count in divmod(code, 64))
        inner = (np.arange(down, dtype=np.int32)[:, None] * room + np.arange(right, dtype=np.int32)).reshape(-1)
        for offset in inner.tolist():
            field[first[chosen] + offset] = moved[chosen]
    painted: Array = field.reshape(rows + _MOST_CELLS, room, 2)[:rows, :columns]
    return painted


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
    rows, columns = first.shape[:2]
    found = nearest.displacement.copy()
    flat = found.reshape(-1, 2)
    unknown = np.isnan(first[..., 0])
    moving = (first[..., 0] != 0) | (first[..., 1] != 0)
    moving[unknown] = False
    for field, _ in candidates[1:]:
        if field is not first:
            moving |= unknown & ~np.isnan(field[..., 0])
    tried = np.flatnonzero(moving).astype(np.int32)
    lowest = np.full(len(flat), np.inf, dtype=np.float32)
    last_field: Array | None = None
    vector: Array = np.empty(0)
    corner = place = vector
    for field, reference in candidates:
        if not len(tried):
            break
        if field is not last_field or len(vector) != len(tried):
            vector = field.reshape(-1, 2)[tried]
            corner = np.stack([tried % columns, tried // columns]) * np.int32(CELL)  # (right, down)
            place, last_field = corner + np.rint(np.nan_to_num(vector)).astype(np.int32).T, field
        own = _probed(luma, corner)
        total = np.abs(own - _probed(reference.luma, place)).sum(axis=0, dtype=np.float32)
        total[np.isnan(vector[:, 0])] = np.inf
        better = total < lowest[tried]
        if better.all():
            chosen, moved, from_corner = tried, vector, corner
        else:
            chosen, moved, from_corner = tried[better], vector[better], corner[:, better]
        end = (from_corner + (CELL // 2) + moved.T).astype(np.int32) >> 3
        at = _within(end[1], rows) * columns + _within(end[0], columns)
        flat[chosen] = moved + reference.displacement.reshape(-1, 2)[at]
        lowest[chosen] = total[better]
        tried = tried[lowest[tried] > _GOOD_FIT]
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
    row *= width
    row += column
    flat = image.reshape(height * width, *image.shape[2:])
    taken: Array = flat.take(row.reshape(-1), axis=0).reshape(image.shape)
    return taken


def _within(index: Array, count: int) -> Array:
    """Move indices into 0 .. count - 1, in place; faster than ``np.clip`` on small arrays."""
    np.maximum(index, 0, out=index)
    np.minimum(index, count - 1, out=index)
    return index


def _probed(luma: Array, place: Array) -> Array:
    """Four pixels of the cell at each place, int32 (2, n): right, down; moved into the frame. int16, shape (4, n)."""
    height, width = luma.shape
    right = _within(place[0] + _PROBES[:, 0, None], width)
    down = _within(place[1] + _PROBES[:, 1, None], height)
    probed: Array = luma[down, right].astype(np.int16)
    return probed
