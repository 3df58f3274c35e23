"""A network with several heads on one trunk: a head for each of several teachers."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn

from limbeck.errors import InvalidValue, ModelError
from limbeck.models.factory import ModelFactory
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
