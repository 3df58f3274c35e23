"""Batch norm over the rows of all ranks, on any device; torch's own is for GPUs alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from limbeck.ranks.group import Ranks


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
        wide = inputs.to(torch.promote_types(inputs.dtype, torch.float32))
        axes = [axis for axis in range(inputs.dim()) if axis != 1]
        own = wide.new_full((1,), inputs.numel() / inputs.shape[1])
        sums = ranks.add_up(torch.cat([wide.sum(dim=axes), own]))
        mean, count = sums[:-1] / sums[-1], sums[-1]
        centred = wide - _across(mean, wide)
        variance = ranks.add_up(centred.square().sum(dim=axes)) / count
        scale = torch.rsqrt(variance + eps)  # (channels,)
        normalised = centred * _across(scale, wide)
        ctx.ranks, ctx.axes = ranks, axes
        ctx.save_for_backward(normalised, scale, weight, count)
        ctx.mark_non_differentiable(mean, variance, count)
        outputs = normalised if weight is None else normalised * _across(weight, wide)
        outputs = outputs if bias is None else outputs + _across(bias, wide)
        return outputs.to(inputs.dtype), mean, variance, count

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Any) -> tuple[Tensor, Tensor | None, Tensor | None, None, None]:
        """Return the gradients of x, w and b."""
        normalised, scale, weight, count = ctx.saved_tensors
        wide = gradient.to(normalised.dtype)
        of_bias = wide.sum(dim=ctx.axes)
        of_weight = (wide * normalised).sum(dim=ctx.axes)
        means = ctx.ranks.add_up(torch.stack([of_bias, of_weight])) / count
        centred = wide - _across(means[0], wide) - normalised * _across(means[1], wide)
        factor = scale if weight is None else scale * weight
        of_inputs = (centred * _across(factor, wide)).to(gradient.dtype)
        _, has_weight, has_bias, _, _ = ctx.needs_input_grad
        return of_inputs, of_weight if has_weight else None, of_bias if has_bias else None, None, None


def _across(values: Tensor, like: Tensor) -> Tensor:
    """Return one value per channel in the shape that spreads over (rows, channels, ...)."""
    return values.view(1, -1, *[1] * (like.dim() - 2))
