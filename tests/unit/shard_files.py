"""Tar shards in WebDataset's layout for the tests."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image


def picture(seed: int, *, size: tuple[int, int] = (4, 4), grey: bool = False) -> np.ndarray:
    """Return random pixels, (height, width, 3), or (height, width) where grey."""
    shape = size if grey else (*size, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def png(seed: int, *, size: tuple[int, int] = (4, 4), grey: bool = False) -> bytes:
    """Return the same as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(picture(seed, size=size, grey=grey)).save(file, "png")
    return file.getvalue()


def write_tar(
    path: Path, members: Iterable[tuple[str, bytes]], *, format: int = tarfile.PAX_FORMAT, mtime: float = 0
) -> Path:
    """Write a tar file of (name, content)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=format) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(content), mtime
            tar.addfile(info, io.BytesIO(content))
    return path


def samples_of(start: int, count: int, *, num_classes: int = 3, grey: bool = False) -> list[tuple[str, bytes]]:
    """Return the files of so many samples: key.png and key.cls; the number is key, picture and, rests, class."""
    files = []
    for number in range(start, start + count):
        files.append((f"s{number:06d}.png", png(number, grey=grey)))
        files.append((f"s{number:06d}.cls", b"%d" % (number % num_classes)))
    return files
