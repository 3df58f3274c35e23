"""Sounds and clips as no sane program writes them: lengths, rates, codecs and frames that are not there."""

from __future__ import annotations

import io
import os
import random
import struct
from functools import cache
from pathlib import Path

import numpy as np
from jobs import SMALL

SOUNDS = ("wav", "wav", "wav", "w64", "rf64", "aiff", "flac", "bytes")
CONTAINERS = (("mp4", "libx264"), ("avi", "mpeg4"), ("mkv", "libx264"), ("avi", "mjpeg"), ("mkv", "ffv1"),
              ("mpg", "mpeg2video"), ("webm", "libvpx"), ("avi", "huffyuv"), ("mkv", "rawvideo"))  # fmt: skip
SUFFIXES = ("mp4", "avi", "mkv", "webm", "mov", "m4v", "mpg", "mpeg")


def sounds(folder: Path, draw: random.Random) -> list[str]:
    """Write a speech folder whose waveforms claim any length, rate and number of channels, or are hurt."""
    corpus = folder / "speech"
    corpus.mkdir(exist_ok=True)
    kind = draw.choice(SOUNDS)
    content = wave(draw) if kind in ("wav", "bytes") else hurt(sound(kind), draw)
    if kind == "bytes":
        content = bytes(draw.randrange(256) for _ in range(draw.randint(0, 300)))
    for number in range(3):
        (corpus / f"{number}.wav").write_bytes(content)
    (corpus / "text").write_text("".join(f"{number} one two\n" for number in range(3)))
    (corpus / "utt2spk").write_text("".join(f"{number} s{number}\n" for number in range(3)))
    (corpus / "wav.scp").write_text("".join(f"{number} {number}.wav\n" for number in range(3)))
    return ["train", "--student", "mlp:widths=4", *SMALL, "--data", "speech:speech", "--out", "out"]


def wave(draw: random.Random) -> bytes:
    """Return a wav file with a header that claims what it likes: chunks twice, too long, in another order."""
    length, rate = draw.choice((0, 2**31 - 1, 2**32 - 1, 800)), draw.choice((0, 1, 8_000, 2**32 - 1))
    channels, width = draw.choice((0, 1, 2, 65_535)), draw.choice((0, 1, 8, 16, 24, 64, 65_535))
    form = struct.pack(
        "<HHIIHH", draw.choice((1, 3, 7, 17, 85, 999, 0xFFFE)), channels, rate, (rate * 2) % 2**32, 2, width
    )
    header = b"fmt " + struct.pack("<I", draw.choice((16, 16, 18, 40, 0, 2**32 - 1))) + form
    data = b"data" + struct.pack("<I", length) + bytes(draw.randrange(256) for _ in range(draw.randint(0, 900)))
    more = b"LIST" + struct.pack("<I", draw.choice((4, 2**32 - 1, 0))) + b"INFO"
    chunks = draw.choice(([header, data], [header, more, data], [header, header, data], [data, header], [header]))
    return b"RIFF" + struct.pack("<I", length) + b"WAVE" + b"".join(chunks)


@cache
def sound(kind: str) -> bytes:
    """Return a tenth of a second of noise as a sound file."""
    import soundfile

    file = io.BytesIO()
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 1600).astype(np.float32)
    soundfile.write(file, noise, 16_000, format=kind.upper(), subtype="PCM_16")
    return file.getvalue()


def clips(folder: Path, draw: random.Random) -> list[str]:
    """Write a folder of clips that end early, hold no frame, another codec, no picture, or are no clips."""
    for name in ("a", "b"):
        (folder / "clips" / name).mkdir(parents=True, exist_ok=True)
        for number in range(2):
            kind = draw.randrange(12)
            container, codec = draw.choice(CONTAINERS)
            place = folder / "clips" / name / f"{number}.{container if kind < 10 else draw.choice(SUFFIXES)}"
            if kind < 3:
                place.write_bytes(clip(container, codec, draw.choice((0, 1, 2, 7))))
            elif kind < 7:
                place.write_bytes(hurt(clip(container, codec, 7), draw))
            elif kind < 9:
                content = clip(container, codec, 7)
                place.write_bytes(content[: draw.randint(0, len(content))])
            elif kind == 9:
                place.write_bytes(sizes_changed(clip(container, codec, 7), draw))
            elif kind == 10:
                place.write_bytes(draw.choice((b"", b"RIFF", sound("flac"), b"\x1aE\xdf\xa3", b"#EXTM3U\n/etc/passwd\n",
                                               b"ffconcat version 1.0\nfile /etc/passwd\n")))  # fmt: skip
            elif draw.random() < 0.5:
                os.mkfifo(place)
            else:
                place.symlink_to("/nowhere")
    student = draw.choice(("on:iframe", "on:motion", "on:residual")) + ":convnet:channels=2x4"
    more = ["--image-size", draw.choice(("8", "16", "30000")), *draw.choice(([], ["--skip-broken"]))]
    return ["train", "--student", student, *SMALL, *more, "--data", "clips:clips", "--out", "out"]


@cache
def clip(container: str, codec: str, num_frames: int) -> bytes:
    """Return a clip of 32 x 32 pixels that FFmpeg has written; of no frames, its header."""
    import av

    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    with av.open(file, "w", format={"mkv": "matroska", "mpg": "mpeg"}.get(container, container)) as output:
        stream = output.add_stream(codec, rate=25)
        stream.width = stream.height = 32
        stream.pix_fmt = {"mjpeg": "yuvj420p", "huffyuv": "yuv422p"}.get(codec, "yuv420p")
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(np.roll(noise, number, axis=0), format="rgb24")
            output.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
        output.mux(stream.encode())
    return file.getvalue()


def sizes_changed(content: bytes, draw: random.Random) -> bytes:
    """Return a clip that says another width or height wherever its 32 stands as two or four bytes."""
    size = draw.choice((0, 1, 31, 16_000, 65_535))
    order = draw.choice((">", "<"))
    for form in ("H", "I"):
        content = content.replace(struct.pack(order + form, 32), struct.pack(order + form, size), draw.randint(1, 4))
    return content


def hurt(content: bytes, draw: random.Random) -> bytes:
    """Return bytes with a few others in their place, most of them in the header."""
    changed = bytearray(content)
    for _ in range(draw.randint(1, 8)):
        if changed:
            changed[draw.randrange(min(len(changed), draw.choice((64, 512, 1 << 20))))] = draw.randrange(256)
    return bytes(changed)
