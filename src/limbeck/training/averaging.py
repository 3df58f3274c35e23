"""Exponential moving average of weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from limbeck.models.sharding import local_shard


class AveragedWeights:
    r"""An exponential moving average of a module's parameters and floating-point buffers.

    .. math:: \bar w_t = d_t \bar w_{t-1} + (1 - d_t) w_t, \qquad d_t = \min(d, (1 + t) / (10 + t))

    The smaller decay at the beginning keeps the random initial weights out of the average. Integer buffers are copied.

    Args:
        model: the module; its state is copied.
        decay: d in [0, 1).
    """

    def __init__(self, model: nn.Module, *, decay: float) -> None:
        self.decay = decay
        self.num_updates = 0
        self.state: dict[str, Tensor] = {key: value.detach().clone() for key, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the module's weights after an optimiser step."""
        self.num_updates += 1
        decay = min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))
        current = {key: local_shard(value) for key, value in model.state_dict().items()}
        state = {key: local_shard(value) for key, value in self.state.items()}
        floating = [key for key, value in state.items() if value.is_floating_point()]
        torch._foreach_lerp_([state[key] for key in floating], [current[key] for key in floating], 1 - decay)
        for key in state.keys() - set(floating):
            state[key].copy_(current[key])
