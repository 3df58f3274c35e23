"""Clips as their files hold them: I-frames, motion vectors and residuals, read while the decoder works."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from limbeck.bounds import require_image_memory, require_plain_file
from limbeck.data.video.following import RE_ENCODE, BFrames, CodedFrame, Converter, Follower
from limbeck.data.video.parameter_sets import num_reference_frames
from limbeck.errors import DataError, MissingPackage, unknown_name

B_FRAMES = ("skip", "use", "refuse")
MOST_REFERENCES = 4  # frames that a P-frame of H.264 may be predicted from here, whatever the file says
SINGLE_REFERENCE = ("mpeg1video", "mpeg2video", "mpeg4", "h263", "flv1", "msmpeg4v3", "wmv1", "wmv2")
WITH_VECTORS = ("h264", *SINGLE_REFERENCE)
FRAMES_AHEAD = 8  # decoded before the first of them is given out
_TOLERATED_SECONDS = 0.25  # by which a stream may end earlier than its container says


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
    frames = _followed(path, b_frames, start_seconds, end_seconds)
    while ahead := list(itertools.islice(frames, FRAMES_AHEAD)):  # the decoder leaves the processor's caches to others
        yield from ahead


def _followed(
    path: str | Path, b_frames: BFrames, start_seconds: float | None, end_seconds: float | None
) -> Iterator[CodedFrame]:
    with _opened(path) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        if context is None:
            raise unreadable_clip(path, ValueError("the file does not say how its pictures are coded"))
        _check_codec(path, context.name)
        require_image_memory(context.height, context.width, f"pictures of {context.width} x {context.height} ({path})")
        context.options = {"flags2": "+export_mvs"}
        context.thread_type, context.thread_count = "NONE", 1
        if b_frames == "skip":
            context.skip_frame = "NONREF"
        said = 1 if context.name in SINGLE_REFERENCE else num_reference_frames(context.extradata)
        num_references = min(said or MOST_REFERENCES, MOST_REFERENCES)
        converter = Converter(import_av().video.reformatter.VideoReformatter())
        follower = Follower(num_references, b_frames, rate=stream.average_rate, converter=converter)
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


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[Any]:
    av = import_av()
    require_plain_file(path)
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
    num_packets = end = 0
    try:
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise DataError(
                    f"{path} is damaged.", received="a corrupt packet", remedy="get the file again, or remove it"
                )
            num_packets += packet.size > 0
            if packet.pts is not None:
                end = max(end, packet.pts + (packet.duration or 0))
            yield from packet.decode()
    except (OSError, ValueError, EOFError, av.FFmpegError) as error:
        raise unreadable_clip(path, error) from error
    said, end_seconds = _said_seconds(stream), float(end * stream.time_base)
    if num_packets < stream.frames or (said is not None and end_seconds < said - _TOLERATED_SECONDS):
        raise DataError(
            f"{path} is cut off.",
            received=f"{num_packets} frames, {end_seconds:.2f} s",
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
