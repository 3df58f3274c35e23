"""Gradients of whole batches' losses, without their values and without autograd: a training step's fewest operations.

Between two matrix products every operation finds the caches cold and costs tens of microseconds, however small the
batch; each node of autograd's graph costs two. These gradients are known, ``outputs.backward(gradient)`` goes on from
there, and the values can be computed later, for many steps at once.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from limbeck.errors import ShapeMismatch, require_not_negative, require_positive
from limbeck.losses._arguments import require_classes, require_pair, widened_dtype
from limbeck.losses.hard_label import out_of_range, require_labels


def distillation_gradient(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    temperature: float,
    soft_weight: float,
    hard_weight: float,
    num_examples: float | None = None,
    num_labelled: Tensor | float | None = None,
    ignore_label: int | None = -1,
) -> Tensor:
    r"""Gradient of the weighted mean of soft targets at T and labels at T = 1.

    .. math:: g_b = \frac{w_{soft}}{n} T (q_b^T - p_b^T) + \frac{w_{hard}}{m} (q_b^1 - y_b)

    with p of the teacher, q of the student, y the label's unit vector (the second term is 0 without a label), n
    examples and m of them labelled: the gradient of ``soft_weight * soft_target_loss(...).sum() / n + hard_weight *
    hard_label_loss(...).sum() / m``.

    Args:
        student_logits: shape (batch, classes), any float dtype; float16 and bfloat16 are reduced in float32.
        teacher_logits: same shape.
        labels: class numbers, int64, shape (batch,), or ``ignore_label``.
        temperature: T > 0, dimensionless, of the soft part.
        soft_weight: >= 0.
        hard_weight: >= 0.
        num_examples: n; the batch's where not given. More where the batch is one part of a step.
        num_labelled: m, a number or a scalar tensor; counted where not given, and then at least 1.
        ignore_label: of an example that takes no part in the hard mean; None says that there is no such example.
    Returns:
        The gradient, shape and dtype of the student's logits, for ``student_logits.backward(gradient)``.
    Raises:
        InvalidValue: a weight below 0, a temperature that is no finite number above 0, a label out of range, labels
            that are not integers, or tensors on different devices.
        ShapeMismatch: shapes that do not fit.
    Example:
        >>> from torch import tensor
        >>> student, teacher = tensor([[2.0, 0.0]]), tensor([[0.0, 2.0]])
        >>> distillation_gradient(student, teacher, tensor([0]), temperature=2.0, soft_weight=1.0, hard_weight=0.1)
        tensor([[ 0.9123, -0.9123]])

    References:
        Hinton, Vinyals, Dean 2015, arXiv:1503.02531, sections 2 and 2.1.
    """
    _require_batch(student_logits, labels)
    if (
        student_logits.shape != teacher_logits.shape
        or student_logits.dtype != teacher_logits.dtype
        or student_logits.device != teacher_logits.device
    ):
        require_pair("student_logits", student_logits, "teacher_logits", teacher_logits)
    _require_settings(temperature, soft_weight, hard_weight)
    n = len(labels) if num_examples is None else num_examples
    m = _count(labels, ignore_label) if num_labelled is None else num_labelled
    student, teacher = _class_first(student_logits), _class_first(teacher_logits)
    if hard_weight == 0:
        p, q = torch.softmax(torch.stack((teacher, student), dim=1).div_(temperature), dim=0).unbind(1)
        return _as_given(q.sub_(p).mul_(soft_weight * temperature / n), student_logits)
    scores = torch.stack((teacher, student, student), dim=1)
    scores[:, :2].div_(temperature)
    p, q, q_at_1 = torch.softmax(scores, dim=0).unbind(1)
    gradient = q.sub_(p).mul_(soft_weight * temperature / n)
    rows = _row_weights(labels, hard_weight / m, ignore_label, like=gradient)
    gradient.addcmul_(q_at_1, rows)
    return _as_given(_subtract_labels(gradient, labels, rows, ignore_label), student_logits)


def hard_label_gradient(
    logits: Tensor, labels: Tensor, *, num_labelled: Tensor | float | None = None, ignore_label: int | None = -1
) -> Tensor:
    r"""Gradient of the mean cross-entropy with the labels: that of ``hard_label_loss(...).sum() / m``.

    .. math:: g_b = \frac1m (q_b - y_b), \text{ 0 without a label}

    Args:
        logits: shape (batch, classes), any float dtype; float16 and bfloat16 are reduced in float32.
        labels: class numbers, int64, shape (batch,), or ``ignore_label``.
        num_labelled: m, a number or a scalar tensor; counted where not given, and then at least 1.
        ignore_label: of an example that takes no part; None says that there is no such example.
    Returns:
        The gradient, shape and dtype of the logits, for ``logits.backward(gradient)``.
    Raises:
        InvalidValue, ShapeMismatch: as :func:`distillation_gradient`.
    Example:
        >>> from torch import tensor
        >>> hard_label_gradient(tensor([[2.0, 0.0], [0.0, 0.0]]), tensor([0, -1]))
        tensor([[-0.1192,  0.1192],
                [ 0.0000,  0.0000]])
    """
    _require_batch(logits, labels)
    m = _count(labels, ignore_label) if num_labelled is None else num_labelled
    gradient = torch.softmax(_class_first(logits), dim=0)
    rows = _row_weights(labels, 1 / m, ignore_label, like=gradient)
    return _as_given(_subtract_labels(gradient.mul_(rows), labels, rows, ignore_label), logits)


@functools.lru_cache(maxsize=256)
def _require_settings(temperature: float, soft_weight: float, hard_weight: float) -> None:
    require_positive("temperature", temperature)
    require_not_negative("soft_weight", soft_weight)
    require_not_negative("hard_weight", hard_weight)


def _require_batch(logits: Tensor, labels: Tensor) -> None:
    require_classes("student_logits", logits, least=2)
    if logits.ndim != 2:
        raise ShapeMismatch(
            "The mean runs over a batch of examples.", received=tuple(logits.shape), expected="(batch, classes)"
        )
    require_labels(labels, logits)


def _count(labels: Tensor, ignore_label: int | None) -> Tensor | float:
    return len(labels) if ignore_label is None else (labels != ignore_label).sum().clamp_(min=1)


def _class_first(logits: Tensor) -> Tensor:
    """Return (classes, batch): over a short last axis torch's softmax goes row by row, over the first by many rows."""
    dtype = widened_dtype(logits)
    return (logits.detach() if logits.dtype == dtype else logits.detach().to(dtype)).t()


def _as_given(gradient: Tensor, logits: Tensor) -> Tensor:
    """Return (batch, classes) in the dtype of the logits."""
    return gradient.t() if gradient.dtype == logits.dtype else gradient.t().to(logits.dtype)


def _row_weights(labels: Tensor, weight: Tensor | float, ignore_label: int | None, *, like: Tensor) -> Tensor:
    """Return each example's weight in the hard mean, shape (1, batch)."""
    if ignore_label is None and not isinstance(weight, Tensor):
        return like.new_full((1, len(labels)), weight)
    valid = labels.ge(0) if ignore_label is None else labels != ignore_label
    return (valid * weight).to(like.dtype).unsqueeze(0)


def _subtract_labels(gradient: Tensor, labels: Tensor, rows: Tensor, ignore_label: int | None) -> Tensor:
    """Subtract each example's weight at its label from the gradient, shape (classes, batch), in place."""
    numbers = labels if ignore_label is None else labels.where(labels != ignore_label, 0)
    try:
        return gradient.scatter_add_(0, numbers.unsqueeze(0), -rows)
    except RuntimeError as error:  # on the CPU torch looks at every label anyway
        raise out_of_range(labels, num_classes=len(gradient), ignore_label=ignore_label) from error
