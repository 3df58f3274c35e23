"""The frames of a clip that a network sees, and their three streams in the shape that training reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from limbeck.bounds import require_image_memory
from limbeck.data.video.following import BFrames, CodedFrame
from limbeck.data.video.reading import B_FRAMES, read_clip
from limbeck.data.video.vectors import CELL, Array
from limbeck.errors import DataError, InvalidValue, unknown_name

STREAMS = {"iframe": (3, np.uint8), "motion": (2, np.int8), "residual": (3, np.int8)}  # channels, as stored
MOTION_STEPS = 4  # stored vectors count quarters of a pixel: up to 31.75 pixels
_HELD = 1024  # frames of a longer clip are not held all at once: it is decoded twice


@dataclass(frozen=True)
class SegmentSettings:
    """Which frames of a clip are read, and how.

    The P-frames of a clip (with ``b_frames="use"`` B-frames, too) are cut into segments of equal length. Of each, some
    frames are stored, evenly spread; a view sees one of them, the clean view the middle one.

    Args:
        num_segments: T, what a network sees of a clip, at least 1.
        num_choices: frames stored for each segment, at least 1.
        image_size: cut each frame square around its middle and resize it to this many pixels a side; None for none.
        b_frames: see :func:`read_clip`.
    Raises:
        InvalidValue: a number below 1.
        UnknownName: another word for ``b_frames``.
    """

    num_segments: int = 3
    num_choices: int = 3
    image_size: int | None = None
    b_frames: BFrames = "skip"

    def __post_init__(self) -> None:
        for name in ("num_segments", "num_choices", "image_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidValue(f"{name} must be at least 1.", received=value)
        if self.b_frames not in B_FRAMES:
            raise unknown_name("way with B-frames", self.b_frames, B_FRAMES)


def chosen_frames(num_frames: int, *, num_segments: int, num_choices: int) -> Array:
    """Return which of a clip's frames are stored, int64, shape (segments, choices), ascending.

    Example:
        >>> chosen_frames(12, num_segments=3, num_choices=2).tolist()
        [[1, 3], [5, 7], [9, 11]]
    """
    bounds = np.arange(num_segments + 1) * num_frames // num_segments
    length = np.diff(bounds)[:, None]
    within = ((np.arange(num_choices) + 0.5) * length / num_choices).astype(np.int64)
    chosen: Array = bounds[:-1, None] + within
    return chosen


def read_segments(
    path: str | Path,
    settings: SegmentSettings,
    *,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
) -> dict[str, Array]:
    """Return the streams of a clip's stored frames.

    ``iframe`` is the I-frame of the frame's group in RGB; ``motion`` how far each place's content has moved since, in
    quarters of a pixel (of the resized frame) to the right and down, 127 at most; ``residual`` the frame less the moved
    I-frame, between -127 and 127.

    Args:
        path: see :func:`read_clip`.
        settings: which frames.
        start_seconds: where the clip begins in the file; None for the file's beginning.
        end_seconds: where it ends.
    Returns:
        By name, shape (segments, choices, channels, height, width); uint8 for ``iframe``, int8 for the others.
    Raises:
        DataError: what ``read_clip`` refuses, or fewer frames with vectors than segments.
    """
    span = {"start_seconds": start_seconds, "end_seconds": end_seconds}
    held: list[CodedFrame] = []
    if settings.image_size is not None:
        size = settings.image_size
        require_image_memory(size, size, f"pictures of {size} x {size}")
    count = 0
    for frame in read_clip(path, b_frames=settings.b_frames, **span):
        if frame.kind != "I":
            count += 1
            if count <= _HELD:
                held.append(frame)
    if count < settings.num_segments:
        raise DataError(
            f"{path} is too short for {settings.num_segments} segments.",
            received=f"{count} frame(s) with motion vectors",
            expected=f"at least {settings.num_segments}",
            remedy="ask for fewer segments (--segments), use B-frames (--b-frames use), or leave the clip out "
            "(--skip-broken)",
        )
    chosen = chosen_frames(count, num_segments=settings.num_segments, num_choices=settings.num_choices)
    wanted = set(chosen.reshape(-1).tolist())
    if count <= _HELD:
        streams = {number: _streams_of(held[number]) for number in wanted}
    else:
        held.clear()
        again = (frame for frame in read_clip(path, b_frames=settings.b_frames, **span) if frame.kind != "I")
        streams = {number: _streams_of(frame) for number, frame in enumerate(again) if number in wanted}
    stacked = np.stack([streams[number] for number in chosen.reshape(-1).tolist()])
    sized = stacked if settings.image_size is None else _resized(stacked, settings.image_size)
    return _as_stored(sized, settings)


def centre_square(height: int, width: int) -> tuple[slice, slice]:
    """Return rows and columns of the largest square around the middle."""
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return slice(top, top + side), slice(left, left + side)


def _streams_of(frame: CodedFrame) -> Array:
    """I-frame, motion in pixels and residual as eight planes, float32, shape (8, height, width)."""
    iframe = frame.pixels if frame.iframe is None else frame.iframe.pixels
    height, width = iframe.shape[:2]
    planes = np.empty((8, height, width), dtype=np.float32)
    planes[:3] = iframe.transpose(2, 0, 1)
    planes[3:5] = frame.motion().repeat(CELL, axis=0).repeat(CELL, axis=1)[:height, :width].transpose(2, 0, 1)
    planes[5:] = frame.residual().transpose(2, 0, 1)
    return planes


def _resized(planes: Array, side: int) -> Array:
    """Cut the middle out, resize it (bilinear, antialiased), and vectors in length with it."""
    rows, columns = centre_square(*planes.shape[-2:])
    square = planes[..., rows, columns]
    if square.shape[-1] == side:
        return square
    factor = side / square.shape[-1]
    tensor = torch.from_numpy(np.ascontiguousarray(square))
    sized = F.interpolate(tensor, size=(side, side), mode="bilinear", antialias=True, align_corners=False).numpy()
    sized[:, 3:5] *= factor
    resized: Array = sized
    return resized


def _as_stored(planes: Array, settings: SegmentSettings) -> dict[str, Array]:
    shape = (settings.num_segments, settings.num_choices)
    parts: Sequence[Array] = (planes[:, :3], planes[:, 3:5] * MOTION_STEPS, planes[:, 5:])
    stored = {}
    for (name, (_, dtype)), part in zip(STREAMS.items(), parts, strict=True):
        low, high = (0, 255) if dtype is np.uint8 else (-127, 127)
        whole = np.clip(np.rint(part), low, high).astype(dtype)
        stored[name] = whole.reshape(*shape, *whole.shape[1:])
    return stored
