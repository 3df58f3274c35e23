"""The optimisers, fused where torch has it, with weight decay on matrices only."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.errors import ModelError
from limbeck.settings import TrainConfig
from limbeck.training.lion import Lion

FLUSH_STEPS = 128
_FLUSH_BELOW = 1e-25  # a step of 1 times this changes no weight above 1e-18


def build_optimiser(
    model: nn.Module, recipe: TrainConfig, *, parameters: Sequence[nn.Parameter] | None = None, stack_axes: int = 0
) -> torch.optim.Optimizer:
    """Return the recipe's optimiser over the trainable parameters, in two groups: with and without weight decay.

    Biases, norm scales and every other vector or scalar are not decayed.

    Args:
        model: what is trained.
        recipe: the optimiser and its settings.
        parameters: what the optimiser gets, where it is not the model's.
        stack_axes: leading axes of every parameter that count networks and not weights: a stack of biases is still
            not decayed.
    Raises:
        ModelError: nothing is trainable.
    """
    given = model.parameters() if parameters is None else parameters
    trainable = [parameter for parameter in given if parameter.requires_grad]
    if not trainable:
        raise ModelError(
            f"{type(model).__name__} has nothing to train.",
            received="no parameter with requires_grad = True",
            remedy="are teacher and student swapped? a teacher is frozen for good",
        )
    decayed = [p for p in trainable if p.ndim - stack_axes >= 2 and recipe.weight_decay > 0]
    others = [p for p in trainable if p.ndim - stack_axes < 2 or recipe.weight_decay == 0]
    groups = [
        {"params": parameters, "weight_decay": decay}
        for parameters, decay in ((decayed, recipe.weight_decay), (others, 0.0))
        if parameters
    ]
    fused = all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in trainable)
    if recipe.optimiser == "lion":
        return Lion(groups, lr=recipe.learning_rate)
    if recipe.optimiser == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=fused)
    return torch.optim.SGD(
        groups,
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        fused=fused,
    )


@torch.no_grad()
def flush_subnormal_state(optimiser: torch.optim.Optimizer) -> None:
    """Set to 0 what the optimiser remembers of gradients where it is fainter than 1e-25.

    Where a gradient has become exactly 0 (a dead unit, a pixel that is always dark) momentum fades towards the
    subnormal numbers, m <- 0.9 m, and stays at the last of them for good, since 0.9 x 4 units rounds to 4. A CPU takes
    twenty times as long with those. Called every 128 steps, while 0.9^128 = 1e-6 cannot reach them yet; no weight
    changes by it.
    """
    for state in optimiser.state.values():
        for value in state.values():
            if isinstance(value, Tensor) and value.is_floating_point() and value.ndim > 0:
                value.copy_(F.hardshrink(value, _FLUSH_BELOW))


@torch.no_grad()
def clip_each(parameters: Sequence[nn.Parameter], clip_norm: float) -> None:
    """Shrink the gradient of every network whose L2 norm, over all its parameters, exceeds the limit.

    Args:
        parameters: their first axis counts networks; the others' gradients are changed in place.
        clip_norm: largest norm.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norms = torch.stack([torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in gradients])
    norm = torch.linalg.vector_norm(norms, dim=0)  # (networks,)
    factor = (clip_norm / (norm + 1e-6)).clamp(max=1.0)  # as torch.nn.utils.clip_grad_norm_
    for gradient in gradients:
        gradient.mul_(factor.view(-1, *[1] * (gradient.ndim - 1)))
