"""The soft-target loss with its analytic gradient, and logit matching, its limit at high temperature."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.errors import InvalidValue
from limbeck.losses._arguments import divisor, require_pair, widened, widened_dtype
from limbeck.losses._soft_target_pass import SoftTarget, soft_target_pass
from limbeck.losses.divergence import kl_divergence


def soft_target_loss(
    student_logits: Tensor,
    teacher_logits: Tensor | None = None,
    *,
    temperature: float | Tensor,
    teacher_probs: Tensor | None = None,
    class_axis: int = -1,
) -> Tensor:
    r"""Soft-target term of distillation: T² KL(teacher || student) at temperature T.

    .. math:: \ell = T^2 \sum_c p_c (\log p_c - \log q_c), \qquad
        \frac{\partial \ell}{\partial z_c} = T (q_c - p_c), \qquad q = \mathrm{softmax}(z / T)

    The paper writes the cross-entropy; the KL has the same gradient in the student and is zero at agreement. T² keeps
    the gradient's scale as T changes. The gradient is computed together with the loss and cannot be differentiated
    again (that of ``kl_divergence`` of two ``tempered_log_softmax`` can).

    Args:
        student_logits: z, shape (..., classes), any float dtype; float16 and bfloat16 are reduced in float32, and the
            gradient comes back in this dtype.
        teacher_logits: same shape; p = softmax(teacher / T). Receives no gradient. A class at -inf in both is left out.
        temperature: T > 0, dimensionless, shared by both: one number, or a tensor with one per example, shape (...).
            Receives no gradient. A tensor's values are checked on the CPU alone, since reading them stalls an
            accelerator.
        teacher_probs: p itself, in place of ``teacher_logits``: same shape, the teacher's probabilities *at this
            temperature*, not negative, possibly 0 (not checked). Each row is divided by its sum, so that probabilities
            rounded for storage are still a distribution. Receives no gradient.
        class_axis: of the logits; the last. Images of logits, (batch, classes, height, width), have theirs at 1: the
            loss is then of shape (batch, height, width).
    Returns:
        Loss in nats (times T²), shape (...), float32 (float64 for a float64 student); never negative, exactly 0 where
        the two logits are equal. Infinite where the student's logit is -inf at a class that the teacher does not
        exclude. The caller reduces.
    Raises:
        InvalidValue: both or none of ``teacher_logits`` and ``teacher_probs``; a temperature that is not a finite
            number above 0 or that requires a gradient; not floating-point; on different devices. In the backward
            pass: ``create_graph=True``.
        ShapeMismatch: no class axis, the two shapes differ, or a temperature that does not broadcast to (...).
    Example:
        >>> from torch import tensor
        >>> soft_target_loss(tensor([[2.0, 0.0]]), tensor([[0.0, 2.0]]), temperature=2.0)
        tensor([1.8485])
        >>> soft_target_loss(tensor([[2.0, 0.0]]), teacher_probs=tensor([[0.2689, 0.7311]]), temperature=2.0)
        tensor([1.8488])

    References:
        Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 2.
    """
    if (teacher_logits is None) == (teacher_probs is None):
        raise InvalidValue(
            "The teacher must be given once.",
            received="neither" if teacher_logits is None else "both teacher_logits and teacher_probs",
            expected="teacher_logits, or teacher_probs at the same temperature",
        )
    if isinstance(temperature, Tensor) and temperature.requires_grad:
        raise InvalidValue(
            "temperature receives no gradient in soft_target_loss.",
            received="a tensor that requires a gradient",
            remedy="detach it, or combine tempered_log_softmax and kl_divergence, which pass it on",
        )
    teacher_name, given = (
        ("teacher_probs", teacher_probs) if teacher_logits is None else ("teacher_logits", teacher_logits)
    )
    assert given is not None
    if class_axis != -1:
        student_logits, given = student_logits.movedim(class_axis, -1), given.movedim(class_axis, -1)
    require_pair("student_logits", student_logits, teacher_name, given, least_classes=2)
    return _loss_of_rows(student_logits, given.detach(), teacher_logits is None, divisor(temperature, student_logits))


def _loss_of_rows(student: Tensor, teacher: Tensor, is_probs: bool, temperature: float | Tensor) -> Tensor:
    if torch.compiler.is_compiling():
        return _plain(student, teacher, is_probs, temperature)
    if torch.is_grad_enabled() and student.requires_grad:
        loss: Tensor = SoftTarget.apply(student, teacher, is_probs, temperature)  # type: ignore[no-untyped-call]
        return loss
    return soft_target_pass(student, teacher, is_probs, temperature, keep_gap=False).loss


def logit_matching_loss(student_logits: Tensor, teacher_logits: Tensor, *, centred: bool) -> Tensor:
    r"""Half the mean squared difference of the logits: the limit of ``soft_target_loss`` at high temperature.

    .. math:: \ell = \frac{1}{2 C} \sum_c (z_c - v_c - m)^2, \qquad
        m = \frac1C \sum_c (z_c - v_c) \ \text{if centred, else } 0

    With zero-mean logits per example the soft-target gradient T (q - p) tends to (z - v) / C as T grows, which is this
    loss's gradient. ``centred=True`` subtracts the means, so that only differences between classes count, as in a
    softmax; ``centred=False`` matches the raw logits.

    Args:
        student_logits: z, shape (..., classes), any float dtype, finite; float16 and bfloat16 are reduced in float32.
        teacher_logits: v, same shape, finite; receives no gradient.
        centred: whether a constant added to all of one example's logits is ignored.
    Returns:
        Loss in squared logits, shape (...), float32 (float64 where an argument is float64). The caller reduces.
    Raises:
        InvalidValue: not floating-point, or on different devices.
        ShapeMismatch: no class axis, or the two shapes differ.
    Example:
        >>> from torch import tensor
        >>> logit_matching_loss(tensor([[3.0, 1.0]]), tensor([[1.0, 1.0]]), centred=True)
        tensor([0.5000])
        >>> logit_matching_loss(tensor([[3.0, 1.0]]), tensor([[1.0, 1.0]]), centred=False)
        tensor([1.])

    References:
        Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 2.1; Ba, Caruana 2014, arXiv:1312.6184.
    """
    require_pair("student_logits", student_logits, "teacher_logits", teacher_logits)
    difference = widened(student_logits) - widened(teacher_logits.detach())
    if centred:
        difference = difference - difference.mean(dim=-1, keepdim=True)
    return 0.5 * difference.square().mean(dim=-1)


def _plain(student: Tensor, teacher: Tensor, is_probs: bool, temperature: float | Tensor) -> Tensor:
    """T² KL in operations that a compiler sees through. ``temperature`` divides (..., classes)."""
    teacher = teacher.to(widened_dtype(student))
    if is_probs:
        log_p = (teacher / teacher.sum(dim=-1, keepdim=True)).log()
    else:
        log_p = torch.log_softmax(teacher / temperature, dim=-1)
    divergence = kl_divergence(log_p, torch.log_softmax(widened(student) / temperature, dim=-1))
    scale = temperature.squeeze(-1) if isinstance(temperature, Tensor) else temperature
    return divergence * scale * scale
