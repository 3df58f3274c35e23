"""The linear layers of many networks as batched matrix products, one behind the other in a single autograd function."""

from __future__ import annotations

from collections.abc import Sequence
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
    return stacked_layers(inputs, [weight], [bias], has_relu=[False])


def stacked_layers(
    inputs: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor | None], *, has_relu: Sequence[bool]
) -> Tensor:
    r"""Apply the layers of network k to its inputs, one after the other.

    .. math:: h_{k,0} = x_{g(k)}, \qquad h_{k,l} = r_l(h_{k,l-1} W_{k,l}^T + b_{k,l})

    with r a ReLU or nothing. All layers are one node of autograd's graph: between small products, a node costs more
    than its arithmetic.

    Args:
        inputs: x, shape (groups, batch, inputs), as :func:`stacked_linear` takes them.
        weights: W of each layer, shape (K, units, units before).
        biases: b of each layer, shape (K, units), or None.
        has_relu: r of each layer.
    Returns:
        h of the last layer, shape (K, batch, units).
    """
    if torch.is_autocast_enabled(inputs.device.type):
        dtype = torch.get_autocast_dtype(inputs.device.type)
        inputs, weights = inputs.to(dtype), [weight.to(dtype) for weight in weights]
        biases = [None if bias is None else bias.to(dtype) for bias in biases]
    outputs: Tensor = _StackedLayers.apply(tuple(has_relu), inputs, *weights, *biases)  # type: ignore[no-untyped-call]
    return outputs


class _StackedLayers(torch.autograd.Function):
    """``torch.baddbmm`` with a gradient that is made in the weight's own layout.

    The gradient that autograd derives is the transposed one. Copying it into place took as long as the product itself.
    """

    @staticmethod
    def forward(ctx: Any, has_relu: tuple[bool, ...], inputs: Tensor, *parameters: Tensor | None) -> Tensor:
        num_layers = len(has_relu)
        weights, biases = parameters[:num_layers], parameters[num_layers:]
        hidden = [inputs]
        for weight, bias, relu in zip(weights, biases, has_relu, strict=True):
            assert weight is not None, "only a bias may be missing"
            outputs = _forward(hidden[-1], weight, bias)
            hidden.append(outputs.relu_() if relu else outputs)
        ctx.has_relu = has_relu
        ctx.save_for_backward(*(hidden if has_relu[-1] else hidden[:-1]), *weights)
        return hidden[-1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        num_layers = len(ctx.has_relu)
        hidden, weights = ctx.saved_tensors[:-num_layers], ctx.saved_tensors[-num_layers:]
        _, of_inputs, *wanted = ctx.needs_input_grad
        of_weights: list[Tensor | None] = [None] * num_layers
        of_biases: list[Tensor | None] = [None] * num_layers
        wanted_below = [of_inputs]  # whether anything before a layer needs a gradient
        for of_weight, of_bias in zip(wanted[:num_layers], wanted[num_layers:], strict=True):
            wanted_below.append(wanted_below[-1] or of_weight or of_bias)
        for layer in reversed(range(num_layers)):
            inputs, weight = hidden[layer], weights[layer]
            if ctx.has_relu[layer]:
                upstream = torch.ops.aten.threshold_backward(upstream, hidden[layer + 1], 0)
            if wanted[num_layers + layer]:
                of_biases[layer] = upstream.sum(dim=1)
            if not (wanted[layer] or wanted_below[layer]):
                break
            by_group = _by_group(upstream, len(inputs))
            if wanted[layer]:
                of_weights[layer] = torch.bmm(by_group.transpose(1, 2), inputs).view_as(weight)
            if not wanted_below[layer]:
                break
            upstream = torch.bmm(by_group, _below_each_other(weight, len(inputs)))
        return None, upstream if of_inputs else None, *of_weights, *of_biases


def _forward(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return one layer's outputs, shape (K, batch, units)."""
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


def _below_each_other(weight: Tensor, num_groups: int) -> Tensor:
    """Return the layers of each group's networks as one, shape (groups, units of all, inputs)."""
    return weight.view(num_groups, -1, weight.shape[-1])


def _by_group(upstream: Tensor, num_groups: int) -> Tensor:
    """Return a gradient (K, batch, units) with the units of each group's networks side by side."""
    num_networks, batch_size, num_units = upstream.shape
    if num_groups == num_networks:
        return upstream
    apart = upstream.reshape(num_groups, -1, batch_size, num_units).transpose(1, 2)
    return apart.reshape(num_groups, batch_size, -1)
