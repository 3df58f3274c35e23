"""Following the vectors of decoded frames to the I-frame of their group."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from limbeck.data.video.vectors import (
    Array,
    Reference,
    cells_of,
    follow,
    follow_run,
    runs_of,
    vector_fields,
    warped,
)
from limbeck.errors import DataError

BFrames = Literal["skip", "use", "refuse"]
_WITH_LUMA = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "gray")
MOST_AT_ONCE = 16  # frames whose vectors are followed in one go
RE_ENCODE = "ffmpeg -i CLIP -c:v libx264 -bf 0 -refs 1 -g 12 OUT.mp4"


class Converter:
    """Converts the pictures of a clip, in this thread: a conversion of its own for each costs more than decoding.

    Args:
        reformatter: PyAV's ``VideoReformatter``.
    """

    def __init__(self, reformatter: Any) -> None:
        self._reformatter = reformatter
        self._settings = {"threads": 1}

    def to(self, picture: Any, pixel_format: str) -> Array:
        """Return a picture's pixels in a format of FFmpeg."""
        converted: Array = self.frame(picture, pixel_format).to_ndarray()
        return converted

    def frame(self, picture: Any, pixel_format: str) -> Any:
        """Return a picture in another format."""
        try:
            return self._reformatter.reformat(picture, format=pixel_format, **self._settings)
        except TypeError:  # PyAV before 18 knows no threads here
            self._settings = {}
            return self._reformatter.reformat(picture, format=pixel_format)


class CodedFrame:
    """One frame of a clip, and where its content was in the I-frame that its group began with.

    What is asked of it is computed then: a frame that nobody asks costs its decoding.

    Args:
        number: from 0, in the order of display, frames that were left out included.
        seconds: from the beginning; None where the file says no times.
        kind: "I", "P" or "B".
        picture: the decoder's frame.
        converter: makes RGB of pictures of one clip.
        iframe: that of the group; None for an I-frame.
        before: frames that it may be predicted from, the nearest first.
        after: likewise, of a B-frame.
    """

    def __init__(
        self,
        number: int,
        seconds: float | None,
        kind: str,
        picture: Any,
        converter: Converter,
        *,
        iframe: CodedFrame | None = None,
        before: Sequence[CodedFrame] = (),
        after: CodedFrame | None = None,
    ) -> None:
        self.number, self.seconds, self.kind = number, seconds, kind
        self.picture, self.iframe = picture, iframe
        self._converter = converter
        self._before, self._after = tuple(before), after
        self._displacement: Array | None = None
        self._next: weakref.ref[CodedFrame] | None = None  # predicted from this frame alone
        if self._is_in_run:
            self._before[0]._next = weakref.ref(self)

    @property
    def displacement(self) -> Array:
        """Float32, shape (rows, columns, 2): for each cell of 8 x 8 pixels (right, down) to its place in the I-frame.

        0 for an I-frame. Frames between are asked first, one after the other: groups may be long.
        """
        waiting = [self]
        while waiting:
            frame = waiting[-1]
            needed = [frame._after] if frame._after is not None else []
            unknown = [one for one in (*frame._before, *needed) if one._displacement is None]
            if unknown and frame._displacement is None:
                waiting.append(unknown[0])
            else:
                waiting.pop()._resolve()
        assert self._displacement is not None, "resolved"
        return self._displacement

    @cached_property
    def pixels(self) -> Array:
        """The decoded frame, uint8, RGB, shape (height, width, 3)."""
        return self._converter.to(self.picture, "rgb24")

    @cached_property
    def luma(self) -> Array:
        """Its brightness, uint8, shape (height, width): the decoder's own memory where it has such a plane."""
        if self.picture.format.name not in _WITH_LUMA:
            return self._converter.to(self.picture, "gray")
        plane = self.picture.planes[0]
        whole = np.frombuffer(plane, dtype=np.uint8).reshape(-1, plane.line_size)
        return whole[: self.picture.height, : self.picture.width]

    def motion(self) -> Array:
        """Return how far the content of each cell has moved since the I-frame, (right, down) in pixels."""
        return -self.displacement

    def residual(self) -> Array:
        """Return the frame less the I-frame's pixels moved along: int16, shape (height, width, 3).

        The I-frame, moved, plus the residual is the decoded frame, exactly.
        """
        if self.iframe is None:
            return np.zeros(self.pixels.shape, dtype=np.int16)
        moved = warped(self.iframe.pixels, self.displacement, runs=self.iframe._runs)
        residual: Array = np.subtract(self.pixels, moved, dtype=np.int16)
        return residual

    @cached_property
    def _runs(self) -> Array:
        return runs_of(self.pixels)

    @property
    def _is_in_run(self) -> bool:
        return self.kind == "P" and len(self._before) == 1 and self._after is None

    def _resolve(self) -> None:
        """Follow the vectors; frames that they point into are resolved, and let go afterwards."""
        if self._displacement is not None:
            return
        vectors = self._told() if self._before else None
        if vectors is None:
            size = cells_of(self.picture.height, self.picture.width)
            self._displacement = np.zeros((*size, 2), dtype=np.float32)
        elif self._is_in_run:
            self._resolve_run(vectors)
        else:
            past, future = vector_fields(vectors, height=self.picture.height, width=self.picture.width)
            candidates = [(past, one._as_reference()) for one in self._before]
            if self._after is not None and future is not None:
                candidates.append((future, self._after._as_reference()))
            self._displacement = follow(self.luma, candidates)
        self._before, self._after = (), None

    def _resolve_run(self, vectors: Array) -> None:
        """Follow the vectors of this frame, and of those after it that are there already, each into the one before."""
        frames, told = [self], [vectors]
        while len(frames) < MOST_AT_ONCE:
            frame = None if frames[-1]._next is None else frames[-1]._next()
            own = None if frame is None else frame._told()
            if frame is None or own is None:
                break
            frames.append(frame)
            told.append(own)
        start = self._before[0]._displacement
        assert start is not None, "resolved"
        found = follow_run(told, start, height=self.picture.height, width=self.picture.width)
        for frame, displacement in zip(frames, found, strict=True):
            frame._displacement, frame._before = displacement, ()

    def _told(self) -> Array | None:
        """The vectors that the decoder told of this frame."""
        side_data = self.picture.side_data.get("MOTION_VECTORS")
        return None if side_data is None else side_data.to_ndarray()

    def _as_reference(self) -> Reference:
        assert self._displacement is not None, "resolved"
        return Reference(self.luma, self._displacement)


class Follower:
    """Tells each decoded picture from which frames it may be predicted; B-frames wait for the frame after them.

    Args:
        num_references: how many frames a P-frame may be predicted from.
        b_frames: what is done with B-frames, see ``read_clip``.
        rate: frames a second, for their numbers; None counts the decoded ones.
        converter: of the clip's pictures.
    """

    def __init__(self, num_references: int, b_frames: BFrames, *, rate: Fraction | None, converter: Converter) -> None:
        self.num_references, self.b_frames, self.converter = num_references, b_frames, converter
        self.rate = float(rate) if rate else None
        self.number = -1
        self.size: tuple[int, int] | None = None
        self.iframe: CodedFrame | None = None
        self.references: list[CodedFrame] = []  # of this group, the nearest first
        self.waiting: list[tuple[int, float | None, Any]] = []

    def take(self, path: str | Path, picture: Any, seconds: float | None) -> list[CodedFrame]:
        """Return what can be told now that a picture was decoded."""
        self.number = self.number + 1 if seconds is None or not self.rate else round(seconds * self.rate)
        self._check(path, picture)
        kind = _kind(picture)
        if kind == "B":
            if self.b_frames == "use" and self.references:
                self.waiting.append((self.number, seconds, picture))
            return []
        before = list(self.references)
        if kind == "I" or self.iframe is None:
            told = [self._between(item, before, None) for item in self.waiting]
            frame = CodedFrame(self.number, seconds, "I", picture, self.converter)
            self.iframe, self.references = frame, [frame]
        else:
            frame = CodedFrame(
                self.number, seconds, "P", picture, self.converter, iframe=self.iframe, before=before
            )  # fmt: skip
            self.references = [frame, *before][: self.num_references]
            told = [self._between(item, before, frame) for item in self.waiting]
        self.waiting = []
        return [*told, frame]

    def rest(self) -> list[CodedFrame]:
        """Return B-frames that no frame follows."""
        told = [self._between(item, list(self.references), None) for item in self.waiting]
        self.waiting = []
        return told

    def _between(
        self, item: tuple[int, float | None, Any], before: Sequence[CodedFrame], after: CodedFrame | None
    ) -> CodedFrame:
        number, seconds, picture = item
        return CodedFrame(
            number, seconds, "B", picture, self.converter, iframe=self.iframe, before=before, after=after
        )  # fmt: skip

    def _check(self, path: str | Path, picture: Any) -> None:
        size = (picture.height, picture.width)
        if self.size is not None and size != self.size:
            raise DataError(
                f"The frames of {path} change their size.",
                received=f"{self.size[1]}x{self.size[0]}, then {size[1]}x{size[0]} at frame {self.number}",
                expected="one width and height",
                remedy=f"encode it in one size: {RE_ENCODE}",
            )
        self.size = size
        if self.b_frames == "refuse" and _kind(picture) == "B":
            raise DataError(
                f"{path} has B-frames, which are refused here.",
                received=f"frame {self.number} is a B-frame",
                expected="I- and P-frames",
                remedy=f"take b_frames='skip' or 'use', or encode it without: {RE_ENCODE}",
            )


def _kind(picture: Any) -> str:
    """Return "I", "P" or "B"; what FFmpeg knows beside those counts as predicted."""
    return {1: "I", 3: "B"}.get(int(picture.pict_type), "P")
