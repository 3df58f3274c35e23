"""Cross-entropy with hard labels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.errors import InvalidValue, ShapeMismatch, require_fraction
from limbeck.losses._arguments import require_classes, require_same_device, widened

# On a CPU, torch's softmax over a short last axis works row by row; over an axis before the last, on many rows at once.
FEW_CLASSES = 16


def hard_label_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    label_smoothing: float = 0.0,
    ignore_label: int = -1,
    class_axis: int = -1,
) -> Tensor:
    r"""Cross-entropy with the labels, at temperature 1.

    .. math:: \ell = - (1 - s) \log q_y - \frac{s}{C} \sum_c \log q_c, \qquad q = \mathrm{softmax}(z)

    Args:
        logits: z, shape (..., classes), any float dtype; float16 and bfloat16 are reduced in float32.
        labels: y, shape (...), integers from 0 to classes - 1, or ``ignore_label``; or distributions, floats of the
            logits' shape, each row a distribution or all ``ignore_label`` (the cross-entropy is then with that
            distribution, smoothed as a label is). Values are checked on the CPU alone; an accelerator reports a label
            out of range in its own way.
        label_smoothing: s in [0, 1], dimensionless.
        ignore_label: an example with this label has loss 0 and gradient 0. Average over the others:
            ``loss.sum() / (labels != ignore_label).sum()``.
        class_axis: of the logits; the last. Images of logits, (batch, classes, height, width), have theirs at 1.
    Returns:
        Loss in nats, shape (...), float32 (float64 for float64 logits). The caller reduces.
    Raises:
        InvalidValue: a label out of range, labels that are not integers, or ``label_smoothing`` outside [0, 1].
        ShapeMismatch: labels whose shape is not that of the logits without the classes.
    Example:
        >>> from torch import tensor
        >>> hard_label_loss(tensor([[2.0, 0.0], [0.0, 0.0]]), tensor([0, -1]))
        tensor([0.1269, 0.0000])

    References:
        Szegedy et al. 2016, arXiv:1512.00567, section 7 (label smoothing).
    """
    if class_axis != -1:
        logits = logits.movedim(class_axis, -1)
    require_classes("logits", logits, least=2)
    require_fraction("label_smoothing", label_smoothing)
    if labels.is_floating_point() and labels.shape == logits.shape:
        return _soft_label_loss(logits, labels, label_smoothing, ignore_label)
    require_labels(labels, logits)
    if logits.ndim > 2 and logits.shape[-1] <= FEW_CLASSES:
        scores, numbers = widened(logits).movedim(-1, 1), labels.long()
    else:
        scores, numbers = widened(logits).reshape(-1, logits.shape[-1]), labels.reshape(-1).long()
    try:
        loss = F.cross_entropy(
            scores,
            numbers,
            ignore_index=ignore_label,
            label_smoothing=label_smoothing,
            reduction="none",
        )
    except IndexError as error:  # on the CPU torch looks at every label anyway
        raise out_of_range(labels, num_classes=logits.shape[-1], ignore_label=ignore_label) from error
    return loss.reshape(labels.shape)


def _soft_label_loss(logits: Tensor, labels: Tensor, label_smoothing: float, ignore_label: int) -> Tensor:
    """Cross-entropy with a distribution in place of a label."""
    require_same_device("logits", logits, "labels", labels)
    log_q = torch.log_softmax(widened(logits), dim=-1)
    known = (labels != ignore_label).all(dim=-1, keepdim=True)
    targets = torch.where(known, labels.to(log_q.dtype), 0.0)
    smoothed = (1 - label_smoothing) * targets + known * (label_smoothing / logits.shape[-1])
    return -torch.where(smoothed > 0, smoothed * log_q, 0.0).sum(dim=-1)


def require_labels(labels: Tensor, logits: Tensor) -> None:
    """Raise unless ``labels`` holds one class number for each row of ``logits``, on the same device."""
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise InvalidValue(
            "labels must be integers.",
            received=labels.dtype,
            expected="class numbers, for example torch.int64",
            remedy="distributions have the shape of the logits",
        )
    if labels.shape != logits.shape[:-1]:
        raise ShapeMismatch(
            "labels do not fit the logits.",
            received=f"labels {tuple(labels.shape)} and logits {tuple(logits.shape)}",
            expected=f"labels {tuple(logits.shape[:-1])}",
            remedy="classes that are not on the last axis are said by class_axis=" if logits.ndim > 2 else None,
        )
    require_same_device("logits", logits, "labels", labels)


def out_of_range(labels: Tensor, *, num_classes: int, ignore_label: int | None) -> InvalidValue:
    """Return the error for the first label that is no class."""
    wrong = (labels < 0) | (labels >= num_classes)
    if ignore_label is not None:
        wrong &= labels != ignore_label
    return InvalidValue(
        "A label is out of range.",
        received=int(labels[wrong][0]),
        expected=f"0 to {num_classes - 1}"
        + ("" if ignore_label is None else f", or {ignore_label} for an example without a label"),
    )
