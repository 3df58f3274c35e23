"""What is measured of predictions, whatever kind their labels are of."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.data import IGNORE_INDEX, UNLABELLED, has_positions
from limbeck.metrics.agreement import mean_kl, top1_agreement
from limbeck.metrics.classification import measure_predictions
from limbeck.metrics.multi_label import label_agreement, mean_label_kl, measure_labels
from limbeck.metrics.rows import log_probs

Measured = dict[str, tuple[float, str]]  # value and unit by name
MULTI_LABEL = "multi_label"


def has_class_labels(labels: Tensor, task: str) -> bool:
    """Return whether each sample has one class for its label, known or not."""
    return task != MULTI_LABEL and labels.dim() == 1 and not labels.is_floating_point()


def counting_rows(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits (rows, classes) and labels of what counts, labelled or not: the valid positions, or all samples."""
    if not has_positions(labels):
        return logits, labels
    valid = labels != IGNORE_INDEX
    return logits[valid], labels[valid]


def labelled_rows(logits: Tensor, labels: Tensor, *, task: str = "single_label") -> tuple[Tensor, Tensor]:
    """Return logits (rows, classes) and labels of the samples, or valid positions, whose label is known.

    Args:
        logits: shape (samples, classes), or (samples, time, classes).
        labels: class indices, of samples or of positions; distributions (samples, classes); or independent labels.
        task: "single_label" or "multi_label".
    Example:
        >>> labelled_rows(torch.zeros(1, 3, 2), torch.tensor([[1, -100, -1]]))[1]
        tensor([1])
    """
    logits, labels = counting_rows(logits, labels)
    if task == MULTI_LABEL:
        known = (labels != UNLABELLED).any(dim=1) if labels.is_floating_point() else torch.ones(len(labels)).bool()
    elif labels.is_floating_point():
        known = (labels != UNLABELLED).all(dim=1)
    else:
        known = labels >= 0
    return (logits, labels) if bool(known.all()) else (logits[known], labels[known])


def measure_task(logits: Tensor, labels: Tensor, *, task: str = "single_label") -> Measured:
    """Return errors, accuracy, NLL and more, with their units, of what has a label; nothing where nothing has.

    Of distributions the likeliest class counts as the label, and the NLL is the cross-entropy with the distribution.
    """
    logits, labels = labelled_rows(logits, labels, task=task)
    if not len(labels):
        return {}
    if task == MULTI_LABEL:
        return measure_labels(logits, labels)
    if not labels.is_floating_point():
        return measure_predictions(logits, labels)
    measured = measure_predictions(logits, labels.argmax(dim=1))
    log_p = log_probs(logits)
    target = labels.to(log_p)
    measured["nll"] = (float(-torch.where(target > 0, target * log_p, 0.0).sum(dim=1).mean()), "nats")
    return {name: measured[name] for name in ("errors", "accuracy", "nll", "ece")}


def compare_task(logits: Tensor, teacher_logits: Tensor, labels: Tensor, *, task: str = "single_label") -> Measured:
    """Return how closely a network follows a teacher where positions count; what the labels are does not matter."""
    own, _ = counting_rows(logits, labels)
    other, _ = counting_rows(teacher_logits, labels)
    if task == MULTI_LABEL:
        return {
            "agreement": (label_agreement(own, other), "fraction"),
            "kl_to_teacher": (mean_label_kl(other, own), "nats"),
        }
    return {"agreement": (top1_agreement(own, other), "fraction"), "kl_to_teacher": (mean_kl(other, own), "nats")}
