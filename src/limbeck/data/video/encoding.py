"""Clips written by a real encoder: x264 through PyAV."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from limbeck.data.video.following import Converter
from limbeck.data.video.reading import import_av
from limbeck.data.video.vectors import Array


def write_clip(
    path: str | Path,
    frames: Iterable[Array],
    *,
    rate: int = 25,
    codec: str = "libx264",
    group_size: int = 12,
    num_b_frames: int = 0,
    num_references: int = 1,
    quality: int = 23,
) -> None:
    """Encode frames as a clip.

    Args:
        path: its suffix names the container: .mp4, .avi, .mkv.
        frames: uint8, RGB, shape (height, width, 3), sides even.
        rate: frames a second.
        codec: of FFmpeg: "libx264", "mpeg4".
        group_size: frames from one I-frame to the next, at most.
        num_b_frames: between two others, at most.
        num_references: frames that one is predicted from, at most.
        quality: constant rate factor of x264, 0 (lossless) to 51; quantiser scale of others, 1 to 31.
    Raises:
        MissingPackage: PyAV is not installed.
    """
    av = import_av()
    converter = Converter(av.video.reformatter.VideoReformatter())
    options = {"g": str(group_size), "bf": str(num_b_frames), "refs": str(num_references), "threads": "1"}
    options |= {"crf": str(quality)} if codec == "libx264" else {"qmin": str(quality), "qmax": str(quality)}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.pix_fmt = "yuv420p"
        for number, pixels in enumerate(frames):
            if number == 0:
                stream.height, stream.width = pixels.shape[:2]
            picture = converter.frame(av.VideoFrame.from_ndarray(pixels, format="rgb24"), "yuv420p")
            picture.pts = number
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
