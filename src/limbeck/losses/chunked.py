"""A linear head and the soft-target loss on its logits, which are never all there at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from limbeck.errors import InvalidValue, ShapeMismatch
from limbeck.losses._arguments import divisor, require_same_device
from limbeck.losses._chunked_pass import Chunking, RowLosses, WeightedSum, default_chunk_rows, row_losses
from limbeck.losses.chunk_teachers import (
    ChunkTeacher,
    DenseLogits,
    DenseProbs,
    LowRankLogits,
    SparseLogits,
    require_one_dtype,
)

__all__ = [
    "ChunkTeacher",
    "DenseLogits",
    "DenseProbs",
    "LowRankLogits",
    "SparseLogits",
    "chunked_soft_target_loss",
    "chunked_soft_target_sum",
]


def chunked_soft_target_loss(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    teacher: ChunkTeacher,
    temperature: float | Tensor,
    chunk_rows: int | None = None,
) -> Tensor:
    r"""T² KL(teacher || student) of a student whose last layer is linear, a few rows of logits at a time.

    .. math:: \ell = T^2 \sum_c p_c (\log p_c - \log q_c), \qquad q = \mathrm{softmax}((W x + b) / T)

    The value and the gradients of ``soft_target_loss(linear(features, weight, bias), ...)``. Memory: the gradients, and
    one chunk of logits (two with a teacher that makes its own). Time: the backward pass computes the logits a second
    time, so four matrix products of (rows, features, classes) where keeping them takes three. Where the examples'
    weights in the final loss are known beforehand, as those of a mean are, ``chunked_soft_target_sum`` takes three too.

    Args:
        features: x, shape (..., features), any float dtype.
        weight: W, shape (classes, features), the dtype of ``features`` (any, under autocast).
        bias: b, shape (classes,), likewise.
        teacher: what gives p: ``DenseLogits``, ``DenseProbs``, ``LowRankLogits`` or ``SparseLogits`` of the same
            examples and classes. Receives no gradient.
        temperature: T > 0, dimensionless, shared by both: one number, or a tensor with one per example, shape (...).
            Receives no gradient. A tensor's values are checked on the CPU alone.
        chunk_rows: examples whose logits are there at once. By default 16 MiB of logits in float32 on a CPU and
            128 MiB on an accelerator, at most 4,096 examples.
    Returns:
        Loss in nats (times T²), shape (...), float32 (float64 for float64 features). The caller reduces. Matrix
        products run in the dtype of the features, or in autocast's; losses, and the sums of the gradients over the
        chunks, in float32. Each gradient comes back in its argument's dtype. There is no second derivative.
    Raises:
        InvalidValue: a temperature or ``chunk_rows`` that is not above 0, a temperature that requires a gradient,
            numbers that are not floating-point or not of one dtype, class ids out of range (checked on the CPU alone),
            several devices. In the backward pass: ``create_graph=True``.
        ShapeMismatch: features, weight, bias, teacher and temperature do not fit together.
    Example:
        >>> from torch import eye, tensor
        >>> teacher = DenseLogits(tensor([[0.0, 2.0]]))
        >>> chunked_soft_target_loss(tensor([[2.0, 0.0]]), eye(2), teacher=teacher, temperature=2.0)
        tensor([1.8485])

    References:
        Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 2. Chunks of rows through head and loss, for hard labels:
        Hsu et al. 2024, arXiv:2410.10989.
    """
    leading, rows = _head(features, weight, bias)
    flat, chunking = _flattened(features, weight, teacher, temperature, chunk_rows)
    if torch.is_grad_enabled() and _any_requires_grad(features, weight, bias):
        losses: Tensor = RowLosses.apply(rows, weight, bias, flat, chunking)  # type: ignore[no-untyped-call]
    else:
        losses = row_losses(rows, weight, bias, flat, chunking)
    return losses.reshape(leading)


def chunked_soft_target_sum(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    teacher: ChunkTeacher,
    temperature: float | Tensor,
    row_weights: float | Tensor,
    chunk_rows: int | None = None,
) -> Tensor:
    r"""Weighted sum of ``chunked_soft_target_loss``, with the gradients computed in the forward pass.

    .. math:: L = \sum_b w_b \ell_b

    Time: three matrix products of (rows, features, classes), as without chunks. Memory: the gradients lie ready until
    the backward pass, which multiplies them by the derivative that reaches L; so twice the gradients, or once and one
    chunk of logits (two with a teacher that makes its own), whichever is more.

    Args:
        features: as in ``chunked_soft_target_loss``, like all that is not named here.
        weight: likewise.
        bias: likewise.
        teacher: likewise.
        temperature: likewise.
        row_weights: w, dimensionless: one number for all examples, such as 1 / rows for their mean, or a tensor with
            one per example, shape (...), such as 0 for padding. Receives its gradient, the losses.
        chunk_rows: likewise.
    Returns:
        L in nats (times T²), shape (), float32 (float64 for float64 features).
    Raises:
        InvalidValue: as ``chunked_soft_target_loss``.
        ShapeMismatch: likewise, or ``row_weights`` that do not fit the examples.
    Example:
        >>> from torch import eye, tensor
        >>> features, teacher = tensor([[2.0, 0.0], [0.0, 2.0]]), DenseLogits(tensor([[0.0, 2.0], [0.0, 2.0]]))
        >>> chunked_soft_target_sum(features, eye(2), teacher=teacher, temperature=2.0, row_weights=0.5)
        tensor(0.9242)

    References:
        As ``chunked_soft_target_loss``.
    """
    leading, rows = _head(features, weight, bias)
    flat, chunking = _flattened(features, weight, teacher, temperature, chunk_rows)
    if not isinstance(row_weights, Tensor):
        row_weights = torch.full(leading, float(row_weights), device=features.device)
    if tuple(row_weights.shape) != leading:
        raise ShapeMismatch(
            "row_weights do not fit the examples.",
            received=f"row_weights {tuple(row_weights.shape)} and features {tuple(features.shape)}",
            expected=f"one number, or one per example: {leading}",
        )
    require_same_device("features", features, "row_weights", row_weights)
    row_weights = row_weights.reshape(-1)
    if torch.is_grad_enabled() and _any_requires_grad(features, weight, bias, row_weights):
        total: Tensor = WeightedSum.apply(  # type: ignore[no-untyped-call]
            rows, weight, bias, row_weights, flat, chunking
        )
        return total
    losses = row_losses(rows, weight, bias, flat, chunking)
    return (losses * row_weights).sum(dtype=losses.dtype)


def _head(features: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[tuple[int, ...], Tensor]:
    """Check the student's side; return the shape of its examples, and its features with one axis of them."""
    given = {"features": features, "weight": weight} | ({} if bias is None else {"bias": bias})
    for name, values in given.items():
        if not values.is_floating_point():
            raise InvalidValue(
                f"{name} must hold floating-point numbers.",
                received=values.dtype,
                expected="float16, bfloat16, float32 or float64",
            )
        require_same_device("features", features, name, values)
    fits = features.ndim > 0 and weight.ndim == 2 and weight.shape[1] == features.shape[-1] and len(weight) > 0
    if not fits or (bias is not None and bias.shape != weight.shape[:1]):
        raise ShapeMismatch(
            "features, weight and bias do not make a linear layer.",
            received=", ".join(f"{name} {tuple(values.shape)}" for name, values in given.items()),
            expected="features (..., features), weight (classes, features), bias (classes,), at least one class",
        )
    if _compute_dtype(features) is None:
        require_one_dtype(given)
    leading = tuple(features.shape[:-1])
    return leading, features.reshape(math.prod(leading), features.shape[-1])


def _compute_dtype(features: Tensor) -> torch.dtype | None:
    """Return autocast's dtype where it would convert a linear layer's arguments, else None."""
    device = features.device.type
    if features.dtype == torch.float64 or not torch.is_autocast_enabled(device):
        return None
    return torch.get_autocast_dtype(device)


def _flattened(
    features: Tensor, weight: Tensor, teacher: ChunkTeacher, temperature: float | Tensor, chunk_rows: int | None
) -> tuple[ChunkTeacher, Chunking]:
    """Check the rest; return the teacher with one axis of examples, and what is the same in every chunk."""
    if not isinstance(teacher, ChunkTeacher):
        raise InvalidValue(
            "The teacher of a chunked loss must say what form it has.",
            received=type(teacher).__name__,
            expected="DenseLogits, DenseProbs, LowRankLogits or SparseLogits",
            remedy="wrap a tensor of logits: DenseLogits(logits)",
        )
    teacher.require_fit(tuple(features.shape[:-1]), len(weight))
    for name, values in teacher.tensors().items():
        require_same_device("features", features, f"the teacher's {name}", values)
    if isinstance(temperature, Tensor) and temperature.requires_grad:
        raise InvalidValue(
            "temperature receives no gradient in a chunked loss.",
            received="a tensor that requires a gradient",
            remedy="detach it",
        )
    shared = divisor(temperature, features)
    if isinstance(shared, Tensor):
        shared = shared.reshape(-1, 1)
    if chunk_rows is not None and chunk_rows < 1:
        raise InvalidValue("chunk_rows must be at least 1.", received=chunk_rows, expected="an integer >= 1")
    chunking = Chunking(
        temperature=shared,
        compute_dtype=_compute_dtype(features) or features.dtype,
        chunk_rows=chunk_rows or default_chunk_rows(features.device, len(weight)),
    )
    return teacher.flattened(features.ndim - 1), chunking


def _any_requires_grad(*tensors: Tensor | None) -> bool:
    return any(values is not None and values.requires_grad for values in tensors)
