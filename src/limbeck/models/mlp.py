"""Fully connected networks, as in section 3 of "Distilling the Knowledge in a Neural Network"."""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict

from torch import nn

from limbeck.errors import require_fraction
from limbeck.models.checks import require_counts, require_task, require_weights
from limbeck.models.constraints import constrain_max_norm
from limbeck.models.dropout import Dropout
from limbeck.models.network import FeatureClassifier


def mlp(
    *,
    input_shape: tuple[int, ...],
    num_classes: int,
    widths: tuple[int, ...] = (800, 800),
    input_dropout: float = 0.0,
    hidden_dropout: float = 0.0,
    max_norm: float | None = None,
) -> nn.Module:
    """Build a net of linear layers and ReLUs on the flattened input.

    Weights start at PyTorch's default (uniform, bound 1/sqrt(inputs)), so that a net of the same layers written by
    hand starts at the same numbers from the same seed.

    Args:
        input_shape: shape of one sample, of any number of axes.
        num_classes: >= 2.
        widths: units of each hidden layer; empty for softmax regression.
        input_dropout: probability that an input is dropped in training, in [0, 1).
        hidden_dropout: the same for each hidden unit.
        max_norm: largest L2 norm of each hidden unit's incoming weights, kept by ``project_max_norm`` after each
            optimiser step; None for no limit. The paper's squared norm of 15 is ``max_norm=15**0.5``.
    Returns:
        A module (batch, *input_shape) -> logits (batch, num_classes).
    Raises:
        InvalidValue: a setting outside its range.
    Example:
        >>> sum(p.numel() for p in mlp(input_shape=(1, 28, 28), num_classes=10).parameters())
        1276810

    References:
        Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 3; Hinton et al. 2012, arXiv:1207.0580.
    """
    require_task(input_shape=input_shape, num_classes=num_classes)
    require_counts("widths", widths, may_be_empty=True)
    require_fraction("input_dropout", input_dropout, below_one=True)
    require_fraction("hidden_dropout", hidden_dropout, below_one=True)
    require_weights("mlp", itertools.pairwise((math.prod(input_shape), *widths, num_classes)))
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    if input_dropout > 0:
        layers["input_dropout"] = Dropout(input_dropout)
    num_inputs = math.prod(input_shape)
    for position, width in enumerate(widths, start=1):
        linear = nn.Linear(num_inputs, width)
        if max_norm is not None:
            constrain_max_norm(linear, max_norm=max_norm)
        layers[f"linear{position}"] = linear
        layers[f"relu{position}"] = nn.ReLU()
        if hidden_dropout > 0:
            layers[f"dropout{position}"] = Dropout(hidden_dropout)
        num_inputs = width
    return FeatureClassifier(nn.Sequential(layers), nn.Linear(num_inputs, num_classes))
