"""Checks of what every loss receives: logits with a class axis, shapes that agree, a temperature above 0."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from limbeck.errors import InvalidValue, ShapeMismatch, require_positive


def require_floating(name: str, values: Tensor) -> None:
    """Raise InvalidValue unless ``values`` holds floating-point numbers."""
    if not values.is_floating_point():
        raise InvalidValue(
            f"{name} must hold floating-point numbers.",
            received=values.dtype,
            expected="float16, bfloat16, float32 or float64",
        )


def require_classes(name: str, values: Tensor, *, least: int = 1) -> None:
    """Raise unless ``values`` holds floating-point numbers and has a last axis of ``least`` classes or more.

    Losses of a softmax need two: over one class it is 1 whatever the logit, and every loss and gradient would be 0.
    """
    require_floating(name, values)
    if values.ndim == 0 or values.shape[-1] == 0:
        raise ShapeMismatch(
            f"{name} must have a last axis of classes.", received=tuple(values.shape), expected="(..., classes)"
        )
    if values.shape[-1] < least:
        raise ShapeMismatch(
            f"{name} hold one class, and a softmax over one class is always 1.",
            received=tuple(values.shape),
            expected="(..., classes) with two classes or more",
            remedy="one logit that says yes or no is a label: use binary_soft_target_loss and binary_hard_label_loss, "
            'or the objective "binary"',
        )


def require_pair(name: str, values: Tensor, other_name: str, other: Tensor, *, least_classes: int = 1) -> None:
    """Raise unless both hold floating-point numbers for the same examples and classes, on one device."""
    require_classes(name, values, least=least_classes)
    require_classes(other_name, other, least=least_classes)
    if values.shape != other.shape:
        raise ShapeMismatch(
            f"{name} and {other_name} have different shapes.",
            received=f"{tuple(values.shape)} and {tuple(other.shape)}",
            expected="the same shape (..., classes)",
            remedy="give both the same examples and the same classes, in the same order",
        )
    require_same_device(name, values, other_name, other)


def require_same_device(name: str, values: Tensor, other_name: str, other: Tensor) -> None:
    """Raise InvalidValue, naming both devices, unless they are equal."""
    if values.device != other.device:
        raise InvalidValue(
            f"{name} and {other_name} are on different devices.",
            received=f"{values.device} and {other.device}",
            expected="one device",
            remedy=f"move {other_name} with .to({str(values.device)!r})",
        )


def require_first_order(name: str) -> None:
    """Raise where a backward pass is to be differentiated again: a gradient without a graph would drop terms."""
    if torch.is_grad_enabled():  # create_graph=True
        raise InvalidValue(
            f"The gradient of {name} cannot be differentiated again.",
            received="create_graph=True",
            remedy="use temperature**2 * kl_divergence of two tempered_log_softmax",
        )


def widened(values: Tensor) -> Tensor:
    """Return float16 and bfloat16 as float32; float32 and float64 as they are."""
    return values.to(widened_dtype(values))


def widened_dtype(values: Tensor) -> torch.dtype:
    """Return the dtype in which ``values`` are reduced."""
    return torch.float64 if values.dtype == torch.float64 else torch.float32


def divisor(temperature: float | Tensor, logits: Tensor) -> float | Tensor:
    """Return the temperature as what divides ``logits`` (..., classes): a float, or a tensor (..., 1).

    A tensor's values are checked on the CPU alone: reading them on an accelerator would stall it, and a temperature
    of 0 there shows as a NaN loss.
    """
    if not isinstance(temperature, Tensor):
        try:
            is_positive = 0 < temperature < math.inf  # a comparison that a compiler can trace; NaN fails it too
        except TypeError:  # text
            is_positive = False
        if not is_positive:
            require_positive("temperature", temperature)
        return temperature
    leading = logits.shape[:-1]
    ours = (1,) * (len(leading) - temperature.ndim) + tuple(temperature.shape)
    if len(ours) != len(leading) or any(size not in (1, full) for size, full in zip(ours, leading, strict=True)):
        raise ShapeMismatch(
            "temperature does not fit the logits.",
            received=f"temperature {tuple(temperature.shape)} and logits {tuple(logits.shape)}",
            expected=f"one number, or one per example: {tuple(leading)}",
        )
    if temperature.device.type == "cpu" and not torch.compiler.is_compiling():
        wrong = ~(temperature.detach().isfinite() & (temperature.detach() > 0))
        if wrong.any():
            require_positive("temperature", float(temperature.detach()[wrong][0]))
    return temperature.to(logits.device, widened_dtype(logits)).expand(leading).unsqueeze(-1)
