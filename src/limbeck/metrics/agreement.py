"""How closely a student follows its teacher, labels aside."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from limbeck.errors import InvalidValue, ShapeMismatch, require_positive
from limbeck.metrics.rows import checked_logits, log_probs, row_chunks


def top1_agreement(student_logits: Tensor, teacher_logits: Tensor) -> float:
    """Return the fraction of samples for which both predict the same class; the order of the two does not matter.

    Args:
        student_logits: shape (samples, classes), any float dtype.
        teacher_logits: same shape.
    Raises:
        ShapeMismatch: shapes differ, or are not (samples, classes).
        InvalidValue: no samples, or rows with NaN or infinite logits.
    Example:
        >>> top1_agreement(torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([[9.0, 1.0], [1.0, 0.0]]))
        0.5
    """
    student_logits, teacher_logits = _checked(student_logits, teacher_logits)
    same = student_logits.argmax(dim=1) == teacher_logits.argmax(dim=1)
    return int(same.sum()) / len(same)


def mean_kl(teacher_logits: Tensor, student_logits: Tensor, *, temperature: float = 1.0) -> float:
    r"""Return the mean divergence of the student from the teacher, at temperature T.

    .. math:: \frac 1 n \sum_b \sum_c p_{bc} (\log p_{bc} - \log q_{bc})

    with p = softmax(teacher / T) and q = softmax(student / T), in float64. There is no factor T². Infinite where the
    student rules out (-inf) a class that the teacher does not.

    Args:
        teacher_logits: shape (samples, classes), any float dtype.
        student_logits: same shape.
        temperature: T > 0, shared by both.
    Returns:
        Nats per sample, >= 0.
    Raises:
        ShapeMismatch: shapes differ, or are not (samples, classes).
        InvalidValue: no samples, rows with NaN or infinite logits, or a temperature that is not above 0.
    Example:
        >>> round(mean_kl(torch.tensor([[0.0, 2.0]]), torch.tensor([[2.0, 0.0]]), temperature=2.0), 4)
        0.4621
    """
    require_positive("temperature", temperature)
    teacher_logits, student_logits = _checked(teacher_logits, student_logits)
    total = 0.0
    for rows in row_chunks(teacher_logits):
        log_p = log_probs(teacher_logits[rows], temperature=temperature)
        log_q = log_probs(student_logits[rows], temperature=temperature)
        p = log_p.exp()
        total += float(torch.where(p == 0, 0.0, p * (log_p - log_q)).sum())  # 0 log 0 is 0
    return max(0.0, total) / len(teacher_logits)


def logit_distance(student_logits: Tensor, reference_logits: Tensor) -> float:
    r"""Return how far a student's zero-mean logits lie from a reference's, over the size of the latter.

    .. math:: \sqrt{\frac{\sum_{bc} (\tilde z_{bc} - \tilde v_{bc})^2}{\sum_{bc} \tilde v_{bc}^2}}, \qquad
        \tilde z_{bc} = z_{bc} - \frac1C \sum_k z_{bk}

    in float64. 0 where both give the same distributions at every temperature; 1 for a student of constant logits.

    Args:
        student_logits: z, shape (samples, classes), any float dtype, finite.
        reference_logits: v, same shape, finite.
    Raises:
        ShapeMismatch: shapes differ, or are not (samples, classes).
        InvalidValue: no samples, logits that are not finite, or a reference whose rows are all constant.
    Example:
        >>> logit_distance(torch.tensor([[3.0, 1.0]]), torch.tensor([[4.0, 0.0]]))
        0.5
    """
    student_logits, reference_logits = _checked(student_logits, reference_logits)
    apart = size = 0.0
    for rows in row_chunks(reference_logits):
        student, reference = (_zero_mean(logits[rows].double()) for logits in (student_logits, reference_logits))
        apart += float((student - reference).square().sum())
        size += float(reference.square().sum())
    if not math.isfinite(apart + size) or size == 0:
        raise InvalidValue(
            "These logits have no distance." if size else "A reference that says nothing has no size to measure by.",
            received="a logit of -inf" if size else "rows of constant logits",
            expected="finite logits that differ between classes",
        )
    return math.sqrt(apart / size)


def _zero_mean(logits: Tensor) -> Tensor:
    return logits - logits.mean(dim=1, keepdim=True)


def _checked(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    if first.shape != second.shape:
        raise ShapeMismatch(
            "Teacher and student must speak of the same samples and classes.",
            received=f"{tuple(first.shape)} and {tuple(second.shape)}",
            expected="two tensors of the same shape (samples, classes)",
        )
    return checked_logits(first), checked_logits(second.to(first.device))
