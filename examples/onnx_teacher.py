"""A teacher that is an ONNX file: magika's classifier of 214 file types, on the files that this machine has.

Run: python examples/onnx_teacher.py
Needs pip install 'limbeck[onnx]' magika: the package magika carries its trained network. No labels are needed.
"""

from __future__ import annotations

import importlib.util
import json
import sysconfig
from collections import defaultdict
from pathlib import Path

import torch
from torch import nn

import limbeck


def student(num_classes: int) -> nn.Module:
    """Return a small network that sees which bytes a file has, not in which order."""
    return nn.Sequential(nn.EmbeddingBag(257, 128), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, num_classes))


def ends_of(path: Path) -> list[int]:
    """Return the first and last 1024 bytes of a file without outer white space, as magika reads it."""
    content = path.read_bytes()
    first, last = content[:4096].lstrip()[:1024], content[-4096:].rstrip()[-1024:]
    return [*first, *[256] * (1024 - len(first)), *[256] * (1024 - len(last)), *last]


def main(out: Path | None = None, per_suffix: int = 20, num_epochs: int = 10, seeds: int = 2) -> str:
    """Run magika's network on files of every suffix, and distil its outputs; return the summary."""
    model = Path(importlib.util.find_spec("magika").origin).parent / "models" / "standard_v3_3"
    by_suffix = defaultdict(list)
    for path in sorted(Path(sysconfig.get_path("purelib")).rglob("*")):
        if path.is_file() and path.stat().st_size >= 8:
            by_suffix[path.suffix].append(path)
    files = [path for paths in by_suffix.values() for path in paths[:: len(paths) // per_suffix + 1]]
    result = limbeck.distill(
        student,
        teachers=limbeck.as_teacher(model / "model.onnx", outputs="probs"),
        train=torch.tensor([ends_of(path) for path in files]),  # no labels
        class_names=json.loads((model / "config.min.json").read_text())["target_labels_space"],
        temperature=2,
        recipe=limbeck.TrainConfig(num_epochs=num_epochs, batch_size=32, optimiser="adamw", learning_rate=0.005),
        seeds=seeds,
        out=out,
    )
    print(result.summary())
    return result.summary()


if __name__ == "__main__":
    main(Path("runs/example-onnx"))
