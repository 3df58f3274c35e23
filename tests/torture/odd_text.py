"""Configurations and flags as no sane person writes them."""

from __future__ import annotations

import random
from pathlib import Path

from jobs import SMALL

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
