"""Motion vectors of a decoder as a field of displacements, followed back to the group's I-frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
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
    if not np.count_nonzero(future):
        return _painted([vectors], height, width)[0], None
    return _painted([vectors[~future]], height, width)[0], _painted([vectors[future]], height, width)[0]


def _painted(frames: Sequence[Array], height: int, width: int) -> Array:
    """Return the vectors of each of several frames cell by cell, shape (frames, rows, columns, 2)."""
    rows, columns = cells_of(height, width)
    room = columns + _MOST_CELLS  # blocks may reach over the edge
    size = (rows + _MOST_CELLS) * room
    field = np.full(len(frames) * size, complex(np.nan, np.nan), dtype=np.complex64)  # right + i down
    vectors = frames[0] if len(frames) == 1 else _joined(frames)
    begins = np.repeat(np.arange(len(frames)) * size, [len(frame) for frame in frames])
    top = (vectors["dst_y"] - (vectors["h"] >> 1)) >> 3
    left = (vectors["dst_x"] - (vectors["w"] >> 1)) >> 3
    inside = (top.view(np.uint16) < rows) & (left.view(np.uint16) < columns)  # 0 or more: as unsigned
    if np.count_nonzero(inside) < len(inside):
        vectors, begins, top, left = vectors[inside], begins[inside], top[inside], left[inside]
    moved = np.empty(len(vectors), dtype=np.complex64)
    np.divide(vectors["motion_x"], vectors["motion_scale"], out=moved.real, casting="unsafe")
    np.divide(vectors["motion_y"], vectors["motion_scale"], out=moved.imag, casting="unsafe")
    first = begins + top.astype(np.intp) * room + left
    last_row, last_column = ((vectors[side] >> 3).astype(np.intp) - 1 for side in ("h", "w"))  # -1: half a cell
    for row in range(min(_MOST_CELLS, 1 + int(last_row.max(initial=0)))):
        begin = first if row == 0 else first + room * _within(np.minimum(row, last_row), _MOST_CELLS)
        for column in range(min(_MOST_CELLS, 1 + int(last_column.max(initial=0)))):
            place = begin if column == 0 else begin + _within(np.minimum(column, last_column), _MOST_CELLS)
            field[place] = moved
    whole: Array = field.reshape(len(frames), -1, room)[:, :rows, :columns]
    return np.ascontiguousarray(whole).view(np.float32).reshape(*whole.shape, 2)


def follow_run(frames: Sequence[Array], displacement: Array, *, height: int, width: int) -> list[Array]:
    """Return :func:`follow` for frames of which each is predicted from the one before it alone: nothing is compared.

    Args:
        frames: the vectors of each, as the decoder tells them; those into the future are left out.
        displacement: of the frame before the first.
        height: of the frames in pixels.
        width: likewise.
    """
    is_past = [vectors["source"] <= 0 for vectors in frames]
    if not all(one.all() for one in is_past):
        frames = [vectors[past] for vectors, past in zip(frames, is_past, strict=True)]
    field = _painted(frames, height, width)
    moved = np.where(np.isnan(field), np.float32(0), field)
    rows, columns = field.shape[1:3]
    middles = _corners(rows, columns)[0] + np.float32(CELL // 2)
    right, down = ((moved[..., axis] + middles[..., axis]).astype(np.intp) >> 3 for axis in (0, 1))
    ends = _within(down, rows) * columns + _within(right, columns)
    before = displacement.view(np.complex64).reshape(-1)
    for found, at in zip(moved.view(np.complex64)[..., 0], ends, strict=True):
        found += before.take(at)
        before = found.reshape(-1)
    return list(moved)


def _joined(frames: Sequence[Array]) -> Array:
    """Concatenate as bytes: NumPy copies structured arrays field by field."""
    whole: Array = np.concatenate([vectors.view(f"V{vectors.itemsize}") for vectors in frames])
    return whole.view(frames[0].dtype)


@lru_cache(maxsize=16)
def _corners(rows: int, columns: int) -> tuple[Array, Array]:
    """Upper left corners of cells, (right, down) in pixels, float32 and as indices."""
    down, right = np.mgrid[:rows, :columns]
    places = np.stack([right, down], axis=-1).astype(np.intp) * CELL
    return places.astype(np.float32), places


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


def runs_of(image: Array) -> Array:
    """Return the runs of 8 pixels that begin at each pixel of an image whose edge goes on for a cell: one dimension.

    They overlap: a view of one copy of the image.

    Args:
        image: shape (height, width) or (height, width, channels).
    """
    height, width = image.shape[:2]
    padded = np.empty((height + 2 * CELL, width + 2 * CELL, *image.shape[2:]), dtype=image.dtype)
    padded[CELL:-CELL, CELL:-CELL] = image
    padded[:CELL], padded[-CELL:] = padded[CELL], padded[-CELL - 1]
    padded[:, :CELL], padded[:, -CELL:] = padded[:, CELL, None], padded[:, -CELL - 1, None]
    num_bytes = padded[0, 0].nbytes
    count = padded.nbytes // num_bytes - CELL + 1
    return np.ndarray(count, dtype=f"V{CELL * num_bytes}", buffer=padded, strides=(num_bytes,))


def warped(image: Array, displacement: Array, *, runs: Array | None = None) -> Array:
    """Return an image read at every pixel's place plus the displacement of its cell, rounded to whole pixels.

    What lies outside is read at the edge.

    Args:
        image: shape (height, width) or (height, width, channels).
        displacement: shape (rows, columns, 2).
        runs: ``runs_of(image)``, where it is at hand.
    """
    height, width = image.shape[:2]
    rows, columns = displacement.shape[:2]
    room = width + 2 * CELL
    place = np.rint(displacement).astype(np.intp)
    place += _corners(rows, columns)[1] + CELL
    begin = _within(place[..., 1], height + CELL + 1) * room
    begin += _within(place[..., 0], width + CELL + 1)
    taken = (runs_of(image) if runs is None else runs)[begin[:, None] + np.arange(0, CELL * room, room)[:, None]]
    whole: Array = taken.view(image.dtype).reshape(rows * CELL, columns * CELL, *image.shape[2:])
    return whole[:height, :width]


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
