"""A network that wants its inputs in another normalisation than they come in."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

MeanAndStd = tuple[Sequence[float], Sequence[float]]


class Renormalised(nn.Module):
    r"""A network behind a change of normalisation: x -> ((x * std + mean) - own mean) / own std.

    Args:
        network: expects its ``own`` normalisation.
        given: mean and std of the inputs that come in; None for none.
        own: None for none.
        num_axes: of one input, channels first.
    Example:
        >>> network = Renormalised(nn.Identity(), given=None, own=((0.5,), (0.25,)), num_axes=1)
        >>> network(torch.tensor([[0.5, 1.0]]))
        tensor([[0., 2.]])
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module, *, given: MeanAndStd | None, own: MeanAndStd | None, num_axes: int) -> None:
        super().__init__()
        mean, std = _tensors(given)
        own_mean, own_std = _tensors(own)
        shape = (-1,) + (1,) * (num_axes - 1)
        self.network = network
        self.register_buffer("scale", (std / own_std).reshape(shape))
        self.register_buffer("shift", ((mean - own_mean) / own_std).reshape(shape))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the network's logits, shape (batch, classes)."""
        logits: Tensor = self.network(inputs * self.scale + self.shift)
        return logits


def _tensors(normalise: MeanAndStd | None) -> tuple[Tensor, Tensor]:
    if normalise is None:
        return torch.zeros(1), torch.ones(1)
    mean, std = normalise
    return torch.tensor(tuple(mean)), torch.tensor(tuple(std))
