"""What every network of the zoo asks of its settings."""

from __future__ import annotations

import math
from collections.abc import Sequence

from limbeck.errors import InvalidValue, ModelError


def require_task(*, input_shape: Sequence[int], num_classes: int) -> None:
    """Raise InvalidValue unless the shape of one sample and the number of classes make sense."""
    if not input_shape or not all(_is_count(size) for size in input_shape):
        raise InvalidValue(
            "input_shape must be the shape of one sample.",
            received=input_shape,
            expected="whole numbers above 0, without the batch: (channels, height, width) for images",
        )
    if not _is_count(num_classes) or num_classes < 2:
        raise InvalidValue("num_classes is too small.", received=num_classes, expected="a whole number >= 2")


def require_image(network: str, input_shape: Sequence[int], *, smallest: int) -> None:
    """Raise ModelError unless ``input_shape`` is (channels, height, width) with sides of at least ``smallest``."""
    if len(input_shape) != 3:
        raise ModelError(
            f"{network} takes images only.",
            received=f"input_shape {tuple(input_shape)}",
            expected="(channels, height, width)",
            remedy="use mlp for inputs that are no images, or give the images their channel axis",
        )
    if min(input_shape[1:]) < smallest:
        raise ModelError(
            f"The images are too small for {network}.",
            received=f"{input_shape[1]} x {input_shape[2]} pixels",
            expected=f"at least {smallest} x {smallest}",
            remedy="enlarge the images, or use a network with fewer poolings, such as convnet or mlp",
        )


def require_counts(name: str, values: Sequence[int], *, may_be_empty: bool = False) -> None:
    """Raise InvalidValue unless ``values`` is a sequence of whole numbers above 0."""
    is_list = isinstance(values, (list, tuple))
    if is_list and all(_is_count(value) for value in values) and (values or may_be_empty):
        return
    raise InvalidValue(
        f"{name} must be whole numbers above 0.",
        received=values,
        expected=f"one number per layer, such as {name}=(64, 64) in Python or {name}=64x64 in a spec",
    )


def require_width_multiplier(width: float, channels: Sequence[int]) -> tuple[int, ...]:
    """Return ``channels`` times ``width``, rounded; raise InvalidValue where one would vanish.

    Example:
        >>> require_width_multiplier(0.5, (16, 32, 64))
        (8, 16, 32)
    """
    if math.isfinite(width) and width > 0:
        scaled = tuple(round(channel * width) for channel in channels)
        if min(scaled) >= 1:
            return scaled
    raise InvalidValue(
        "width leaves a layer without channels.",
        received=width,
        expected=f"a finite number > {0.5 / min(channels):g}; 1 is the paper's network",
    )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
