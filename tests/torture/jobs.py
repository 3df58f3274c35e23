"""The commands that are tortured, small enough to be run thousands of times, and what must be the same afterwards."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

SMALL = ["--epochs", "2", "--seeds", "1", "--device", "cpu", "--progress", "silent", "--data", "data.npz"]
TEACHER = ["train", "--student", "mlp:widths=8", *SMALL, "--out", "teacher"]
STORE = ["cache", "--data", "data.npz", "--teacher", "teacher", "--device", "cpu", "--progress", "silent"]
COMMANDS: dict[str, list[str]] = {
    "train": ["train", "--student", "mlp:widths=4", *SMALL, "--out", "out"],
    "distill": ["distill", "--student", "mlp:widths=4", "--teacher", "mlp:widths=8", *SMALL, "--out", "out"],
    "distill from a network": ["distill", "--student", "mlp:widths=4", "--teacher", "teacher", *SMALL, "--out", "out"],
    "distill --method mutual": [
        *["distill", "--method", "mutual", "--student", "mlp:widths=4", "--student", "mlp:widths=5"],
        *[*SMALL, "--out", "out"],
    ],
    "cache": [*STORE, "--shard-bytes", "200", "--out", "out"],
    "specialists train": [
        *["specialists", "train", "--generalist", "teacher", "--plan", "plan.yaml", "--epochs", "2"],
        *["--device", "cpu", "--progress", "silent", "--data", "data.npz", "--out", "out"],
    ],
}
SAME = (".safetensors", ".bin", ".pt2")  # files whose bytes a resumed command must give again
LEFT_OVER = ("*.partial*", ".overwritten", ".unpacking-*")


def write_data(folder: Path, *, num_samples: int = 120, seed: int = 0) -> None:
    """Write a data set of four features and three classes as ``data.npz``, and a plan of two specialists."""
    draw = np.random.default_rng(seed)
    labels = np.arange(num_samples) % 3
    inputs = draw.normal(size=(num_samples, 4)).astype(np.float32) + labels[:, None]
    np.savez(folder / "data.npz", inputs=inputs, labels=labels)
    sets = "[['0', '1'], ['1', '2']]"
    text = f"format: limbeck-specialist-plan\nversion: 1\nclass_names: ['0', '1', '2']\nclass_sets: {sets}\n"
    (folder / "plan.yaml").write_text(text)


def fingerprint(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file below a folder whose bytes must be the same however often it was stopped."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in SAME
    }


def left_over(folder: Path) -> list[str]:
    """Return what a finished command should have removed."""
    return [str(path.relative_to(folder)) for pattern in LEFT_OVER for path in folder.rglob(pattern)]
