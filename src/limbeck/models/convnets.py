"""Plain convolutional networks: a small one for tiny images, three double blocks, and VGG with batch norm."""

from __future__ import annotations

import itertools

from torch import nn

from limbeck.errors import InvalidValue, require_fraction
from limbeck.models.checks import require_counts, require_image, require_task, require_weights, require_width_multiplier
from limbeck.models.dropout import Dropout
from limbeck.models.network import FeatureClassifier, initialise_he

_KERNEL_PIXELS = 9
# Simonyan and Zisserman 2014, table 1: channels of the convolutions of each block; a max-pool closes each block.
VGG_BLOCKS = {
    11: ((64,), (128,), (256, 256), (512, 512), (512, 512)),  # layout A
    13: ((64, 64), (128, 128), (256, 256), (512, 512), (512, 512)),  # layout B
    16: ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)),  # layout D
    19: ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4),  # layout E
}


def convnet(
    *, input_shape: tuple[int, ...], num_classes: int, channels: tuple[int, ...] = (32, 64), dropout: float = 0.0
) -> nn.Module:
    """Build a small network for images of 8 to 64 pixels: 3x3 convolution, batch norm, ReLU, 2x2 max-pool per block.

    Then the mean over all positions and a linear head. Convolutions start at He's initialisation.

    Args:
        input_shape: (channels, height, width), sides of at least 2 ** len(channels).
        num_classes: >= 2.
        channels: output channels of each block; at least one block.
        dropout: probability that a pooled feature is dropped in training, in [0, 1).
    Returns:
        A module (batch, *input_shape) -> logits (batch, num_classes).
    Raises:
        InvalidValue: a setting outside its range.
        ModelError: no image, or one too small.
    Example:
        >>> sum(p.numel() for p in convnet(input_shape=(1, 8, 8), num_classes=10).parameters())
        19562
    """
    require_task(input_shape=input_shape, num_classes=num_classes)
    require_counts("channels", channels)
    require_fraction("dropout", dropout, below_one=True)
    require_image("convnet", input_shape, smallest=2 ** len(channels))
    blocks = tuple((channel,) for channel in channels)
    return _classifier(input_shape[0], num_classes, blocks, conv_bias=False, dropout=dropout)


def three_block(*, input_shape: tuple[int, ...], num_classes: int, width: float = 1.0) -> nn.Module:
    """Build the small student for VGG: three blocks of two 3x3 convolutions with 64, 128 and 256 channels.

    Each convolution is followed by batch norm and ReLU, each block by a 2x2 max-pool; then the mean over all positions
    and a linear head. Convolutions start at He's initialisation.

    Args:
        input_shape: (channels, height, width), sides of at least 8.
        num_classes: >= 2.
        width: multiplies every number of channels.
    Returns:
        A module (batch, *input_shape) -> logits (batch, num_classes).
    Raises:
        InvalidValue: a setting outside its range.
        ModelError: no image, or one too small.
    Example:
        >>> sum(p.numel() for p in three_block(input_shape=(3, 32, 32), num_classes=10).parameters())
        1148874
    """
    require_task(input_shape=input_shape, num_classes=num_classes)
    require_image("three_block", input_shape, smallest=8)
    blocks = tuple((channel, channel) for channel in require_width_multiplier(width, (64, 128, 256)))
    return _classifier(input_shape[0], num_classes, blocks, conv_bias=False)


def vgg(
    *,
    input_shape: tuple[int, ...],
    num_classes: int,
    depth: int = 16,
    width: float = 1.0,
    dropout: float = 0.0,
) -> nn.Module:
    """Build VGG's convolutions with batch norm and one linear head.

    The paper's three large linear layers are replaced by the mean over the last feature map and one linear layer, the
    usual form for small images. Convolutions keep their bias, so ``features.*`` carries the names and shapes of
    torchvision's ``vgg*_bn``. Convolutions start at He's initialisation.

    Args:
        input_shape: (channels, height, width), sides of at least 32.
        num_classes: >= 2.
        depth: 11, 13, 16 or 19: the paper's layouts A, B, D and E.
        width: multiplies every number of channels.
        dropout: probability that a pooled feature is dropped in training, in [0, 1).
    Returns:
        A module (batch, *input_shape) -> logits (batch, num_classes).
    Raises:
        InvalidValue: a setting outside its range.
        ModelError: no image, or one too small.
    References:
        Simonyan, Zisserman 2014, arXiv:1409.1556, table 1.
    """
    require_task(input_shape=input_shape, num_classes=num_classes)
    require_fraction("dropout", dropout, below_one=True)
    if depth not in VGG_BLOCKS:
        raise InvalidValue("VGG has no such depth.", received=depth, expected="depth 11, 13, 16 or 19")
    require_image(f"vgg{depth}", input_shape, smallest=32)
    blocks = tuple(require_width_multiplier(width, block) for block in VGG_BLOCKS[depth])
    return _classifier(input_shape[0], num_classes, blocks, conv_bias=True, dropout=dropout)


def vgg16(*, input_shape: tuple[int, ...], num_classes: int, width: float = 1.0, dropout: float = 0.0) -> nn.Module:
    """Build VGG-16 (layout D); see :func:`vgg`.

    Example:
        >>> sum(p.numel() for p in vgg16(input_shape=(3, 32, 32), num_classes=10).parameters())
        14728266
    """
    return vgg(input_shape=input_shape, num_classes=num_classes, depth=16, width=width, dropout=dropout)


def _classifier(
    num_channels: int,
    num_classes: int,
    blocks: tuple[tuple[int, ...], ...],
    *,
    conv_bias: bool,
    dropout: float = 0.0,
) -> nn.Module:
    sizes = (num_channels, *(channels for block in blocks for channels in block))
    convolutions = [(_KERNEL_PIXELS * before, after) for before, after in itertools.pairwise(sizes)]
    require_weights("A network", [*convolutions, (sizes[-1], num_classes)])
    layers: list[nn.Module] = []
    for block in blocks:
        for channels in block:
            layers.append(nn.Conv2d(num_channels, channels, kernel_size=3, padding=1, bias=conv_bias))
            layers += [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
            num_channels = channels
        layers.append(nn.MaxPool2d(2))
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    if dropout > 0:
        layers.append(Dropout(dropout))
    features = nn.Sequential(*layers)
    initialise_he(features)
    return FeatureClassifier(features, nn.Linear(num_channels, num_classes))
