"""Arrays, archives and images as no sane program writes them."""

from __future__ import annotations

import io
import os
import random
import struct
import tarfile
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
from jobs import SMALL


def arrays(folder: Path, draw: random.Random) -> list[str]:
    """Write an .npz whose headers claim what they like, whose arrays are odd, or whose bytes are hurt."""
    kind = draw.randrange(3)
    path = folder / "odd.npz"
    if kind == 0:
        with zipfile.ZipFile(path, "w") as archive:
            for name in ("inputs", "labels"):
                shape = tuple(draw.choice((0, 1, 3, 10**6, 10**12, 2**62)) for _ in range(draw.randint(0, 4)))
                header = {"descr": draw.choice(("<f4", "|u1", "<i8", "|O", "<U9", "<c16")), "fortran_order": False}
                file = io.BytesIO()
                np.lib.format.write_array_header_1_0(file, {**header, "shape": shape})
                archive.writestr(f"{name}.npy", file.getvalue() + bytes(draw.randint(0, 400)))
    elif kind == 1:
        odd = draw.choice((np.nan, np.inf, -np.inf, 1e38, 10**8, -5))
        inputs = np.zeros((30, 4), dtype=draw.choice((np.float32, np.float64, np.float16, np.complex64, np.int64)))
        labels = np.arange(30) % 3
        with np.errstate(all="ignore"):
            try:
                (inputs[draw.randrange(30)] if draw.random() < 0.5 else labels)[draw.randrange(4)] = odd
            except (OverflowError, ValueError):
                labels = labels.astype(str)
        np.savez(path, inputs=inputs, labels=labels[: draw.choice((30, 30, 7, 0))])
    else:
        content = bytearray((folder / "data.npz").read_bytes())
        for _ in range(draw.randint(1, 5)):
            content[draw.randrange(len(content))] = draw.randrange(256)
        path.write_bytes(content[: draw.randint(1, len(content))] if draw.random() < 0.5 else content)
    return ["train", "--student", "mlp:widths=4", *SMALL, "--data", "odd.npz", "--out", "out"]


def archives(folder: Path, draw: random.Random) -> list[str]:
    """Write an archive with paths that lead outside, links, devices, twice the same name, or sizes that lie."""
    names = (
        "a/x.png",
        "b/y.png",
        "../outside.png",
        "/tmp/torture-outside.png",
        "a/../../x",
        "C:\\x",
        "a\0b",
        "a/" * 99,
    )
    if draw.random() < 0.5:
        path = folder / "odd.tar.gz"
        with tarfile.open(path, "w:gz") as tar:
            for _ in range(draw.randint(0, 4)):
                member = tarfile.TarInfo(draw.choice(names))
                member.type = draw.choice((tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE))
                member.linkname, member.size = "/etc/passwd", 3 if member.type == tarfile.REGTYPE else 0
                tar.addfile(member, io.BytesIO(b"abc"))
    else:
        path = folder / "odd.zip"
        with warnings.catch_warnings(), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            warnings.simplefilter("ignore")  # on names that stand twice
            for number in range(draw.randint(1, 4)):
                archive.writestr(zipfile.ZipInfo(draw.choice(names) + str(number)), bytes(draw.choice((3, 10**6))))
                archive.filelist[-1].file_size = draw.choice((3, 10**6, 10**9, 2**31))
    return ["train", "--student", "convnet", *SMALL, "--data", path.name, "--out", "out"]


def png(width: int, height: int, content: bytes) -> bytes:
    """Return a PNG that claims a size and holds these rows."""

    def chunk(kind: bytes, inner: bytes) -> bytes:
        return struct.pack(">I", len(inner)) + kind + inner + struct.pack(">I", zlib.crc32(kind + inner))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(content)) + chunk(b"IEND", b"")


def images(folder: Path, draw: random.Random) -> list[str]:
    """Write a folder of images that claim any size, end early, or are pipes and links."""
    for name in ("a", "b"):
        (folder / "images" / name).mkdir(parents=True, exist_ok=True)
        size = draw.choice((0, 1, 8, 8, 9_000, 20_000, 2**31 - 1))
        rows = bytes(8 * 25) if size == 8 else bytes(draw.randint(0, 1000))
        (folder / "images" / name / "one.png").write_bytes(png(size, draw.choice((size, 8)), rows))
        place = folder / "images" / name / f"two.{draw.choice(('png', 'jpg', 'gif', 'tiff', 'webp', 'bmp', 'ppm'))}"
        kind = draw.randrange(9)
        if kind == 0 and not place.exists():
            os.mkfifo(place)
        elif kind == 1:
            place.symlink_to("/nowhere")
        else:
            place.write_bytes(
                draw.choice((b"P6 99999 99999 255\n", b"GIF89a\xff\xff\xff\xff", b"BM", b"\xff\xd8\xff", b""))
            )
    return ["train", "--student", "convnet:channels=4", *SMALL, "--data", "images", "--out", "out"]
