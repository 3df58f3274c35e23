"""The linear layers of many networks as one batched matrix product."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def stacked_linear(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    r"""Apply layer k to the inputs of network k.

    .. math:: y_k = x_{g(k)} W_k^T + b_k

    Args:
        inputs: x, shape (groups, batch, inputs), where the number of groups divides K: the first networks see the
            first group, and so on.
        weight: W, shape (K, units, inputs).
        bias: b, shape (K, units), or None.
    Returns:
        y, shape (K, batch, units).
    Example:
        >>> stacked_linear(torch.ones(1, 2, 3), torch.tensor([[[1.0, 2.0, 3.0]], [[0.0, 0.0, 1.0]]]), None).tolist()
        [[[6.0], [6.0]], [[1.0], [1.0]]]
    """
    if torch.is_autocast_enabled(inputs.device.type):
        dtype = torch.get_autocast_dtype(inputs.device.type)
        inputs, weight, bias = inputs.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    outputs: Tensor = _StackedLinear.apply(inputs, weight, bias)  # type: ignore[no-untyped-call]
    return outputs


class _StackedLinear(torch.autograd.Function):
    """``torch.baddbmm`` with a gradient that is made in the weight's own layout.

    The gradient that autograd derives is the transposed one. Copying it into place took as long as the product itself.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        num_groups, num_networks = len(inputs), len(weight)
        rows = _below_each_other(weight, num_groups).transpose(1, 2)
        if bias is None:
            outputs = torch.bmm(inputs, rows)
        else:
            outputs = torch.baddbmm(bias.view(num_groups, 1, -1), inputs, rows)
        if num_groups == num_networks:
            return outputs
        apart = outputs.view(num_groups, inputs.shape[1], num_networks // num_groups, -1).transpose(1, 2)
        return apart.reshape(num_networks, inputs.shape[1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        inputs, weight = ctx.saved_tensors
        num_groups, batch_size = len(inputs), inputs.shape[1]
        of_bias = upstream.sum(dim=1) if ctx.needs_input_grad[2] else None
        if num_groups < len(weight):
            upstream = upstream.view(num_groups, -1, batch_size, weight.shape[1]).transpose(1, 2)
            upstream = upstream.reshape(num_groups, batch_size, -1)
        of_inputs = of_weight = None
        if ctx.needs_input_grad[0]:
            of_inputs = torch.bmm(upstream, _below_each_other(weight, num_groups))
        if ctx.needs_input_grad[1]:
            of_weight = torch.bmm(upstream.transpose(1, 2), inputs).view_as(weight)
        return of_inputs, of_weight, of_bias


def _below_each_other(weight: Tensor, num_groups: int) -> Tensor:
    """Return the layers of each group's networks as one, shape (groups, units of all, inputs)."""
    return weight.view(num_groups, -1, weight.shape[-1])
