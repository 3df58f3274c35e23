"""What every network of the zoo asks of its settings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from limbeck.bounds import require_memory
from limbeck.errors import InvalidValue, ModelError

MOST_UNITS, MOST_LAYERS = 1 << 24, 2_000  # of a layer, of a network


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


def require_weights(network: str, layers: Iterable[tuple[int, int]]) -> None:
    """Raise TooLarge where weights, gradients and two moments of these layers would pass the memory limit.

    Args:
        network: for the message.
        layers: inputs and outputs of each; those of a convolution times the pixels of its kernel.
    """
    num_weights = sum(num_inputs * num_outputs for num_inputs, num_outputs in layers)
    require_memory(16 * num_weights, f"{network} of {num_weights:,} weights")


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
    is_list = isinstance(values, (list, tuple)) and len(values) <= MOST_LAYERS
    if is_list and all(_is_count(value) and value <= MOST_UNITS for value in values) and (values or may_be_empty):
        return
    raise InvalidValue(
        f"{name} must be whole numbers above 0.",
        received=f"{values}"[:200],
        expected=f"one number per layer, such as {name}=(64, 64) in Python or {name}=64x64 in a spec; "
        f"up to {MOST_UNITS:,} in up to {MOST_LAYERS:,} layers",
    )


def require_width_multiplier(width: float, channels: Sequence[int]) -> tuple[int, ...]:
    """Return ``channels`` times ``width``, rounded; raise InvalidValue where one would vanish.

    Example:
        >>> require_width_multiplier(0.5, (16, 32, 64))
        (8, 16, 32)
    """
    if math.isfinite(width) and 0 < width <= MOST_UNITS:
        scaled = tuple(round(channel * width) for channel in channels)
        if min(scaled) >= 1 and max(scaled) <= MOST_UNITS:
            return scaled
    raise InvalidValue(
        "width leaves a layer without channels, or with too many.",
        received=width,
        expected=f"a finite number > {0.5 / min(channels):g}; 1 is the paper's network",
    )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
