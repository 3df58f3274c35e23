"""Configurations, flags, arrays, archives, images, sounds and weights as no sane program writes them."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from children import SECONDS, run
from jobs import SMALL
from report import Part

KEYS = (
    "data",
    "student",
    "teachers",
    "temperature",
    "seeds",
    "recipe",
    "augmentations",
    "image_size",
    "method",
    "nope",
)
VALUES = (
    *("3", "-1", "0", "1e30", ".nan", "-.inf", "''", "[]", "{}", "null", "true", "'x'", "9" * 5000, "2024-13-45"),
    *(
        "[1, [2, [3]]]",
        "{a: {b: c}}",
        "!!set {a}",
        "!!int 'x'",
        "!!python/object:os.system {}",
        "*a",
        "&a [*a]",
        "1e-30",
    ),
    *("mlp:widths=99999999999", "resnet:depth=99998", "../../etc/passwd", "a" * 300, "\\u0000", '"\\x00"', "~"),
)
FLAGS = (
    *(
        "--temperature",
        "--student",
        "--teacher",
        "--epochs",
        "--seeds",
        "--image-size",
        "--augment",
        "--codec",
        "--set",
    ),
    *("--views", "--labels", "--batch-size", "--learning-rate", "--device", "--out", "--validation-fraction", "--nope"),
)
TRAINING_SECONDS = 20.0  # where an input is taken and trained on
BASES = (
    ["distill", *SMALL, "--out", "out"],
    ["train", *SMALL, "--out", "out"],
    ["cache", "--data", "data.npz", "--out", "out", "--teacher", "data.npz"],
    ["evaluate", "out", "--data", "data.npz"],
    ["export", "out"],
    ["specialists", "plan", "--data", "data.npz", "--generalist", "out", "--count", "2"],
)
TEXTS = (
    *(
        "",
        "0",
        "-1",
        "1e30",
        "nan",
        "inf",
        "4",
        "x" * 300,
        "mlp",
        "mlp:",
        "mlp:widths",
        "mlp:widths=1x",
        "a=b",
        "=",
        "\n",
    ),
    *(
        "mlp:widths=99999999999",
        "resnet20:width=1e300",
        "9" * 400,
        "timm:",
        "os:system",
        "é" * 200,
        "crop:4",
        "jitter:x",
    ),
)


def configuration(folder: Path, draw: random.Random) -> list[str]:
    """Write a configuration of known and unknown keys with odd values, or of no form at all."""
    kind = draw.randrange(4)
    if kind == 0:
        text = "".join(chr(draw.choice((9, 10, 32, 35, 38, 42, 45, 58, 91, 123, 33, 97, 0x1F600))) for _ in range(200))
    elif kind == 1:
        text = draw.choice(("[", "{a: ", "- ")) * draw.randint(1, 3000)
    elif kind == 2:
        rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
        rows += [f"a{n}: &a{n} [{', '.join(9 * [f'*a{n - 1}'])}]" for n in range(1, draw.randint(2, 9))]
        text = "\n".join(rows)
    else:
        text = "\n".join(f"{draw.choice(KEYS)}: {draw.choice(VALUES)}" for _ in range(draw.randint(1, 4)))
    (folder / "job.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
    return ["distill", "job.yaml", *SMALL, "--out", "out"]


def flags(_: Path, draw: random.Random) -> list[str]:
    """Return a command with odd values of flags."""
    odd = [text for _ in range(draw.randint(1, 3)) for text in (draw.choice(FLAGS), draw.choice(TEXTS))]
    return [
        draw.choice(("distill", "train", "cache", "evaluate", "export", "specialists")),
        *SMALL,
        "--out",
        "out",
        *odd,
    ]


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


def sounds(folder: Path, draw: random.Random) -> list[str]:
    """Write a speech folder whose waveforms claim any length, rate and number of channels."""
    corpus = folder / "speech"
    corpus.mkdir(exist_ok=True)
    length, rate = draw.choice((0, 2**31 - 1, 2**32 - 1, 800)), draw.choice((0, 1, 8_000, 2**32 - 1))
    channels = draw.choice((0, 1, 2, 65_535))
    form = struct.pack(
        "<HHIIHH", draw.choice((1, 3, 7, 999)), channels, rate, (rate * 2) % 2**32, 2, draw.choice((8, 16, 64))
    )
    content = b"RIFF" + struct.pack("<I", length) + b"WAVEfmt " + struct.pack("<I", 16) + form
    content += b"data" + struct.pack("<I", length) + bytes(draw.randint(0, 900))
    for number in range(3):
        (corpus / f"{number}.wav").write_bytes(content)
    (corpus / "text").write_text("".join(f"{number} one two\n" for number in range(3)))
    (corpus / "utt2spk").write_text("".join(f"{number} s{number}\n" for number in range(3)))
    (corpus / "wav.scp").write_text("".join(f"{number} {number}.wav\n" for number in range(3)))
    return ["train", "--student", "mlp:widths=4", *SMALL, "--data", "speech:speech", "--out", "out"]


def weights(folder: Path, draw: random.Random) -> list[str]:
    """Write weights whose headers claim what is not there, or that would run code."""
    path = folder / "odd.weights"
    kind = draw.randrange(4)
    if kind == 0:
        shape = [draw.choice((0, 1, 8, 10**12, 2**63)) for _ in range(2)]
        tensor = {
            "dtype": draw.choice(("F32", "I64", "X9")),
            "shape": shape,
            "data_offsets": [0, draw.choice((0, 16, 2**60))],
        }
        header = json.dumps({"layers.linear1.weight": tensor}).encode()
        path.write_bytes(struct.pack("<Q", draw.choice((len(header), 2**62, 3))) + header + bytes(16))
    elif kind == 1:
        path.write_bytes(b"\x80\x04cos\nsystem\n(S'touch ran-code'\ntR.")
    elif kind == 2:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", b"\x80\x02}q\x00.")
            archive.writestr("archive/data/0", bytes(10**6))
            archive.filelist[-1].file_size = draw.choice((10**6, 2**31))
    else:
        path.write_bytes(gzip.compress(bytes(draw.randint(0, 99))))
    return ["distill", "--student", "mlp:widths=4", "--teacher", "mlp:widths=8@odd.weights", *SMALL, "--out", "out"]


GENERATORS: tuple[Callable[[Path, random.Random], list[str]], ...] = (
    *(configuration, flags, arrays, archives, images, sounds, weights),
)


class Inputs:
    """Gives generated inputs to commands.

    Args:
        folder: with the data; emptied of all else after each attempt.
        outside: a folder that must stay empty.
        draw: of inputs.
    """

    def __init__(self, folder: Path, outside: Path, draw: random.Random) -> None:
        self.folder, self.outside, self.draw = folder, outside, draw
        self.turn = 0

    def attempt(self, part: Part, clear: Callable[[], None]) -> None:
        """Generate one input, give it to its command, and see how that ends."""
        generator = GENERATORS[self.turn % len(GENERATORS)]
        self.turn += 1
        clear()
        arguments = generator(self.folder, self.draw)
        outcome = run(arguments, self.folder, timeout=20.0)
        complaint = outcome.complaint(codes=(0, 2), seconds=SECONDS if outcome.code else TRAINING_SECONDS)
        if (
            (self.folder / "ran-code").exists()
            or Path("/tmp/torture-outside.png").exists()
            or any(self.outside.iterdir())
        ):
            complaint = "code was run, or a file written outside"
        ending = "not as promised" if complaint else ("refused" if outcome.code == 2 else "taken")
        part.add(ending, f"{generator.__name__} {' '.join(arguments)[:160]}: {complaint}" if complaint else "")
