"""Offsets put into a network for good."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from limbeck.calibration.arguments import usable_numbers
from limbeck.errors import InvalidValue, ModelError, ShapeMismatch
from limbeck.models import unwrap

Model = TypeVar("Model", bound=nn.Module)


def add_class_bias(model: Model, offsets: Sequence[float] | Tensor) -> Model:
    """Add offsets to the bias of the network's last linear layer, in place.

    The layer is ``model.head`` where that is linear, as in every network of the zoo; else, of the linear layers with
    one output per offset, the one registered last. Nothing tells whether that layer makes the logits: compare the
    logits before and after where the model is not your own.

    Args:
        model: gives logits (batch, classes); may be wrapped by ``torch.compile`` or data parallelism.
        offsets: shape (classes,), in nats, finite; rounded to the dtype of the bias.
    Returns:
        The same model.
    Raises:
        ModelError: no such layer, a head with another number of outputs, or a layer without a bias.
        InvalidValue: offsets that are not finite.
        ShapeMismatch: offsets that are not one number per class.
    Example:
        >>> from limbeck.calibration import correct_class_bias
        >>> network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> before = network(torch.zeros(1, 4))
        >>> offsets = correct_class_bias(before, priors=[0.5, 0.5], classes=[1])
        >>> add_class_bias(network, offsets)(torch.zeros(1, 4)).softmax(dim=1)
        tensor([[0.5000, 0.5000]], grad_fn=<SoftmaxBackward0>)
    """
    values = usable_numbers("offsets", offsets)
    if values.ndim != 1 or len(values) == 0:
        raise ShapeMismatch(
            "offsets must have one number per class.", received=tuple(values.shape), expected="shape (classes,)"
        )
    if not values.isfinite().all():
        first = int((~values.isfinite()).nonzero()[0])
        raise InvalidValue(
            "offsets must be finite.", received=f"{float(values[first])} for class {first}", expected="finite numbers"
        )
    layer = _last_linear(unwrap(model), len(values))
    with torch.no_grad():
        layer.bias.add_(values.to(layer.bias.device, layer.bias.dtype))
    return model


def _last_linear(model: nn.Module, num_classes: int) -> nn.Linear:
    """Return the linear layer that makes the logits, or raise ModelError."""
    name = type(model).__name__
    head = getattr(model, "head", None)
    if isinstance(head, nn.Linear):
        layer = head
        if layer.out_features != num_classes:
            raise ModelError(
                f"The head of {name} has other classes than the offsets.",
                received=f"{num_classes} offsets, {layer.out_features} outputs",
                expected=f"{layer.out_features} offsets",
                remedy="give offsets that were made from this network's logits",
            )
    else:
        linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
        fitting = [module for module in linear if module.out_features == num_classes]
        if not fitting:
            raise ModelError(
                f"{name} has no linear layer with {num_classes} outputs to add {num_classes} offsets to.",
                received=f"linear layers with {', '.join(str(m.out_features) for m in linear) or 'no'} outputs",
                expected=f"a last nn.Linear with out_features={num_classes}, best named head",
                remedy="add the offsets to the logits instead: model(inputs) + offsets",
            )
        layer = fitting[-1]
    if layer.bias is None:
        raise ModelError(
            f"The last linear layer of {name} has no bias.",
            received=str(layer),
            expected="bias=True",
            remedy="add the offsets to the logits instead: model(inputs) + offsets",
        )
    return layer
