"""The common job: an ensemble of your own modules into one small student, beside the student without a teacher.

Run: python examples/ensemble.py
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

import limbeck


def my_student(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """Build any module: it is called once for each seed."""
    num_inputs = torch.Size(input_shape).numel()
    return nn.Sequential(nn.Flatten(), nn.Linear(num_inputs, 16), nn.ReLU(), nn.Linear(16, num_classes))


def main(out: Path | None = None, num_epochs: int = 15, seeds: int = 3) -> str:
    """Train two teachers, pool them 2 : 1, distil; return the summary."""
    recipe = limbeck.TrainConfig(num_epochs=num_epochs, batch_size=64)
    result = limbeck.distill(
        my_student,
        teachers=["mlp:widths=200x200", "convnet"],
        train=limbeck.load_data("digits"),
        teacher_weights=[1, 2],
        temperature=4,
        recipe=recipe,
        seeds=seeds,
        progress="plain",
    )
    print(result.summary())
    if out is not None:
        result.save(out)
    return result.summary()


if __name__ == "__main__":
    main(Path("runs/example-ensemble"))
