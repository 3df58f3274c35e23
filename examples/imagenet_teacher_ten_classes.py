"""A teacher of a thousand classes for a student of ten: classes by name, several of the teacher's add up.

Run: python examples/imagenet_teacher_ten_classes.py PHOTOS, a folder with a folder of images for each class below.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

import limbeck
from limbeck.data import Normalise

CATS = ("tabby, tabby cat", "tiger cat", "Persian cat", "Siamese cat, Siamese", "Egyptian cat")
DOGS = ("beagle", "pug, pug-dog", "golden retriever", "Chihuahua", "collie")
CLASS_MAP = dict.fromkeys(CATS, "cat") | dict.fromkeys(DOGS, "dog")


def imagenet_teacher() -> tuple[nn.Module, list[str]]:
    """Return timm's ResNet-18 with its weights, which are downloaded once, and ImageNet's class names."""
    import timm
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    names = [info.index_to_description(number) for number in range(info.num_classes())]
    return timm.create_model("resnet18", pretrained=True), names


def main(folder: Path, teacher: nn.Module, teacher_names: Sequence[str], num_epochs: int = 30, seeds: int = 3) -> str:
    """Distil what the teacher knows of the folder's classes; return the summary."""
    photos = limbeck.load_data(folder, image_size=64)
    imagenet = Normalise(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    result = limbeck.distill(
        "resnet20",
        teachers=teacher,
        train=photos,
        teacher_class_names=teacher_names,
        class_map={name: own for name, own in CLASS_MAP.items() if own in photos.train.class_names},
        normalise=imagenet,  # as the teacher was trained
        augmentations=["flip"],
        recipe=limbeck.TrainConfig(num_epochs=num_epochs, batch_size=64),
        seeds=seeds,
    )
    print(result.summary())
    return result.summary()


if __name__ == "__main__":
    torch.manual_seed(0)
    main(Path(sys.argv[1]), *imagenet_teacher())
