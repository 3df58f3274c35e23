"""Lion: an optimiser that steps by the sign of its momentum."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class Lion(torch.optim.Optimizer):
    r"""EvoLved Sign Momentum, with decoupled weight decay.

    .. math:: w \leftarrow (1 - \eta \lambda) w - \eta\, \mathrm{sign}(\beta_1 m + (1 - \beta_1) g), \qquad
        m \leftarrow \beta_2 m + (1 - \beta_2) g

    Every weight moves by the learning rate, so that it wants a rate 3 to 10 times smaller than AdamW's, and a weight
    decay as much larger.

    Args:
        params: parameters, or groups of them.
        lr: learning rate eta > 0.
        betas: beta_1 of the step and beta_2 of the momentum, both in [0, 1).
        weight_decay: lambda >= 0.
    Example:
        >>> weight = torch.nn.Parameter(torch.tensor([1.0, -1.0]))
        >>> weight.grad = torch.tensor([0.5, -2.0])
        >>> Lion([weight], lr=0.1).step()
        >>> weight.data
        tensor([ 0.9000, -0.9000])

    References:
        Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms", arXiv:2302.06675, algorithm 2.
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step on the gradients that are there; a closure is not supported."""
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if parameters:
                self._step(parameters, group)

    def _step(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        momenta = [self.state[parameter]["momentum"] for parameter in parameters]
        learning_rate, (step_beta, momentum_beta) = group["lr"], group["betas"]
        directions = torch._foreach_lerp(momenta, gradients, 1 - step_beta)
        torch._foreach_mul_(parameters, 1 - learning_rate * group["weight_decay"])
        torch._foreach_add_(parameters, [direction.sign_() for direction in directions], alpha=-learning_rate)
        torch._foreach_lerp_(momenta, gradients, 1 - momentum_beta)
