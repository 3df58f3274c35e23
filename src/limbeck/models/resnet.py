"""Residual networks for small images, as in section 4.2 of He et al. 2015."""

from __future__ import annotations

from typing import Literal, final

import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.errors import InvalidValue
from limbeck.models.checks import MOST_LAYERS, require_image, require_task, require_weights, require_width_multiplier
from limbeck.models.network import initialise_he

Shortcut = Literal["pad", "project"]


def resnet(
    *,
    input_shape: tuple[int, ...],
    num_classes: int,
    depth: int = 20,
    width: float = 1.0,
    shortcut: Shortcut = "pad",
) -> nn.Module:
    """Build the residual network for small images: depth = 6n + 2 with n blocks in each of three stages.

    The stages ``layer1``, ``layer2`` and ``layer3`` have 16, 32 and 64 channels; the second and third begin by halving
    the sides. Convolutions start at He's initialisation, without bias.

    Args:
        input_shape: (channels, height, width), sides of at least 8.
        num_classes: >= 2.
        depth: layers with weights: 8, 14, 20, 26, 32, ...
        width: multiplies every number of channels.
        shortcut: where the shape changes, "pad" is the paper's option A (every second pixel, zeros for the new
            channels; no parameters) and "project" its option B (1x1 convolution and batch norm).
    Returns:
        A module (batch, *input_shape) -> logits (batch, num_classes).
    Raises:
        InvalidValue: a setting outside its range.
        ModelError: no image, or one too small.
    References:
        He, Zhang, Ren, Sun 2015, arXiv:1512.03385, section 4.2.
    """
    require_task(input_shape=input_shape, num_classes=num_classes)
    require_image("resnet", input_shape, smallest=8)
    if not isinstance(depth, int) or not 8 <= depth <= MOST_LAYERS or (depth - 2) % 6:
        expected = f"8, 14, 20, 26, ... up to {MOST_LAYERS:,}"
        raise InvalidValue("A residual network's depth must be 6n + 2.", received=depth, expected=expected)
    if shortcut not in ("pad", "project"):
        raise InvalidValue("There is no such shortcut.", received=shortcut, expected='"pad" or "project"')
    channels = require_width_multiplier(width, (16, 32, 64))
    blocks = (depth - 2) // 6
    require_weights("resnet", ((2 * blocks * 9 * channel, channel) for channel in channels))
    network = ResNet(input_shape[0], num_classes, channels=channels, num_blocks=blocks, shortcut=shortcut)
    initialise_he(network)
    return network


def resnet20(
    *, input_shape: tuple[int, ...], num_classes: int, width: float = 1.0, shortcut: Shortcut = "pad"
) -> nn.Module:
    """Build the 20-layer network; see :func:`resnet`.

    Example:
        >>> sum(p.numel() for p in resnet20(input_shape=(3, 32, 32), num_classes=10).parameters())
        269722
    """
    return resnet(input_shape=input_shape, num_classes=num_classes, depth=20, width=width, shortcut=shortcut)


def resnet32(
    *, input_shape: tuple[int, ...], num_classes: int, width: float = 1.0, shortcut: Shortcut = "pad"
) -> nn.Module:
    """Build the 32-layer network; see :func:`resnet`.

    Example:
        >>> sum(p.numel() for p in resnet32(input_shape=(3, 32, 32), num_classes=10).parameters())
        464154
    """
    return resnet(input_shape=input_shape, num_classes=num_classes, depth=32, width=width, shortcut=shortcut)


def resnet56(
    *, input_shape: tuple[int, ...], num_classes: int, width: float = 1.0, shortcut: Shortcut = "pad"
) -> nn.Module:
    """Build the 56-layer network; see :func:`resnet`.

    Example:
        >>> sum(p.numel() for p in resnet56(input_shape=(3, 32, 32), num_classes=10).parameters())
        853018
    """
    return resnet(input_shape=input_shape, num_classes=num_classes, depth=56, width=width, shortcut=shortcut)


@final
class ResNet(nn.Module):
    """Convolution, three stages of residual blocks, the mean over all positions, and a linear head.

    Args:
        num_channels: of the input images.
        num_classes: outputs of the head.
        channels: of the three stages.
        num_blocks: in each stage.
        shortcut: "pad" or "project", as in :func:`resnet`.
    """

    def __init__(
        self, num_channels: int, num_classes: int, *, channels: tuple[int, ...], num_blocks: int, shortcut: Shortcut
    ) -> None:
        super().__init__()
        first, second, third = channels
        self.conv1 = nn.Conv2d(num_channels, first, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.layer1 = _stage(first, first, num_blocks=num_blocks, stride=1, shortcut=shortcut)
        self.layer2 = _stage(first, second, num_blocks=num_blocks, stride=2, shortcut=shortcut)
        self.layer3 = _stage(second, third, num_blocks=num_blocks, stride=2, shortcut=shortcut)
        self.head = nn.Linear(third, num_classes)

    def embed(self, inputs: Tensor) -> Tensor:
        """Return the mean of the last feature map over all positions, shape (batch, channels)."""
        features = F.relu(self.bn1(self.conv1(inputs)), inplace=True)  # (batch, 16, height, width)
        features = self.layer3(self.layer2(self.layer1(features)))  # (batch, 64, height / 4, width / 4)
        pooled: Tensor = features.mean(dim=(2, 3))
        return pooled

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits, shape (batch, classes)."""
        logits: Tensor = self.head(self.embed(inputs))
        return logits


@final
class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm, added to their input: relu(x + f(x))."""

    def __init__(self, num_inputs: int, num_outputs: int, *, stride: int, shortcut: Shortcut) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_inputs, num_outputs, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(num_outputs)
        self.conv2 = nn.Conv2d(num_outputs, num_outputs, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(num_outputs)
        self.shortcut = _shortcut(num_inputs, num_outputs, stride=stride, kind=shortcut)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (batch, num_outputs, height / stride, width / stride)."""
        features = F.relu(self.bn1(self.conv1(inputs)), inplace=True)
        features = self.bn2(self.conv2(features))
        return F.relu(features + self.shortcut(inputs), inplace=True)


@final
class PaddedShortcut(nn.Module):
    """Option A: every ``stride``-th pixel, with zeros for the channels that are new."""

    def __init__(self, *, num_new: int, stride: int) -> None:
        super().__init__()
        self.num_new = num_new
        self.stride = stride

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (batch, channels + num_new, height / stride, width / stride)."""
        padded: Tensor = F.pad(inputs[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.num_new))
        return padded

    def extra_repr(self) -> str:
        """Return the settings, for ``repr``."""
        return f"num_new={self.num_new}, stride={self.stride}"


def _shortcut(num_inputs: int, num_outputs: int, *, stride: int, kind: Shortcut) -> nn.Module:
    if stride == 1 and num_inputs == num_outputs:
        return nn.Identity()
    if kind == "pad":
        return PaddedShortcut(num_new=num_outputs - num_inputs, stride=stride)
    convolution = nn.Conv2d(num_inputs, num_outputs, kernel_size=1, stride=stride, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(num_outputs))


def _stage(num_inputs: int, num_outputs: int, *, num_blocks: int, stride: int, shortcut: Shortcut) -> nn.Sequential:
    first = ResidualBlock(num_inputs, num_outputs, stride=stride, shortcut=shortcut)
    others = [ResidualBlock(num_outputs, num_outputs, stride=1, shortcut=shortcut) for _ in range(num_blocks - 1)]
    return nn.Sequential(first, *others)
