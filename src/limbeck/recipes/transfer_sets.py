"""Transfer sets: many views of each image held at once, and images from elsewhere brought to the task's shape."""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.data import UNLABELLED, Samples, Views, counter_bits
from limbeck.errors import DataError

LUMA = (0.299, 0.587, 0.114)  # of red, green and blue: ITU-R BT.601
VIEW_BATCH = 4096  # images that are augmented at once


def without_labels(samples: Samples) -> Samples:
    """Return the samples with every label taken away; ids, inputs and class names stay.

    Example:
        >>> digits = Samples("toy", torch.arange(2), torch.zeros(2, 4), torch.tensor([1, 0]), ("no", "yes"))
        >>> without_labels(digits).labels
        tensor([-1, -1])
    """
    return dataclasses.replace(samples, labels=torch.full_like(samples.labels, UNLABELLED))


def views_as_samples(samples: Samples, views: Views, *, num_views: int) -> Samples:
    """Return numbered views of images as a set of its own, ``num_views`` times as large, in memory.

    Where several networks learn from the same views, they are made once instead of once for each.

    Args:
        samples: uint8 images in memory; their labels are kept.
        views: augmented, without a normalisation.
        num_views: views 0 to num_views - 1 of each image; view v of the image of id i has the id i * num_views + v.
    Raises:
        DataError: inputs that are no such images.
    Example:
        >>> from limbeck.data import augmentations_from
        >>> ids, images = torch.arange(2), torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
        >>> toy = Samples("toy", ids, images, torch.tensor([0, 1]), ("no", "yes"))
        >>> shown = views_as_samples(toy, Views(augmentations_from(["jitter:1"]), seed=0), num_views=3)
        >>> len(shown), shown.ids.tolist(), shown.labels.tolist()
        (6, [0, 3, 1, 4, 2, 5], [0, 1, 0, 1, 0, 1])
    """
    _require_images(samples)
    assert isinstance(samples.inputs, Tensor), "required above"
    assert views.normalise is None, "views are normalised once, where they are learned from"
    shown = torch.empty((num_views, *samples.inputs.shape), dtype=torch.uint8)
    for view in range(num_views):
        for positions in torch.split(torch.arange(len(samples)), VIEW_BATCH):
            inputs = views.batch(samples, positions, view=view).inputs
            assert isinstance(inputs, Tensor), "images are one tensor"
            shown[view, positions] = (inputs * 255).round_().byte()  # exact: augmented images have 8 bits, too
    numbers = torch.arange(num_views)[:, None]
    return Samples(
        name=f"{num_views} views of {samples.name}",
        ids=(samples.ids * num_views + numbers).flatten(),
        inputs=shown.flatten(end_dim=1),
        labels=samples.labels.repeat(num_views),
        class_names=samples.class_names,
    )


def from_elsewhere(samples: Samples, *, like: Samples) -> Samples:
    """Bring another data set's images to the shape of grey ones: colours to their luma, centre cropped or zero-padded.

    Args:
        samples: images of 1 or 3 channels, uint8, in memory.
        like: grey images; shape and class names are taken from them.
    Returns:
        Unlabelled samples with the ids of ``samples``.
    Raises:
        DataError: inputs that are no such images.
    Example:
        >>> ids, nines = torch.arange(1), torch.full((1, 1, 4, 4), 9, dtype=torch.uint8)
        >>> small = Samples("small", ids, nines[..., :2, :2], torch.tensor([0]), ("no", "yes"))
        >>> large = Samples("large", ids, nines, torch.tensor([1]), ("off", "on"))
        >>> from_elsewhere(small, like=large).inputs[0, 0]
        tensor([[0, 0, 0, 0],
                [0, 9, 9, 0],
                [0, 9, 9, 0],
                [0, 0, 0, 0]], dtype=torch.uint8)
    """
    _require_images(samples)
    _require_images(like)
    if like.input_shape[0] != 1:
        raise DataError("Only grey images are imitated.", received=repr(like), expected="images of one channel")
    assert isinstance(samples.inputs, Tensor), "required above"
    images = samples.inputs
    if images.shape[1] == 3:
        luma = torch.tensor(LUMA).view(1, 3, 1, 1)
        images = torch.cat(
            [(part.float() * luma).sum(dim=1, keepdim=True).round_().byte() for part in torch.split(images, 4096)]
        )
    (height, width), (own_height, own_width) = like.input_shape[1:], images.shape[-2:]
    top, left = (height - own_height) // 2, (width - own_width) // 2
    margins = (left, width - own_width - left, top, height - own_height - top)  # negative ones crop
    return Samples(
        name=f"{samples.name} as {like.name}",
        ids=samples.ids,
        inputs=F.pad(images, margins).contiguous(),
        labels=torch.full_like(samples.labels, UNLABELLED),
        class_names=like.class_names,
    )


def noise_images(*, like: Samples, seed: int) -> Samples:
    """Return unlabelled images of independent pixels, uniform in 0 .. 255, with the ids and shape of ``like``.

    Args:
        like: uint8 images.
        seed: any integer; pixel j of an image depends on (seed, id, j) alone.
    """
    num_pixels = torch.Size(like.input_shape).numel()
    drawn = [
        counter_bits(ids, seed=seed, stream="noise", count=num_pixels) & 255 for ids in torch.split(like.ids, 1024)
    ]
    return Samples(
        name=f"noise as {like.name}",
        ids=like.ids,
        inputs=torch.cat([part.byte() for part in drawn]).view(len(like), *like.input_shape),
        labels=torch.full_like(like.labels, UNLABELLED),
        class_names=like.class_names,
    )


def _require_images(samples: Samples) -> None:
    if not samples.is_image or not isinstance(samples.inputs, Tensor):
        raise DataError(
            "A transfer set from elsewhere is made of images.",
            received=repr(samples),
            expected="uint8 images in memory",
        )
