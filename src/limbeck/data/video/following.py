"""Following the vectors of decoded frames to the I-frame of their group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from limbeck.data.video.vectors import Array, Reference, cells_of, follow, vector_fields, warped
from limbeck.errors import DataError

BFrames = Literal["skip", "use", "refuse"]
_WITH_LUMA = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "gray")
RE_ENCODE = "ffmpeg -i CLIP -c:v libx264 -bf 0 -refs 1 -g 12 OUT.mp4"


class Converter:
    """Converts the pictures of a clip, in this thread: a conversion of its own for each costs more than decoding.

    Args:
        reformatter: PyAV's ``VideoReformatter``.
    """

    def __init__(self, reformatter: Any) -> None:
        self._reformatter = reformatter
        self._settings = {"threads": 1}

    def rgb(self, picture: Any) -> Array:
        """Return a picture's pixels, uint8, shape (height, width, 3)."""
        return self.to(picture, "rgb24")

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


@dataclass(frozen=True, eq=False)
class CodedFrame:
    """One frame of a clip, and where its content was in the I-frame that its group began with.

    Args:
        number: from 0, in the order of display, frames that were left out included.
        seconds: from the beginning; None where the file says no times.
        kind: "I", "P" or "B".
        displacement: float32, shape (rows, columns, 2): for each cell of 8 x 8 pixels (right, down) to its place in
            the I-frame; 0 for an I-frame.
        picture: the decoder's frame.
        converter: makes RGB of pictures of one clip.
        iframe: that of the group; itself for an I-frame.
    """

    number: int
    seconds: float | None
    kind: str
    displacement: Array
    picture: Any
    converter: Converter
    iframe: CodedFrame | None

    @cached_property
    def pixels(self) -> Array:
        """The decoded frame, uint8, RGB, shape (height, width, 3)."""
        return self.converter.rgb(self.picture)

    def motion(self) -> Array:
        """Return how far the content of each cell has moved since the I-frame, (right, down) in pixels."""
        return -self.displacement

    def residual(self) -> Array:
        """Return the frame less the I-frame's pixels moved along: int16, shape (height, width, 3).

        The I-frame, moved, plus the residual is the decoded frame, exactly.
        """
        own = self.pixels
        if self.iframe is None:
            return np.zeros(own.shape, dtype=np.int16)
        predicted = warped(self.iframe.pixels, self.displacement)
        residual: Array = np.subtract(own, predicted, dtype=np.int16)
        return residual


class Follower:
    """Follows vectors to the I-frame; B-frames wait for the frame after them.

    Args:
        num_references: how many frames a P-frame may be predicted from.
        b_frames: what is done with B-frames, see ``read_clip``.
        rate: frames a second, for their numbers; None counts the decoded ones.
        converter: of the clip's pictures.
    """

    def __init__(self, num_references: int, b_frames: BFrames, *, rate: Fraction | None, converter: Converter) -> None:
        self.num_references, self.b_frames, self.rate, self.converter = num_references, b_frames, rate, converter
        self.number = -1
        self.size: tuple[int, int] | None = None
        self.iframe: CodedFrame | None = None
        self.references: list[Reference] = []  # of this group, the nearest first
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
            frame = CodedFrame(self.number, seconds, "I", _still(picture), picture, self.converter, None)
            self.iframe, self.references = frame, [self._reference(frame)]
        else:
            moved = self._displacement(picture, before, None)
            frame = CodedFrame(self.number, seconds, "P", moved, picture, self.converter, self.iframe)
            self.references = [self._reference(frame), *before][: self.num_references]
            told = [self._between(item, before, self.references[0]) for item in self.waiting]
        self.waiting = []
        return [*told, frame]

    def rest(self) -> list[CodedFrame]:
        """Return B-frames that no frame follows."""
        told = [self._between(item, list(self.references), None) for item in self.waiting]
        self.waiting = []
        return told

    def _between(
        self, item: tuple[int, float | None, Any], before: Sequence[Reference], after: Reference | None
    ) -> CodedFrame:
        number, seconds, picture = item
        moved = self._displacement(picture, before, after)
        return CodedFrame(number, seconds, "B", moved, picture, self.converter, self.iframe)

    def _displacement(self, picture: Any, before: Sequence[Reference], after: Reference | None) -> Array:
        vectors = picture.side_data.get("MOTION_VECTORS")
        if vectors is None:
            return _still(picture)
        past, future = vector_fields(vectors.to_ndarray(), height=picture.height, width=picture.width)
        candidates = [(past, reference) for reference in before]
        if after is not None:
            candidates.append((future, after))
        return follow(self._luma(picture), candidates)

    def _reference(self, frame: CodedFrame) -> Reference:
        return Reference(self._luma(frame.picture), frame.displacement)

    def _luma(self, picture: Any) -> Array:
        """Return the first plane, uint8, shape (height, width), in the decoder's own memory where it is one."""
        if picture.format.name not in _WITH_LUMA:
            return self.converter.to(picture, "gray")
        plane = picture.planes[0]
        return np.frombuffer(plane, dtype=np.uint8).reshape(-1, plane.line_size)[: picture.height, : picture.width]

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


def _still(picture: Any) -> Array:
    return np.zeros((*cells_of(picture.height, picture.width), 2), dtype=np.float32)
