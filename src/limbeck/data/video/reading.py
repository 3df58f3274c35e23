"""Clips as their files hold them: I-frames, motion vectors and residuals, read while the decoder works."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from limbeck.data.video.vectors import Array, Reference, cells_of, follow, vector_fields, warped
from limbeck.errors import DataError, MissingPackage, unknown_name

BFrames = Literal["skip", "use", "refuse"]
B_FRAMES = ("skip", "use", "refuse")
MOST_REFERENCES = 4  # frames that a P-frame of H.264 may be predicted from here; x264's own choice is 3
SINGLE_REFERENCE = ("mpeg1video", "mpeg2video", "mpeg4", "h263", "flv1", "msmpeg4v3", "wmv1", "wmv2")
WITH_VECTORS = ("h264", *SINGLE_REFERENCE)
_TOLERATED_SECONDS = 0.25  # by which a stream may end earlier than its container says
RE_ENCODE = "ffmpeg -i CLIP -c:v libx264 -bf 0 -refs 1 -g 12 OUT.mp4"


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
        iframe: that of the group; itself for an I-frame.
    """

    number: int
    seconds: float | None
    kind: str
    displacement: Array
    picture: Any
    iframe: CodedFrame | None

    @cached_property
    def pixels(self) -> Array:
        """The decoded frame, uint8, RGB, shape (height, width, 3)."""
        decoded: Array = self.picture.to_ndarray(format="rgb24")
        return decoded

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


def read_clip(
    path: str | Path,
    *,
    b_frames: BFrames = "skip",
    start_seconds: float | None = None,
    end_seconds: float | None = None,
) -> Iterator[CodedFrame]:
    """Yield the frames of a clip with their displacement to the I-frame of their group, in order of display.

    Every P-frame depends on its I-frame alone: vectors are followed through the frames between, as in CoViAR. A clip is
    decoded by one thread.

    Args:
        path: any container that FFmpeg reads, with H.264 or a codec of the MPEG-4 family, whose decoders tell vectors.
        b_frames: "skip" leaves B-frames out, and does not decode those that no frame needs; "use" follows their
            vectors to the frame before or after; "refuse" takes no clip with B-frames.
        start_seconds: frames before are decoded, since later ones need them, and not yielded.
        end_seconds: frames from there on are not decoded.
    Raises:
        DataError: no video stream, a codec without vectors, B-frames that are refused, a file that is damaged or cut
            off, frames of several sizes, no frames at all.
        MissingPackage: PyAV is not installed.
        UnknownName: another word for ``b_frames``.
    References:
        Wu, Zaheer, Hu, Manmatha, Smola, Krähenbühl 2018, "Compressed Video Action Recognition", arXiv:1712.00636, 3.1.
    """
    if b_frames not in B_FRAMES:
        raise unknown_name("way with B-frames", b_frames, B_FRAMES)
    with _opened(path) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        if context is None:
            raise unreadable_clip(path, ValueError("the file does not say how its pictures are coded"))
        _check_codec(path, context.name)
        context.options = {"flags2": "+export_mvs"}
        context.thread_type, context.thread_count = "NONE", 1
        if b_frames == "skip":
            context.skip_frame = "NONREF"
        num_references = 1 if context.name in SINGLE_REFERENCE else MOST_REFERENCES
        follower = _Follower(num_references, b_frames, rate=stream.average_rate)
        num_decoded = num_told = 0
        for picture in _decoded(path, container, stream):
            num_decoded += 1
            seconds = None if picture.time is None else float(picture.time)
            if end_seconds is not None and seconds is not None and seconds >= end_seconds - 1e-6:
                break
            for frame in follower.take(path, picture, seconds):
                if _is_after(frame, start_seconds):
                    num_told += 1
                    yield frame
        for frame in follower.rest():
            if _is_after(frame, start_seconds):
                num_told += 1
                yield frame
        if not num_decoded:
            raise DataError(f"{path} has no frames.", received="a video stream without a frame", remedy="remove it")
        if not num_told and start_seconds is not None:
            raise DataError(
                f"{path} has no frames in the span that is asked for.",
                received=f"{start_seconds:g} s to {'the end' if end_seconds is None else f'{end_seconds:g} s'}",
                expected="a span inside the clip",
            )


def _is_after(frame: CodedFrame, start_seconds: float | None) -> bool:
    return start_seconds is None or frame.seconds is None or frame.seconds >= start_seconds - 1e-6


class _Follower:
    """Follows vectors to the I-frame; B-frames wait for the frame after them."""

    def __init__(self, num_references: int, b_frames: BFrames, *, rate: Fraction | None) -> None:
        self.num_references, self.b_frames, self.rate = num_references, b_frames, rate
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
            frame = CodedFrame(self.number, seconds, "I", _still(picture), picture, None)
            self.iframe, self.references = frame, [_reference(frame)]
        else:
            moved = self._displacement(picture, before, None)
            frame = CodedFrame(self.number, seconds, "P", moved, picture, self.iframe)
            self.references = [_reference(frame), *before][: self.num_references]
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
        return CodedFrame(number, seconds, "B", self._displacement(picture, before, after), picture, self.iframe)

    def _displacement(self, picture: Any, before: Sequence[Reference], after: Reference | None) -> Array:
        vectors = picture.side_data.get("MOTION_VECTORS")
        if vectors is None:
            return _still(picture)
        past, future = vector_fields(vectors.to_ndarray(), height=picture.height, width=picture.width)
        candidates = [(past, reference) for reference in before]
        if after is not None:
            candidates.append((future, after))
        return follow(_luma(picture), candidates)

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


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[Any]:
    av = import_av()
    try:
        container = av.open(str(path), metadata_errors="replace")
    except (OSError, ValueError, av.FFmpegError) as error:
        raise unreadable_clip(path, error) from error
    with container:
        if not container.streams.video:
            held = ", ".join(stream.type for stream in container.streams) or "nothing"
            raise DataError(
                f"{path} has no video stream.", received=held, expected="a clip with pictures", remedy="remove the file"
            )
        yield container


def _decoded(path: str | Path, container: Any, stream: Any) -> Iterator[Any]:
    """Yield the pictures; what the decoder refuses, or a file that ends before it says, is an error."""
    av = import_av()
    num_packets, end = 0, 0.0
    try:
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise DataError(
                    f"{path} is damaged.", received="a corrupt packet", remedy="get the file again, or remove it"
                )
            num_packets += packet.size > 0
            if packet.pts is not None:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            yield from packet.decode()
    except (OSError, ValueError, EOFError, av.FFmpegError) as error:
        raise unreadable_clip(path, error) from error
    said = _said_seconds(stream)
    if num_packets < stream.frames or (said is not None and end < said - _TOLERATED_SECONDS):
        raise DataError(
            f"{path} is cut off.",
            received=f"{num_packets} frames, {end:.2f} s",
            expected=f"{stream.frames} frames" if stream.frames else f"{said:.2f} s",
            remedy="get the file again, or remove it; --skip-broken leaves such clips out and lists them",
        )


def _said_seconds(stream: Any) -> float | None:
    """Return how long Matroska says that the stream is; None for other containers, which count frames."""
    try:
        hours, minutes, seconds = stream.metadata["DURATION"].split(":")
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    except (KeyError, ValueError):
        return None


def _check_codec(path: str | Path, codec: str) -> None:
    if codec not in WITH_VECTORS:
        raise DataError(
            f"{path} is coded with {codec}, whose decoder tells no motion vectors.",
            received=codec,
            expected=" or ".join(WITH_VECTORS),
            remedy=f"encode it as H.264: {RE_ENCODE}",
        )


def unreadable_clip(path: str | Path, error: BaseException) -> DataError:
    """Return the error for a file that is no readable clip."""
    return DataError(
        f"Cannot read the clip {path}.",
        received=f"{type(error).__name__}: {error}".splitlines()[0][:200],
        expected="a whole video file with H.264 or MPEG-4",
        remedy="get the file again, or remove it; --skip-broken leaves such clips out and lists them",
    )


def import_av() -> Any:
    """Return PyAV's module.

    Raises:
        MissingPackage: it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise MissingPackage(
            "Reading clips needs PyAV.", received=str(error)[:200], remedy="pip install 'limbeck[video]'"
        ) from error
    av.logging.set_level(av.logging.PANIC)  # damaged files are told by our own errors
    return av


def _kind(picture: Any) -> str:
    """Return "I", "P" or "B"; what FFmpeg knows beside those counts as predicted."""
    return {1: "I", 3: "B"}.get(int(picture.pict_type), "P")


def _luma(picture: Any) -> Array:
    """Return the first plane, uint8, shape (height, width); it shares the decoder's memory where that is possible."""
    if picture.format.name not in ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "gray"):
        grey: Array = picture.to_ndarray(format="gray")
        return grey
    plane = picture.planes[0]
    return np.frombuffer(plane, dtype=np.uint8).reshape(-1, plane.line_size)[: picture.height, : picture.width]


def _reference(frame: CodedFrame) -> Reference:
    return Reference(_luma(frame.picture), frame.displacement)


def _still(picture: Any) -> Array:
    return np.zeros((*cells_of(picture.height, picture.width), 2), dtype=np.float32)
