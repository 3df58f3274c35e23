"""A data set of your own and a random transform of your own: every view is the same again, so it can be stored.

Run: python examples/own_dataset_own_transform.py
"""

from __future__ import annotations

import random
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.utils.data import Dataset, Subset

import limbeck


class Digits(Dataset):
    """Any map-style data set: a length, and (inputs, label) by position."""

    def __init__(self) -> None:
        self.bunch = load_digits()

    def __len__(self) -> int:
        return len(self.bunch.target)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        picture = torch.from_numpy(self.bunch.images[position] / 16).float()
        return picture[None], int(self.bunch.target[position])


def shake(picture: Tensor) -> Tensor:
    """Move the picture and add noise, with whatever random numbers: Python's, NumPy's or torch's."""
    moved = torch.roll(picture, (random.randint(-1, 1), random.randint(-1, 1)), dims=(-2, -1))
    return moved + 0.1 * torch.randn_like(moved)


def main(out: Path | None = None, num_epochs: int = 10, seeds: int = 3, num_views: int = 4) -> str:
    """Distil with ``num_views`` views of each sample, the teacher's outputs collected once; return the summary."""
    digits = Digits()
    result = limbeck.distill(
        "mlp:widths=16",
        teachers="convnet",
        train=Subset(digits, range(1400)),
        test=Subset(digits, range(1400, len(digits))),
        transform=shake,
        num_views=num_views,
        recipe=limbeck.TrainConfig(num_epochs=num_epochs, batch_size=32),
        seeds=seeds,
        out=out,
    )
    print(result.summary())
    return result.summary()


if __name__ == "__main__":
    main(Path("runs/example-own-transform"))
