"""The one table of networks that a spec can name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from limbeck.models.convnets import convnet, three_block, vgg, vgg8, vgg13, vgg16
from limbeck.models.mlp import mlp
from limbeck.models.resnet import resnet, resnet8x4, resnet20, resnet32, resnet32x4, resnet56
from limbeck.models.wide_resnet import wide_resnet

ZOO: dict[str, Callable[..., nn.Module]] = {
    "convnet": convnet,
    "mlp": mlp,
    "resnet": resnet,
    "resnet8x4": resnet8x4,
    "resnet20": resnet20,
    "resnet32": resnet32,
    "resnet32x4": resnet32x4,
    "resnet56": resnet56,
    "three_block": three_block,
    "vgg": vgg,
    "vgg8": vgg8,
    "vgg13": vgg13,
    "vgg16": vgg16,
    "wide_resnet": wide_resnet,
}
