"""Batch norm over the rows of all ranks, on any device; torch's own is for GPUs alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from limbeck.ranks.group import Ranks, ranks_of_process


class SyncedBatchNorm(torch.autograd.Function):
    r"""Normalisation of each channel by mean and variance over all rows of all ranks.

    .. math:: y = w \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + b

    Deviations are from the mean of all ranks, so nothing cancels. Reduced in float32 at least. The gradients of w and b
    are the rank's share, which the step adds up with those of all other weights.

    Inputs: x of shape (rows, channels, ...); w and b of shape (channels,) or None; epsilon; the ranks.
    Outputs: y, like x; mean and (biased) variance, shape (channels,), and how many values they are of, shape ().
    """

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, ranks: Ranks
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See the class."""
        outputs, mean, variance, count, normalised, scale = _normalise(inputs, weight, bias, eps, ranks)
        ctx.ranks = ranks
        ctx.save_for_backward(normalised, scale, weight, count)
        ctx.mark_non_differentiable(mean, variance, count)
        return outputs, mean, variance, count

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Any) -> tuple[Tensor, Tensor | None, Tensor | None, None, None]:
        """Return the gradients of x, w and b."""
        of_inputs, of_weight, of_bias = _gradients(gradient, *ctx.saved_tensors, ranks=ctx.ranks)
        _, has_weight, has_bias, _, _ = ctx.needs_input_grad
        return of_inputs, of_weight if has_weight else None, of_bias if has_bias else None, None, None


def synced_batch_norm(
    inputs: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, ranks: Ranks
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return what :class:`SyncedBatchNorm` does; under a compiler by operators of this process's ranks."""
    if torch.compiler.is_compiling():
        found: tuple[Tensor, ...] = torch.ops.limbeck.synced_norm(inputs, weight, bias, eps)
        return found[0], found[1], found[2], found[3]
    apply: Callable[..., tuple[Tensor, Tensor, Tensor, Tensor]] = SyncedBatchNorm.apply
    return apply(inputs, weight, bias, eps, ranks)


@cache
def define_operators() -> None:
    """Make the two passes known to torch as operators that a compiler takes as they are."""

    @torch.library.custom_op("limbeck::synced_norm", mutates_args=())
    def normalise(
        inputs: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        return _normalise(inputs, weight, bias, eps, ranks_of_process())

    @torch.library.custom_op("limbeck::synced_norm_backward", mutates_args=())
    def gradients(
        gradient: Tensor, normalised: Tensor, scale: Tensor, weight: Tensor | None, count: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        return _gradients(gradient, normalised, scale, weight, count, ranks=ranks_of_process())

    @normalise.register_fake
    def _(inputs: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> tuple[Tensor, ...]:
        wide = inputs.new_empty(inputs.shape, dtype=torch.promote_types(inputs.dtype, torch.float32))
        mean = wide.new_empty(inputs.shape[1])
        return torch.empty_like(inputs), mean, mean.clone(), wide.new_empty(()), torch.empty_like(wide), mean.clone()

    @gradients.register_fake
    def _(gradient: Tensor, normalised: Tensor, scale: Tensor, weight: Tensor | None, count: Tensor) -> Any:
        return torch.empty_like(gradient), torch.empty_like(scale), torch.empty_like(scale)

    def keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.has_weight, ctx.has_bias = (one is not None and one.requires_grad for one in inputs[1:3])
        ctx.save_for_backward(output[4], output[5], inputs[1], output[3])

    def backward(ctx: Any, gradient: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        found = torch.ops.limbeck.synced_norm_backward(gradient, *ctx.saved_tensors)
        return found[0], found[1] if ctx.has_weight else None, found[2] if ctx.has_bias else None, None

    normalise.register_autograd(backward, setup_context=keep)


def _normalise(
    inputs: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, ranks: Ranks
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return y, mean, variance, count; and for the backward pass the normalised x and 1 / sqrt(variance + eps)."""
    wide = inputs.to(torch.promote_types(inputs.dtype, torch.float32))
    axes = _all_but_channels(inputs)
    own = wide.new_full((1,), inputs.numel() / inputs.shape[1])
    sums = ranks.add_up(torch.cat([wide.sum(dim=axes), own]))
    mean, count = sums[:-1] / sums[-1], sums[-1]
    centred = wide - _across(mean, wide)
    variance = ranks.add_up(centred.square().sum(dim=axes)) / count
    scale = torch.rsqrt(variance + eps)  # (channels,)
    normalised = centred * _across(scale, wide)
    outputs = normalised if weight is None else normalised * _across(weight, wide)
    outputs = outputs if bias is None else outputs + _across(bias, wide)
    return outputs.to(inputs.dtype), mean, variance, count, normalised, scale


def _gradients(
    gradient: Tensor, normalised: Tensor, scale: Tensor, weight: Tensor | None, count: Tensor, *, ranks: Ranks
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of x, w and b."""
    wide, axes = gradient.to(normalised.dtype), _all_but_channels(gradient)
    of_bias = wide.sum(dim=axes)
    of_weight = (wide * normalised).sum(dim=axes)
    means = ranks.add_up(torch.stack([of_bias, of_weight])) / count
    centred = wide - _across(means[0], wide) - normalised * _across(means[1], wide)
    factor = scale if weight is None else scale * weight
    return (centred * _across(factor, wide)).to(gradient.dtype), of_weight, of_bias


def _all_but_channels(inputs: Tensor) -> list[int]:
    return [axis for axis in range(inputs.dim()) if axis != 1]


def _across(values: Tensor, like: Tensor) -> Tensor:
    """Return one value per channel in the shape that spreads over (rows, channels, ...)."""
    return values.view(1, -1, *[1] * (like.dim() - 2))
