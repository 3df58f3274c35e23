"""The commands that are tortured, small enough to be run thousands of times, and what must be the same afterwards."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

CACHE = "kept"  # the folder of what is kept between commands
MACHINE = ["--device", "cpu", "--progress", "silent"]
SMALL = ["--epochs", "2", "--seeds", "1", *MACHINE, "--data", "data.npz"]
OUT = ["--out", "out"]
TEACHER = ["train", "--student", "mlp:widths=8", *SMALL, "--out", "teacher"]
STORE = ["cache", "--data", "data.npz", "--teacher", "teacher", *MACHINE]
TAUGHT = ["distill", "--student", "mlp:widths=4", "--teacher", "mlp:widths=8", *SMALL]
MUTUAL = ["distill", "--method", "mutual", "--student", "mlp:widths=4", "--student", "mlp:widths=5", *SMALL]
SELF = ["distill", "--method", "self", "--student", "mlp:widths=6x5", "--exits", "features.relu1", *SMALL]
SEARCH = ["search", "--teacher", "teacher", "--student", "mlp:widths=4..8", "--trials", "9", "--winners", "1"]
SPECIALISTS = ["specialists", "train", "--generalist", "teacher", "--plan", "plan.yaml", "--epochs", "2"]
REPRODUCE = ["reproduce", "zhang2018-mutual-digits", "--smoke", "--seeds", "1", *MACHINE]
TINY_REGIME = "regime.recipe.num_epochs=2"
SHARDS = ["--shard-bytes", "200"]


@dataclass(frozen=True)
class Job:
    """What is given once, disturbed, and given again.

    Args:
        commands: arguments of limbeck; several run at once.
        num_ranks: processes of torchrun that do the one command together; 1 for no torchrun.
    """

    commands: list[list[str]] = field(default_factory=list)
    num_ranks: int = 1


def _one(*arguments: str, num_ranks: int = 1) -> Job:
    return Job([list(arguments)], num_ranks)


JOBS: dict[str, Job] = {
    "train": _one("train", "--student", "mlp:widths=4", *SMALL, *OUT),
    "distill": _one(*TAUGHT, *OUT),
    "distill from a network": _one("distill", "--student", "mlp:widths=4", "--teacher", "teacher", *SMALL, *OUT),
    "distill from a store": _one("distill", "--student", "mlp:widths=4", "--store", "store", *SMALL, *OUT),
    "distill --fuse": _one(*TAUGHT, "--student", "mlp:widths=3", "--fuse", *OUT),
    "distill --method mutual": _one(*MUTUAL, *OUT),
    "distill --method self": _one(*SELF, *OUT),
    "search": _one(*SEARCH, *SMALL, *OUT),
    "export": _one("export", "run", *OUT),
    "reproduce": _one(*REPRODUCE, "--set", TINY_REGIME, "--networks", "out/networks", "--out", "out/record"),
    "specialists train": _one(*SPECIALISTS, *MACHINE, "--data", "data.npz", *OUT),
    "cache": _one(*STORE, *SHARDS, *OUT),
    "cache, three processes": Job([[*STORE, *SHARDS, "--shards", f"{first}::3", *OUT] for first in range(3)]),
    "torchrun distill": _one(*TAUGHT, *OUT, num_ranks=2),
    "torchrun cache": _one(*STORE, *SHARDS, *OUT, num_ranks=2),
}
SAME = (".safetensors", ".bin", ".pt2", ".onnx")  # files whose bytes a resumed command must give again
BLOCK_BYTES = 4096
NEEDED = ("data.npz", "plan.yaml", "teacher", "run", "store")  # what the jobs read
LEFT_OVER = ("*.partial*", ".overwritten", ".unpacking-*")


def job_of(number: int) -> str:
    """Return the name of the job that an attempt disturbs: one after the other."""
    return list(JOBS)[number % len(JOBS)]


def write_data(folder: Path, *, num_samples: int = 120, seed: int = 0) -> None:
    """Write a data set of four features and three classes as ``data.npz``, and a plan of two specialists."""
    draw = np.random.default_rng(seed)
    labels = np.arange(num_samples) % 3
    inputs = draw.normal(size=(num_samples, 4)).astype(np.float32) + labels[:, None]
    np.savez(folder / "data.npz", inputs=inputs, labels=labels)
    sets = "[['0', '1'], ['1', '2']]"
    text = f"format: limbeck-specialist-plan\nversion: 1\nclass_names: ['0', '1', '2']\nclass_sets: {sets}\n"
    (folder / "plan.yaml").write_text(text)


def write_pictures(path: Path) -> None:
    """Write an archive of twelve grey pictures of two classes."""
    draw = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(12):
            file = io.BytesIO()
            Image.fromarray(draw.integers(0, 256, (8, 8), dtype=np.uint8)).save(file, "png")
            archive.writestr(f"pictures/{'ab'[number % 2]}/{number}.png", file.getvalue())


def fingerprint(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file below a folder whose bytes must be the same however often it was stopped."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in SAME
    }


def disk_bytes(folder: Path) -> int:
    """Return how much room the files below a folder take, in whole blocks."""
    sizes = (path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return sum(BLOCK_BYTES * (1 + size // BLOCK_BYTES) for size in sizes)


def left_over(folder: Path) -> list[str]:
    """Return what a finished command should have removed, in its folder or beside it."""
    found = [path for pattern in LEFT_OVER for path in folder.rglob(pattern)]
    found += [path for path in folder.parent.glob(".*") if path.name.startswith(f".{folder.name}")]
    return [str(path.relative_to(folder.parent)) for path in found]
