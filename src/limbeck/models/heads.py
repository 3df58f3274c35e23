"""Heads: the layer that makes a network's logits, other classes in its place, or several heads on one trunk."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from limbeck.errors import InvalidValue, ModelError
from limbeck.models.factory import ModelFactory
from limbeck.models.full_softmax import require_some_classes
from limbeck.models.network import FeatureClassifier
from limbeck.models.resolve import build
from limbeck.models.spec import ModelSpec


@final
class MultiHeadClassifier(nn.Module):
    r"""A trunk with K softmax heads, apart while they learn and pooled when they are used.

    .. math:: \log q_c = \log \frac1K \sum_k \mathrm{softmax}(z_k)_c

    Args:
        features: maps inputs (batch, *input_shape) to vectors (batch, features).
        heads: a linear layer (features) -> (num_heads x classes).
        num_heads: K >= 1.
    Example:
        >>> network = MultiHeadClassifier(nn.Flatten(), nn.Linear(4, 6), num_heads=3)
        >>> network.train()(torch.zeros(5, 2, 2)).shape, network.eval()(torch.zeros(5, 2, 2)).shape
        (torch.Size([5, 3, 2]), torch.Size([5, 2]))
    """

    def __init__(self, features: nn.Module, heads: nn.Linear, *, num_heads: int) -> None:
        super().__init__()
        self.features = features
        self.heads = heads
        self.num_heads = num_heads

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits: (batch, heads, classes) in train mode; in eval mode the pooled log q, (batch, classes)."""
        logits: Tensor = self.heads(self.features(inputs)).unflatten(1, (self.num_heads, -1))
        if self.training:
            return logits
        return torch.logsumexp(torch.log_softmax(logits.float(), dim=-1), dim=1) - math.log(self.num_heads)


def logits_layer(model: nn.Module, num_classes: int) -> str:
    """Return the path of the linear layer that makes a network's logits.

    It is ``model.head`` where that is linear, as in every network of the zoo; else, of the linear layers with one
    output per class, the one registered last. Nothing tells whether that layer makes the logits.

    Args:
        model: gives logits (batch, num_classes).
        num_classes: of the logits.
    Raises:
        ModelError: no such layer, or a head with another number of outputs.
    Example:
        >>> logits_layer(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), 2)
        '2'
    """
    name, head = type(model).__name__, getattr(model, "head", None)
    if isinstance(head, nn.Linear):
        if head.out_features != num_classes:
            raise ModelError(
                f"The head of {name} has another number of outputs.",
                received=f"{head.out_features} outputs",
                expected=f"{num_classes}",
            )
        return "head"
    linear = {path: module for path, module in model.named_modules() if isinstance(module, nn.Linear)}
    fitting: list[str] = [path for path, module in linear.items() if module.out_features == num_classes]
    if not fitting:
        widths = ", ".join(str(module.out_features) for module in linear.values())
        raise ModelError(
            f"{name} has no linear layer with {num_classes} outputs.",
            received=f"linear layers with {widths or 'no'} outputs",
            expected=f"a last nn.Linear with out_features={num_classes}, best named head",
        )
    return fitting[-1]


def specialist_network(generalist: nn.Module, members: Sequence[int], *, num_classes: int) -> nn.Module:
    r"""Copy a generalist with a head of some of its classes and a dustbin for all others.

    .. math:: w_{dustbin} = \frac1n \sum_{c \notin S} w_c, \qquad b_{dustbin} = \frac1n \sum_{c \notin S} b_c + \log n

    The rows of the classes S are the generalist's; the dustbin starts as the n classes outside do together where they
    are as likely as each other (a bound from below of the log of their summed exponentials).

    Args:
        generalist: gives logits (batch, num_classes); left as it is. Its last linear layer is found as by
            :func:`logits_layer`.
        members: S, class numbers, in the order of the specialist's logits.
        num_classes: of the generalist.
    Returns:
        A trainable network, (batch, ...) to logits (batch, len(S) + 1), the dustbin last.
    Raises:
        ModelError: no last linear layer.
        InvalidValue: no members, all classes, one twice, or an unknown one.
    Example:
        >>> generalist = nn.Sequential(nn.Flatten(), nn.Linear(4, 5))
        >>> specialist_network(generalist, [1, 3], num_classes=5)(torch.zeros(2, 4)).shape
        torch.Size([2, 3])

    References:
        Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 5.2.
    """
    numbers = list(members)
    require_some_classes(numbers, num_classes=num_classes)
    network = copy.deepcopy(generalist).requires_grad_(True)
    path = logits_layer(network, num_classes)
    old = network.get_submodule(path)
    assert isinstance(old, nn.Linear), "logits_layer names a linear layer"
    outside = [number for number in range(num_classes) if number not in set(numbers)]
    new = nn.Linear(old.in_features, len(numbers) + 1).to(old.weight)
    with torch.no_grad():
        bias = torch.zeros(num_classes).to(old.weight) if old.bias is None else old.bias
        new.weight.copy_(torch.cat([old.weight[numbers], old.weight[outside].mean(dim=0, keepdim=True)]))
        dustbin = bias[outside].mean(dim=0, keepdim=True) + math.log(len(outside))
        new.bias.copy_(torch.cat([bias[numbers], dustbin]))
    network.set_submodule(path, new)
    return network


def multi_head_network(spec: str, *, num_heads: int) -> ModelFactory:
    """Return a factory of a zoo network with K heads in the place of its one, for ``MultiTeacher`` with K teachers.

    Its output depends on the mode (see :class:`MultiHeadClassifier`), so it stands beside the zoo and not in it.

    Args:
        spec: of a network that is ``head(features(inputs))``, such as "mlp:widths=800x800".
        num_heads: K, at least 1.
    Returns:
        A factory ``(input_shape, num_classes) -> MultiHeadClassifier``.
    Raises:
        InvalidValue: no heads.
        UnknownName: no such network.
        ModelError: when it is called: a network of another form.
    Example:
        >>> network = multi_head_network("mlp:widths=800x800", num_heads=10)(input_shape=(1, 28, 28), num_classes=10)
        >>> sum(p.numel() for p in network.parameters())
        1348900
    """
    if num_heads < 1:
        raise InvalidValue("num_heads must be at least 1.", received=num_heads, expected="one head for each teacher")
    parsed = ModelSpec.parse(spec)

    def build_heads(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        single = build(parsed, input_shape=input_shape, num_classes=num_classes)
        if not isinstance(single, FeatureClassifier):
            raise ModelError(f"{spec} has no head to put others in the place of.", received=type(single).__name__)
        heads = nn.Linear(single.head.in_features, num_heads * num_classes)
        return MultiHeadClassifier(single.features, heads, num_heads=num_heads)

    return ModelFactory(f"{parsed} with {num_heads} heads", build_heads)
