"""From a view back to raw samples: what a teacher expects that never saw a normalised input."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.data import Normalise, Samples, Views
from limbeck.errors import TeacherError
from limbeck.inputs import Inputs, describe

PIXEL_SCALE = 255.0  # of uint8 images


class RawSamples:
    """Undoes the normalisation of a job's views: uint8 images come back to the byte, features up to rounding.

    Args:
        teacher: its name, for messages.
    """

    def __init__(self, teacher: str) -> None:
        self._teacher = teacher
        self._normalise: Normalise | None = None
        self._is_image: bool | None = None

    def bind(self, samples: Samples, views: Views) -> None:
        """Take the normalisation of the views, and whether the raw samples are uint8 images."""
        self._normalise, self._is_image = views.normalise, samples.is_image

    def __call__(self, inputs: Inputs) -> Inputs:
        """Return the raw samples of a view.

        Raises:
            TeacherError: nothing was bound, or a normalisation of mappings.
        """
        if self._is_image is None:
            raise TeacherError(
                f"The teacher {self._teacher} takes raw samples, and does not know how these inputs were made.",
                expected="check_fits(samples, views) first, as distill, fit and collect do",
                remedy="call teacher.check_fits(samples, views), or pass a teacher that takes the view itself",
            )
        if not isinstance(inputs, Tensor):
            if self._normalise is None:
                return inputs
            raise TeacherError(
                f"The teacher {self._teacher} takes raw samples; a normalisation of several inputs cannot be undone.",
                received=describe(inputs),
                remedy="leave normalise out",
            )
        raw = _denormalised(inputs, self._normalise)
        return (raw * PIXEL_SCALE).round().clamp(0, PIXEL_SCALE).to(torch.uint8) if self._is_image else raw


def _denormalised(inputs: Tensor, normalise: Normalise | None) -> Tensor:
    if normalise is None:
        return inputs
    mean, std = torch.tensor(normalise.mean), torch.tensor(normalise.std)
    if len(normalise.mean) > 1 and inputs.dim() >= 4:  # channels first; otherwise features last
        shape = (-1,) + (1,) * (inputs.dim() - 2)
        mean, std = mean.view(shape), std.view(shape)
    return inputs * std.to(inputs.device) + mean.to(inputs.device)
