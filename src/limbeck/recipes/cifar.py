"""What the recipes on small photographs share: views as in the papers, normalised by what is learned from."""

from __future__ import annotations

from collections.abc import Sequence

from limbeck.data import Normalise, Samples, Views, augmentations_from

AUGMENTATIONS = ("crop:4:reflect", "flip")  # random crops after 4 reflected pixels on each side, horizontal flips
SUBSET = (
    "By default 10,000 of the training images and networks of half the width or less, so that two CPU cores suffice: "
    "accuracies are far below the papers', and only differences under one recipe compare."
)


def augmented(images: Samples, augmentations: Sequence[str], *, seed: int) -> Views:
    """Return the views that a network learns from.

    Args:
        images: what is learned from; gives mean and deviation of each channel.
        augmentations: as ``augmentations_from`` takes them.
        seed: of the augmentation.
    """
    return Views(augmentations_from(augmentations), normalise=Normalise.fit(images), seed=seed)
