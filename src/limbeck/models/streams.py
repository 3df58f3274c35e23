"""Networks that look at one of several named inputs: ``on:KEY:SPEC``, and pictures of several times by consensus."""

from __future__ import annotations

from typing import Any, final

from torch import Tensor, nn

from limbeck.errors import InvalidValue, ModelError
from limbeck.models.foreign import build_foreign, is_foreign
from limbeck.models.resolve import build

PREFIX = "on:"


@final
class SegmentConsensus(nn.Module):
    r"""A network of single pictures that sees several of one sample: the mean of its logits.

    .. math:: z(x) = \frac{1}{T} \sum_t f(x_t)

    Pictures go through a batch norm first, so that vectors and residuals come in the scale of images.

    Args:
        network: maps (batch, channels, height, width) to logits (batch, classes).
        num_channels: of the pictures.
    Example:
        >>> import torch
        >>> network = SegmentConsensus(nn.Sequential(nn.Flatten(), nn.Linear(2 * 4 * 4, 3)), num_channels=2)
        >>> network(torch.zeros(5, 7, 2, 4, 4)).shape
        torch.Size([5, 3])

    References:
        Wang et al. 2016, "Temporal Segment Networks", arXiv:1608.00859, section 3.1; Wu et al. 2018, "Compressed Video
        Action Recognition", arXiv:1712.00636.
    """

    def __init__(self, network: nn.Module, *, num_channels: int) -> None:
        super().__init__()
        self.scale = nn.BatchNorm2d(num_channels)
        self.network = network

    def forward(self, pictures: Tensor) -> Tensor:
        """Return logits (batch, classes) of pictures (batch, time, channels, height, width)."""
        logits: Tensor = self.network(self.scale(pictures.flatten(0, 1)))
        return logits.view(*pictures.shape[:2], -1).mean(dim=1)


@final
class OnKey(nn.Module):
    """A network that looks at one of the named inputs, and takes the others without looking.

    Args:
        key: the input's name.
        network: maps that input to logits.
        input_shape: of one sample of that input, for what is saved of the network.
    Example:
        >>> import torch
        >>> network = OnKey("motion", nn.Linear(4, 2), input_shape=(4,))
        >>> network(motion=torch.zeros(3, 4), iframe=torch.zeros(3, 8)).shape
        torch.Size([3, 2])
    """

    def __init__(self, key: str, network: nn.Module, *, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.key = key
        self.network = network
        self.input_shape = tuple(input_shape)

    def forward(self, *unnamed: Any, **named: Any) -> Any:
        """Return what the network returns for its input."""
        if unnamed or self.key not in named:
            raise no_such_key(self.key, sorted(named))
        return self.network(named[self.key])

    def extra_repr(self) -> str:
        """Return the key, for ``repr`` and fingerprints."""
        return f"key={self.key!r}"


def on_key(text: str) -> tuple[str, str] | None:
    """Return key and inner spec of ``on:KEY:SPEC``; None for another text.

    Raises:
        InvalidValue: it begins so and lacks a key or a spec.
    Example:
        >>> on_key("on:motion:convnet:channels=8x16"), on_key("convnet")
        (('motion', 'convnet:channels=8x16'), None)
    """
    if not text.startswith(PREFIX):
        return None
    key, colon, inner = text.removeprefix(PREFIX).partition(":")
    if not (key and colon and inner):
        raise InvalidValue(
            "This network does not say which input it looks at, or what it is.",
            received=text,
            expected="on:KEY:SPEC, such as on:motion:convnet:channels=16x32 or on:iframe:timm:resnet18",
        )
    return key, inner


def build_on_key(text: str, *, input_shape: tuple[int, ...], num_classes: int) -> OnKey:
    """Build ``on:KEY:SPEC`` with random weights.

    Args:
        text: SPEC is of the zoo or of timm.
        input_shape: of one sample of the input KEY. Of pictures at several times, (time, channels, height, width), the
            network sees each, and their logits are averaged.
        num_classes: number of outputs.
    Raises:
        UnknownName, InvalidValue, ModelError, MissingPackage: as the inner network.
    Example:
        >>> network = build_on_key("on:motion:convnet:channels=4x8", input_shape=(3, 2, 16, 16), num_classes=5)
        >>> type(network.network).__name__
        'SegmentConsensus'
    """
    found = on_key(text)
    if found is None:
        raise InvalidValue("This is no network on one input.", received=text, expected="on:KEY:SPEC")
    key, inner = found
    shape = input_shape[1:] if len(input_shape) == 4 else input_shape
    if is_foreign(inner):
        network = build_foreign(inner, input_shape=shape, num_classes=num_classes)
    else:
        network = build(inner, input_shape=shape, num_classes=num_classes)
    if len(input_shape) == 4:
        network = SegmentConsensus(network, num_channels=shape[0])
    return OnKey(key, network, input_shape=input_shape)


def no_such_key(key: str, known: list[str]) -> ModelError:
    """Return the error for an input that is not there."""
    return ModelError(
        f"There is no input {key!r} to look at.",
        received=", ".join(known) or "one input without a name",
        expected=f"named inputs, {key!r} among them",
        remedy="on:KEY:SPEC is for data of several named inputs, such as clips:FOLDER (iframe, motion, residual)",
    )
