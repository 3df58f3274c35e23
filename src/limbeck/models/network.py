"""The shape that plain networks share: features, then a linear head."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn


@final
class FeatureClassifier(nn.Module):
    """A network that is ``head(features(inputs))``.

    Args:
        features: maps inputs (batch, *input_shape) to vectors (batch, head.in_features).
        head: maps these vectors to logits (batch, classes).
    Example:
        >>> import torch
        >>> network = FeatureClassifier(nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU()), nn.Linear(3, 2))
        >>> network(torch.zeros(5, 2, 2)).shape, network.embed(torch.zeros(5, 2, 2)).shape
        (torch.Size([5, 2]), torch.Size([5, 3]))
    """

    def __init__(self, features: nn.Sequential, head: nn.Linear) -> None:
        super().__init__()
        self.features = features
        self.head = head

    def embed(self, inputs: Tensor) -> Tensor:
        """Return what the head sees, shape (batch, head.in_features)."""
        features: Tensor = self.features(inputs)
        return features

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits, shape (batch, classes)."""
        logits: Tensor = self.head(self.embed(inputs))
        return logits


def initialise_he(module: nn.Module) -> None:
    """Draw every convolution's weights from He's normal distribution (fan out, ReLU) and zero its bias.

    Batch norms keep scale 1 and shift 0, linear layers PyTorch's default.

    References:
        He et al. 2015, arXiv:1502.01852, section 2.2.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
