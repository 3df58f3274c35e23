"""Offsets put into a network for good."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from limbeck.calibration.arguments import usable_numbers
from limbeck.errors import InvalidValue, ModelError, ShapeMismatch
from limbeck.models import logits_layer, unwrap

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
    instead = "add the offsets to the logits instead: model(inputs) + offsets"
    try:
        layer = model.get_submodule(logits_layer(model, num_classes))
    except ModelError as error:
        error.remedy = f"give as many offsets as this network has classes, or {instead}"
        raise
    assert isinstance(layer, nn.Linear), "logits_layer names a linear layer"
    if layer.bias is None:
        raise ModelError(
            f"The last linear layer of {type(model).__name__} has no bias.",
            received=str(layer),
            expected="bias=True",
            remedy=instead,
        )
    return layer
