"""Accuracy on images that were scaled by another filter: a network that never saw one may break at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.data import Samples, Views
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.trained import TrainedNetwork
from limbeck.recipes.evaluation import predict
from limbeck.teachers import Teacher

PART = 4096  # images that are scaled at once
SMALLER = 0.75  # of a side: so far an image is scaled down
SHARPNESS = {"softer": -0.75, "sharper": 0.75}  # as much as two usual filters differ at 32 x 32 pixels


def rescaled(samples: Samples, *, sharpness: float) -> Samples:
    r"""Return images as another filter would have scaled them: softer where sharpness is below 0, sharper above.

    .. math:: x' = x + sharpness \cdot (x - b(x))

    in which b scales an image down to three quarters of its sides and up again, both with antialiased bilinear
    weights. Values are rounded and kept in 0 .. 255.

    Args:
        samples: uint8 images in memory.
        sharpness: 0 changes nothing.
    """
    assert isinstance(samples.inputs, Tensor), "images of a recipe are one tensor"
    parts = []
    for part in torch.split(samples.inputs, PART):
        images, sides = part.float(), part.shape[-2:]
        smaller = [max(1, round(SMALLER * side)) for side in sides]
        soft = F.interpolate(images, size=smaller, mode="bilinear", antialias=True)
        soft = F.interpolate(soft, size=list(sides), mode="bilinear", antialias=True)
        parts.append((images + sharpness * (images - soft)).round_().clamp_(0, 255).byte())
    return replace(samples, name=f"{samples.name}, rescaled", inputs=torch.cat(parts))


def mean_absolute_gradient(samples: Samples) -> float:
    """Return how far neighbouring pixels differ on average, across and down together, as a fraction of the range."""
    assert isinstance(samples.inputs, Tensor), "images of a recipe are one tensor"
    images = samples.inputs.float() / 255
    return float(images.diff(dim=-1).abs().mean() + images.diff(dim=-2).abs().mean())


def observe_scalings(experiment: Experiment, networks: Mapping[str, TrainedNetwork | Teacher], *, views: Views) -> None:
    """Record accuracies on the evaluated images, softer and sharper; after everything has been evaluated as it is.

    Args:
        experiment: where "test_accuracy_softer" and "test_accuracy_sharper" are recorded.
        networks: by condition.
        views: for their normalisation.
    """
    assert experiment.is_evaluated, "nothing is chosen after this"
    images = experiment.data.test
    gradients = [f"{mean_absolute_gradient(images):.3f} as they are"]
    for word, sharpness in SHARPNESS.items():
        changed = rescaled(images, sharpness=sharpness)
        gradients.append(f"{mean_absolute_gradient(changed):.3f} {word}")
        for condition, network in networks.items():
            found = predict(experiment, network, changed, views=views)
            quantity = experiment.quantity(f"accuracy_{word}")
            experiment.results.observe(condition, None, quantity, found.accuracy, "fraction")
    experiment.results.note(
        "Accuracy was read at two more scalings, since networks can break at a change of filter; mean absolute "
        f"gradient of the images: {', '.join(gradients)}."
    )
