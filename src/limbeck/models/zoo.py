"""The one table of networks that a spec can name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from limbeck.models.convnets import convnet, three_block, vgg, vgg16
from limbeck.models.mlp import mlp
from limbeck.models.resnet import resnet, resnet20, resnet32, resnet56

ZOO: dict[str, Callable[..., nn.Module]] = {
    "convnet": convnet,
    "mlp": mlp,
    "resnet": resnet,
    "resnet20": resnet20,
    "resnet32": resnet32,
    "resnet56": resnet56,
    "three_block": three_block,
    "vgg": vgg,
    "vgg16": vgg16,
}
