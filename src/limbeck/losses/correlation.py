"""Distillation from a stronger teacher (DIST): correlations of the outputs in place of their divergence."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.errors import ShapeMismatch
from limbeck.losses._arguments import divisor, require_pair, widened

_LEAST_NORM = 1e-6  # below it, a row or column is constant: it correlates with nothing


def inter_class_correlation_loss(
    student_logits: Tensor, teacher_logits: Tensor, *, temperature: float | Tensor
) -> Tensor:
    r"""Inter-class relation of DIST: for each example, how its classes correlate in student and teacher.

    .. math:: \ell_b = T^2 \left( 1 - \rho(p_{b \cdot}, q_{b \cdot}) \right)

    with p = softmax(teacher / T), q = softmax(student / T) and Pearson's rho over the classes. What matters is which
    classes stand out by how much relative to each other, not how sure the teacher is: scale and level are free.

    Args:
        student_logits: shape (..., classes), any float dtype; float16 and bfloat16 are reduced in float32.
        teacher_logits: same shape; receives no gradient.
        temperature: T > 0, dimensionless, shared by both: one number, or a tensor with one per example, shape (...).
    Returns:
        Loss (times T²), dimensionless, in [0, 2 T²], shape (...), float32 (float64 for float64 logits); 0 at agreement.
        Where all classes are alike to one of the two, rho is not defined: the loss is T² / 2, without a gradient. The
        caller reduces.
    Raises:
        InvalidValue: not floating-point, on different devices, a temperature that is not above 0.
        ShapeMismatch: no class axis, or the two shapes differ.
    Example:
        >>> from torch import tensor
        >>> inter_class_correlation_loss(tensor([[2.0, 1.0, 0.0]]), tensor([[0.0, 1.0, 2.0]]), temperature=1.0)
        tensor([1.8671])

    References:
        Huang et al. 2022, "Knowledge Distillation from A Stronger Teacher", arXiv:2205.10536, equations 7 and 8.
    """
    require_pair("student_logits", student_logits, "teacher_logits", teacher_logits)
    scale = divisor(temperature, student_logits)
    squared = (scale.squeeze(-1) if isinstance(scale, Tensor) else scale) ** 2
    return squared * _lacking_correlation(student_logits, teacher_logits, scale, dim=-1)


def intra_class_correlation_loss(student_logits: Tensor, teacher_logits: Tensor, *, temperature: float) -> Tensor:
    r"""Intra-class relation of DIST: for each class, how the batch's examples correlate in student and teacher.

    .. math:: \ell_c = T^2 \left( 1 - \rho(p_{\cdot c}, q_{\cdot c}) \right)

    with Pearson's rho over the examples of the batch: which of them look how much like class c. The paper adds both
    relations to the cross-entropy with the labels, each with weight 2.

    Args:
        student_logits: shape (batch, classes), at least two examples, any float dtype; float16 and bfloat16 are reduced
            in float32.
        teacher_logits: same shape; receives no gradient.
        temperature: T > 0, dimensionless, shared by both.
    Returns:
        Loss (times T²), dimensionless, one value *per class*, shape (classes,): examples cannot be told apart here. The
        caller reduces, with a mean over classes.
    Raises:
        InvalidValue: not floating-point, on different devices, a temperature that is not above 0.
        ShapeMismatch: not (batch, classes), a batch of fewer than two, or the two shapes differ.
    Example:
        >>> from torch import tensor
        >>> z = tensor([[2.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
        >>> intra_class_correlation_loss(z, 2 * z, temperature=1.0)
        tensor([0.0026, 0.0026])

    References:
        Huang et al. 2022, "Knowledge Distillation from A Stronger Teacher", arXiv:2205.10536, equation 9.
    """
    require_pair("student_logits", student_logits, "teacher_logits", teacher_logits)
    if student_logits.ndim != 2 or len(student_logits) < 2:
        raise ShapeMismatch(
            "Examples correlate within a batch.",
            received=tuple(student_logits.shape),
            expected="(batch, classes), at least 2 examples",
        )
    scale = divisor(temperature, student_logits)
    assert isinstance(scale, float | int), "one temperature"
    return scale**2 * _lacking_correlation(student_logits, teacher_logits, scale, dim=0)


def _lacking_correlation(student: Tensor, teacher: Tensor, scale: float | Tensor, *, dim: int) -> Tensor:
    """Return 1 - Pearson's rho of the tempered probabilities, as half a squared distance: never below 0."""
    # Times T, since probabilities differ by about z / (T C): rho is free of scale, what counts as constant is not.
    q, p = (scale * torch.softmax(widened(logits) / scale, dim=-1) for logits in (student, teacher.detach()))
    return 0.5 * (_direction(q, dim) - _direction(p, dim)).square().sum(dim=dim)


def _direction(values: Tensor, dim: int) -> Tensor:
    """Centre and divide by the norm; 0, without a gradient, where all are alike."""
    centred = values - values.mean(dim=dim, keepdim=True)
    norm = torch.linalg.vector_norm(centred, dim=dim, keepdim=True)
    direction: Tensor = centred / norm.masked_fill(norm < _LEAST_NORM, torch.inf)
    return direction
