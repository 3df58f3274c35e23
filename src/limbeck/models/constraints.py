"""A limit on the norm of each unit's incoming weights, kept by projection after every optimiser step."""

from __future__ import annotations

import torch
from torch import nn

from limbeck.errors import ModelError, require_positive
from limbeck.models.sharding import local_shard

_ATTRIBUTE = "incoming_max_norm"  # not "max_norm": nn.Embedding has one of its own


def constrain_max_norm(module: nn.Module, *, max_norm: float) -> None:
    """Give a linear or convolutional layer a limit that :func:`project_max_norm` will keep.

    Args:
        module: a layer whose ``weight`` has the units (or output channels) along its first axis.
        max_norm: largest L2 norm of one unit's incoming weights, > 0. Biases are not counted.
    Raises:
        InvalidValue: max_norm is not a finite number above 0.
        ModelError: the layer has no weight with two or more axes.
    Example:
        >>> constrain_max_norm(nn.Linear(4, 2), max_norm=15**0.5)
    """
    require_positive("max_norm", max_norm)
    weight = getattr(module, "weight", None)
    if not isinstance(weight, torch.Tensor) or weight.dim() < 2:
        raise ModelError(
            "This layer has no incoming weights to limit.",
            received=type(module).__name__,
            expected="a layer whose weight has shape (units, inputs, ...)",
        )
    setattr(module, _ATTRIBUTE, float(max_norm))


def max_norm_of(module: nn.Module) -> float | None:
    """Return a layer's limit; None where it has none."""
    limit: float | None = module.__dict__.get(_ATTRIBUTE)
    return limit


@torch.no_grad()
def project_max_norm(model: nn.Module, *, stack_axes: int = 0) -> None:
    r"""Shrink the incoming weights of every unit that exceeds its layer's limit; call it after each optimiser step.

    .. math:: w_u \leftarrow w_u \min(1, m / \lVert w_u \rVert_2)

    A model without limits is left alone. Nothing waits for the accelerator.

    Args:
        model: any module; layers with a limit come from :func:`constrain_max_norm` or ``mlp(max_norm=...)``.
        stack_axes: leading axes of every weight that count networks; the units' axis comes after them.
    Example:
        >>> layer = nn.Linear(2, 1)
        >>> _ = nn.init.constant_(layer.weight, 3.0)
        >>> constrain_max_norm(layer, max_norm=2**0.5)
        >>> project_max_norm(layer)
        >>> layer.weight.tolist()
        [[1.0, 1.0]]

    References:
        Hinton et al. 2012, arXiv:1207.0580, section 2 and appendix A.1: squared norm at most 15 on MNIST.
    """
    remaining: list[nn.Module | None] = [model]
    while remaining:  # model.modules() builds every name on the way: ten times slower, at every step
        module = remaining.pop()
        if module is None:
            continue
        limit = max_norm_of(module)
        if limit is not None:
            weight = local_shard(module.weight)  # type: ignore[arg-type]  # whole rows of it
            _shrink(weight.flatten(0, stack_axes).flatten(1), limit)
        remaining += module._modules.values()


def _shrink(rows: torch.Tensor, limit: float) -> None:
    """Shrink the rows, shape (units, inputs), whose norm exceeds the limit."""
    norms = torch.linalg.vector_norm(rows, dim=1)
    if rows.device.type != "cpu":  # no count of the rows, which would wait for the device
        rows.mul_((limit / norms).clamp_(max=1.0)[:, None])
        return
    exceeding = (norms > limit).nonzero()[:, 0]  # few, once training has settled: the others are not written again
    if len(exceeding):
        scale = limit / norms.index_select(0, exceeding)
        rows.index_copy_(0, exceeding, rows.index_select(0, exceeding).mul_(scale[:, None]))
