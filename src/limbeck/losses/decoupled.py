"""Decoupled distillation: the soft-target loss in its two parts, each with a weight of its own."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.errors import ShapeMismatch
from limbeck.losses._arguments import require_pair, widened
from limbeck.losses.hard_label import out_of_range, require_labels
from limbeck.losses.soft_target import soft_target_loss
from limbeck.losses.softmax import tempered_log_softmax


def decoupled_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    temperature: float | Tensor,
    target_weight: float,
    others_weight: float,
) -> Tensor:
    r"""Decoupled knowledge distillation (DKD): how sure of the label, and how the other classes share the rest.

    .. math:: \ell = T^2 \left( \alpha \, KL(b^p \| b^q) + \beta \, KL(\hat p \| \hat q) \right), \qquad
        b^p = (p_y, 1 - p_y), \quad \hat p_c = \frac{p_c}{1 - p_y} \text{ for } c \ne y

    with p = softmax(teacher / T), q = softmax(student / T) and the label y. Plain distillation is the case
    alpha = 1, beta = 1 - p_y for each example: the surer the teacher, the less its other classes count.

    Args:
        student_logits: z, shape (..., classes) with at least two classes, any float dtype; float16 and bfloat16 are
            reduced in float32.
        teacher_logits: same shape; receives no gradient. A class at -inf in both is left out.
        labels: y, shape (...), integers from 0 to classes - 1; every example needs one. Values are checked on the CPU
            alone.
        temperature: T > 0, dimensionless, shared by both: one number, or a tensor with one per example, shape (...).
        target_weight: alpha, of the first part (the paper: 1).
        others_weight: beta, of the second part (the paper: 1 to 10, larger for surer teachers).
    Returns:
        Loss in nats (times T²), shape (...), float32 (float64 for float64 logits); 0 at agreement. The caller reduces.
    Raises:
        InvalidValue: a label out of range, labels that are not integers, a temperature that is not above 0.
        ShapeMismatch: fewer than two classes, or shapes that do not fit.
    Example:
        >>> from torch import tensor
        >>> z, v = tensor([[2.0, 0.0, 0.0]]), tensor([[2.0, 1.0, -1.0]])
        >>> decoupled_loss(z, v, tensor([0]), temperature=1.0, target_weight=1.0, others_weight=0.0)
        tensor([0.0183])
        >>> decoupled_loss(z, v, tensor([0]), temperature=1.0, target_weight=0.0, others_weight=1.0)
        tensor([0.3278])

    References:
        Zhao et al. 2022, "Decoupled Knowledge Distillation", arXiv:2203.08679, equations 5 to 7.
    """
    require_pair("student_logits", student_logits, "teacher_logits", teacher_logits)
    require_labels(labels, student_logits)
    num_classes = student_logits.shape[-1]
    if num_classes < 2:
        raise ShapeMismatch(
            "One class has no others.", received=tuple(student_logits.shape), expected="at least 2 classes"
        )
    if labels.device.type == "cpu" and bool(((labels < 0) | (labels >= num_classes)).any()):
        raise out_of_range(labels, num_classes=num_classes, ignore_label=None)
    is_target = torch.arange(num_classes, device=labels.device) == labels.unsqueeze(-1)
    student, teacher = widened(student_logits), widened(teacher_logits.detach())
    target = soft_target_loss(
        _target_and_rest(student, is_target, temperature), _target_and_rest(teacher, is_target, temperature),
        temperature=1.0,
    )  # fmt: skip
    others = soft_target_loss(
        student.masked_fill(is_target, -torch.inf), teacher.masked_fill(is_target, -torch.inf), temperature=temperature
    )
    return target_weight * temperature**2 * target + others_weight * others


def _target_and_rest(logits: Tensor, is_target: Tensor, temperature: float | Tensor) -> Tensor:
    """Return log (p_y, 1 - p_y) at T, shape (..., 2)."""
    log_probs = tempered_log_softmax(logits, temperature=temperature)
    target = log_probs.masked_fill(~is_target, 0.0).sum(dim=-1)
    return torch.stack([target, log_probs.masked_fill(is_target, -torch.inf).logsumexp(dim=-1)], dim=-1)
