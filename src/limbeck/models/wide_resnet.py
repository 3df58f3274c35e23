"""Wide residual networks for small images: batch norm and ReLU come before each convolution."""

from __future__ import annotations

from typing import final

import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.errors import InvalidValue
from limbeck.models.checks import MOST_LAYERS, require_image, require_task, require_weights, require_width_multiplier
from limbeck.models.network import initialise_he

STEM = 16  # channels of the first convolution, whatever the width


def wide_resnet(*, input_shape: tuple[int, ...], num_classes: int, depth: int = 16, width: float = 2.0) -> nn.Module:
    """Build the wide residual network WRN-depth-width: depth = 6n + 4 with n blocks in each of three stages.

    The stages ``layer1``, ``layer2`` and ``layer3`` have 16, 32 and 64 channels times ``width``, behind a first
    convolution of 16; the second and third begin by halving the sides. Where channels change, a 1x1 convolution of the
    normalised input is the shortcut. Convolutions start at He's initialisation, without bias.

    Args:
        input_shape: (channels, height, width), sides of at least 8.
        num_classes: >= 2.
        depth: convolutions and head, shortcuts aside: 10, 16, 22, 28, 34, 40, ...
        width: multiplies the channels of the stages.
    Returns:
        A module (batch, *input_shape) -> logits (batch, num_classes).
    Raises:
        InvalidValue: a setting outside its range.
        ModelError: no image, or one too small.
    Example:
        >>> sum(p.numel() for p in wide_resnet(input_shape=(3, 32, 32), num_classes=100).parameters())
        703284
        >>> sum(p.numel() for p in wide_resnet(input_shape=(3, 32, 32), num_classes=100, depth=40).parameters())
        2255156

    References:
        Zagoruyko, Komodakis 2016, arXiv:1605.07146, section 2, table 1.
    """
    require_task(input_shape=input_shape, num_classes=num_classes)
    require_image("wide_resnet", input_shape, smallest=8)
    if not isinstance(depth, int) or not 10 <= depth <= MOST_LAYERS or (depth - 4) % 6:
        raise InvalidValue(
            "A wide residual network's depth must be 6n + 4.", received=depth, expected="10, 16, 22, 28, ..."
        )
    channels, blocks = require_width_multiplier(width, (16, 32, 64)), (depth - 4) // 6
    require_weights("wide_resnet", ((2 * blocks * 9 * channel, channel) for channel in channels))
    network = WideResNet(input_shape[0], num_classes, channels=channels, num_blocks=blocks)
    initialise_he(network)
    nn.init.zeros_(network.head.bias)
    return network


@final
class WideResNet(nn.Module):
    """Convolution, three stages of pre-activated blocks, batch norm, ReLU, the mean over all positions, and a head.

    Args:
        num_channels: of the input images.
        num_classes: outputs of the head.
        channels: of the three stages.
        num_blocks: in each stage.
    """

    def __init__(self, num_channels: int, num_classes: int, *, channels: tuple[int, ...], num_blocks: int) -> None:
        super().__init__()
        first, second, third = channels
        self.conv1 = nn.Conv2d(num_channels, STEM, kernel_size=3, padding=1, bias=False)
        self.layer1 = _stage(STEM, first, num_blocks=num_blocks, stride=1)
        self.layer2 = _stage(first, second, num_blocks=num_blocks, stride=2)
        self.layer3 = _stage(second, third, num_blocks=num_blocks, stride=2)
        self.bn = nn.BatchNorm2d(third)
        self.head = nn.Linear(third, num_classes)

    def embed(self, inputs: Tensor) -> Tensor:
        """Return the mean of the last feature map over all positions, shape (batch, channels)."""
        features = self.layer3(self.layer2(self.layer1(self.conv1(inputs))))  # (batch, channels, height / 4, width / 4)
        pooled: Tensor = F.relu(self.bn(features)).mean(dim=(2, 3))
        return pooled

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits, shape (batch, classes)."""
        logits: Tensor = self.head(self.embed(inputs))
        return logits


@final
class PreactivatedBlock(nn.Module):
    """Batch norm, ReLU and a 3x3 convolution, twice, added to the input; a projection sees the first ReLU's output."""

    def __init__(self, num_inputs: int, num_outputs: int, *, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(num_inputs)
        self.conv1 = nn.Conv2d(num_inputs, num_outputs, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(num_outputs)
        self.conv2 = nn.Conv2d(num_outputs, num_outputs, kernel_size=3, padding=1, bias=False)
        self.projection = (
            None
            if num_inputs == num_outputs
            else nn.Conv2d(num_inputs, num_outputs, kernel_size=1, stride=stride, bias=False)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (batch, num_outputs, height / stride, width / stride)."""
        activated = F.relu(self.bn1(inputs))
        shortcut = inputs if self.projection is None else self.projection(activated)
        features: Tensor = self.conv2(F.relu(self.bn2(self.conv1(activated)), inplace=True))
        return features + shortcut


def _stage(num_inputs: int, num_outputs: int, *, num_blocks: int, stride: int) -> nn.Sequential:
    first = PreactivatedBlock(num_inputs, num_outputs, stride=stride)
    others = [PreactivatedBlock(num_outputs, num_outputs, stride=1) for _ in range(num_blocks - 1)]
    return nn.Sequential(first, *others)
