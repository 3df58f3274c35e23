"""Logits by rows: checked once, then read in float64, a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from limbeck.errors import InvalidValue, ShapeMismatch


class NoSoftmax(InvalidValue):
    """Logits whose softmax is no distribution: NaN, +inf, or nothing but -inf in a row."""


_CHUNK = 2**21  # logits held in float64 at once: 16 MiB


def checked_logits(logits: Tensor, *, name: str = "logits") -> Tensor:
    """Return detached logits, or raise.

    Minus infinity is a class ruled out, and passes; a row needs one finite logit and no NaN or plus infinity.

    Raises:
        ShapeMismatch: not of shape (samples, classes).
        InvalidValue: no samples, no floats, or rows without a softmax; says how many and which is the first.
    """
    if logits.dim() != 2 or logits.shape[1] == 0:
        raise ShapeMismatch(
            f"{name} must have one row per sample.", received=tuple(logits.shape), expected="shape (samples, classes)"
        )
    if logits.shape[0] == 0:
        raise InvalidValue(f"{name} holds no samples.", received=tuple(logits.shape), expected="at least one row")
    if not logits.is_floating_point():
        raise InvalidValue(f"{name} must be floats.", received=logits.dtype, expected="values before a softmax")
    logits = logits.detach()
    bad = ~logits.amax(dim=1).isfinite()
    if bad.any():
        raise NoSoftmax(
            f"{int(bad.sum())} of {len(bad)} rows of {name} have no softmax.",
            received=f"NaN, +inf or nothing but -inf; the first is row {int(bad.nonzero()[0])}",
            expected="finite logits",
            remedy="see whether training diverged, or a sum overflowed in half precision",
        )
    return logits


def checked_labels(labels: Tensor, logits: Tensor) -> Tensor:
    """Return labels as int64 on the device of the (checked) logits, or raise.

    Raises:
        ShapeMismatch: not one label per row.
        InvalidValue: labels that are no integers, or outside 0 .. classes - 1; says how many and which is the first.
    """
    num_rows, num_classes = logits.shape
    if labels.shape != (num_rows,):
        raise ShapeMismatch(
            "There must be one label per row of logits.",
            received=f"labels {tuple(labels.shape)}, logits {tuple(logits.shape)}",
            expected=f"labels of shape ({num_rows},)",
        )
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise InvalidValue("Labels must be class numbers.", received=labels.dtype, expected="an integer dtype")
    labels = labels.to(device=logits.device, dtype=torch.int64)
    bad = (labels < 0) | (labels >= num_classes)
    if bad.any():
        first = int(bad.nonzero()[0])
        raise InvalidValue(
            f"{int(bad.sum())} of {num_rows} labels are out of range.",
            received=f"the first is {int(labels[first])}, at row {first}",
            expected=f"0 to {num_classes - 1}",
            remedy="leave unlabelled samples out, and check that model and data have the same classes",
        )
    return labels


def row_chunks(logits: Tensor) -> Iterator[slice]:
    """Yield slices of rows that hold about two million logits each."""
    step = max(1, _CHUNK // logits.shape[1])
    for start in range(0, logits.shape[0], step):
        yield slice(start, start + step)


def log_probs(logits: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Return log softmax(logits / T) in float64, of the same shape."""
    if logits.device.type == "mps":  # has no float64
        logits = logits.cpu()
    return torch.log_softmax(logits.double() / temperature, dim=1)
