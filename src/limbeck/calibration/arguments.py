"""Checks of what the functions of this package receive."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import torch
from torch import Tensor

from limbeck.errors import InvalidValue, ShapeMismatch
from limbeck.metrics.rows import checked_logits

_SUM_TOLERANCE = 1e-4  # float32 shares of 14,000 classes sum to 1 within 1e-6; shares rounded to two digits do not


def usable_logits(logits: Tensor) -> Tensor:
    """Return checked, detached logits on a device that has float64."""
    logits = checked_logits(logits)
    return logits.cpu() if logits.device.type == "mps" else logits


def usable_numbers(name: str, given: Sequence[float] | Tensor) -> Tensor:
    """Return numbers as a detached float64 tensor on the CPU, or raise InvalidValue where they are no numbers."""
    try:
        if isinstance(given, Tensor):
            return given.detach().cpu().double()
        return torch.as_tensor(given, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidValue(
            f"{name} must be numbers.", received=given, expected="a list of floats or a tensor, one number per class"
        ) from error


def usable_priors(name: str, priors: Sequence[float] | Tensor, logits: Tensor) -> Tensor:
    """Return priors that sum to 1 in float64, shape (classes,), on the device of the logits, or raise.

    Raises:
        ShapeMismatch: not one prior per class.
        InvalidValue: priors that are negative, not finite, or do not sum to 1.
    """
    values = usable_numbers(name, priors).to(logits.device)
    if values.shape != logits.shape[1:]:
        raise ShapeMismatch(
            f"{name} must have one number per class.",
            received=f"{name} {tuple(values.shape)}, logits {tuple(logits.shape)}",
            expected=f"{name} of shape ({logits.shape[1]},)",
        )
    bad = ~(values.isfinite() & (values >= 0))
    if bad.any():
        first = int(bad.nonzero()[0])
        raise InvalidValue(
            f"{name} must be shares.",
            received=f"{float(values[first]):.6g} for class {first}",
            expected="finite numbers >= 0 that sum to 1",
        )
    total = float(values.sum())
    if abs(total - 1) > _SUM_TOLERANCE:
        raise InvalidValue(
            f"{name} must sum to 1.",
            received=f"a sum of {total:.6g}",
            expected=f"1, within {_SUM_TOLERANCE:g}",
            remedy=f"divide {name} by their sum",
        )
    return values / total


def usable_classes(classes: Sequence[int] | Tensor, num_classes: int) -> list[int]:
    """Return class numbers as a list, or raise InvalidValue where they are none, repeated or unknown."""
    expected = f"different class numbers from 0 to {num_classes - 1}"
    try:
        numbers = [operator.index(number) for number in classes]
    except TypeError as error:
        raise InvalidValue(
            "classes must be a list of class numbers.",
            received=classes,
            expected=expected,
            remedy="write [3] for class 3 alone",
        ) from error
    unknown = [number for number in numbers if not 0 <= number < num_classes]
    if unknown:
        raise InvalidValue(f"There is no class {unknown[0]}.", received=numbers, expected=expected)
    if not numbers or len(set(numbers)) < len(numbers):
        fact = "classes names a class twice." if numbers else "classes is empty."
        raise InvalidValue(fact, received=numbers, expected=expected)
    return numbers
