"""A network as it is deployed: raw samples in, logits out, preprocessing inside where it is asked for."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.data import Normalise
from limbeck.data.normalise import to_float
from limbeck.errors import InvalidValue
from limbeck.inputs import Inputs, describe
from limbeck.models.calling import network_logits

INPUT_NAME = "inputs"  # of a network that takes one tensor


class DeployedNetwork(nn.Module):
    """Takes one tensor, returns logits (batch, classes).

    Args:
        network: in eval mode.
        normalise: of its inputs; None for none.
        preprocess: "none": inputs come as the network takes them; "normalise": raw, uint8 images or float features;
            "resize": uint8 images of any height and width.
        image_size: (height, width) to resize to.
    """

    def __init__(
        self, network: nn.Module, *, normalise: Normalise | None, preprocess: str, image_size: tuple[int, int] | None
    ) -> None:
        super().__init__()
        self.network = network
        self._normalise, self._preprocess, self._image_size = normalise, preprocess, image_size

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits, shape (batch, classes)."""
        if self._preprocess == "none":
            return network_logits(self.network, inputs)
        if self._preprocess == "resize":
            assert self._image_size is not None, "checked by deployed"
            inputs = resized(inputs, self._image_size)
        return network_logits(self.network, to_float(inputs, self._normalise, in_place=False))


class NamedDeployedNetwork(nn.Module):
    """Takes named tensors as keyword arguments, returns logits.

    ``torch.export`` reads the names of the arguments from the signature of ``forward``, so each network gets its own.

    Args:
        network: in eval mode.
        names: of its arguments.
        normalise: of the one part of floats or images; None for none.
    """

    def __init__(self, network: nn.Module, *, names: Sequence[str], normalise: Normalise | None) -> None:
        super().__init__()
        self.network = network

        def forward(**inputs: Tensor) -> Tensor:
            return network_logits(self.network, to_float(dict(inputs), normalise, in_place=False))

        parameters = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in names]
        forward.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        self.forward = forward


def deployed(
    network: nn.Module, raw: Inputs, *, normalise: Normalise | None, preprocess: str, input_shape: Sequence[int]
) -> nn.Module:
    """Return a network as it is deployed, in eval mode.

    Args:
        network: the trained one.
        raw: two or more raw samples.
        normalise: what its inputs were normalised by in training; None for none.
        preprocess: see :class:`DeployedNetwork`.
        input_shape: of one sample.
    Raises:
        InvalidValue: a resizing of what is no image, or inputs that are neither a tensor nor named ones.
    """
    is_image = isinstance(raw, Tensor) and raw.dtype == torch.uint8 and raw.dim() == 4
    if preprocess == "resize" and not is_image:
        raise InvalidValue(
            "Only images are resized.",
            received=f"samples {describe(raw)}",
            expected="uint8 images (channels, height, width)",
            remedy="--preprocess normalise",
        )
    module: nn.Module
    if isinstance(raw, Tensor):
        size = (int(input_shape[-2]), int(input_shape[-1])) if is_image else None
        module = DeployedNetwork(network, normalise=normalise, preprocess=preprocess, image_size=size)
    elif isinstance(raw, dict) and all(isinstance(part, Tensor) for part in raw.values()):
        own = None if preprocess == "none" else normalise
        module = NamedDeployedNetwork(network, names=list(raw), normalise=own)
    else:
        raise InvalidValue(
            "A file has one input, or named ones.",
            received=describe(raw),
            expected="a tensor, or a mapping of names to tensors",
            remedy="give the samples names: a mapping, as keyword arguments of the network",
        )
    return module.eval()


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Return uint8 images (n, C, H, W) cut square around their middle and resized, as image folders are read.

    Bilinear with antialiasing, rounded to whole pixel values. Pillow, which reads folders, rounds twice, so a pixel may
    differ by 1.
    """
    height, width = images.shape[-2:]
    side = torch.sym_min(height, width)  # type: ignore[no-untyped-call]
    top, left = (height - side) // 2, (width - side) // 2
    square = images.narrow(-2, top, side).narrow(-1, left, side).float()
    smooth = F.interpolate(square, size=size, mode="bilinear", antialias=True, align_corners=False)
    return smooth.round().clamp(0, 255).to(torch.uint8)


def dynamic_axes(raw: Inputs, *, preprocess: str, is_ragged: bool) -> Any:
    """Return which axes of each input may have any size, as ``torch.export`` takes it.

    The first axis, the batch, always; the second of integers in named inputs, such as token ids, and of ragged
    sequences; height and width where images are resized.
    """
    free = torch.export.Dim.DYNAMIC
    if isinstance(raw, Tensor):
        if preprocess == "resize":
            return ({0: free, 2: free, 3: free},)
        return ({0: free, 1: free},) if is_ragged and raw.dim() > 1 else ({0: free},)
    assert isinstance(raw, dict), "checked by deployed"

    def axes(part: Tensor) -> dict[int, Any]:
        is_sequence = part.dim() == 2 and not part.is_floating_point() and part.shape[1] > 1
        return {0: free, 1: free} if part.dim() > 1 and (is_sequence or is_ragged) else {0: free}

    return {name: axes(part) for name, part in raw.items()}
