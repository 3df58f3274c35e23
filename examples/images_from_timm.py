"""Images: two networks of timm by name, the larger one teaches the smaller one CIFAR-10.

Run: LIMBECK_DATA=../shared/data python examples/images_from_timm.py
Needs pip install 'limbeck[vision]', and CIFAR-10, which is downloaded where LIMBECK_DATA does not have it.
"""

from __future__ import annotations

from pathlib import Path

import timm
import torch
from torch import nn

import limbeck


def teacher(num_classes: int) -> nn.Module:
    """Build the network that is trained on the labels first; one that is trained already is given as it is."""
    return timm.create_model("resnet10t", num_classes=num_classes)


def main(
    out: Path | None = None, num_train: int = 2000, num_test: int = 1000, num_epochs: int = 10, seeds: int = 2
) -> str:
    """Train both on part of the images; return the summary."""
    splits = limbeck.load_data("cifar10")
    part = torch.Generator().manual_seed(0)
    train = splits.train.take(torch.randperm(len(splits.train), generator=part)[:num_train])
    test = splits.test.take(torch.randperm(len(splits.test), generator=part)[:num_test])
    recipe = limbeck.TrainConfig(
        num_epochs=num_epochs, batch_size=64, optimiser="adamw", learning_rate=3e-3, schedule="one_cycle"
    )
    result = limbeck.distill(
        "timm:mobilenetv3_small_050",
        teachers=teacher,
        train=train,
        test=test,
        normalise=limbeck.data.Normalise.fit(train),
        augmentations=["crop:4:reflect", "flip"],
        temperature=2,
        recipe=recipe,
        seeds=seeds,
        out=out,
    )
    print(result.summary())
    return result.summary()


if __name__ == "__main__":
    main(Path("runs/example-timm"))
