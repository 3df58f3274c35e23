"""How good the logits of independent labels are: each label for itself, several or none may be true.

Every function takes logits of shape (samples, labels) and labels of the same shape, 0 or 1 (or a probability, of which
more than a half counts as true), -1 where a label is unknown and left out. A label is predicted where its logit is
above 0. All raise ShapeMismatch where shapes differ and InvalidValue where nothing is known or a logit is NaN.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.data import UNLABELLED
from limbeck.errors import InvalidValue, ShapeMismatch, require_positive
from limbeck.losses import binary_soft_target_loss


def measure_labels(logits: Tensor, labels: Tensor) -> dict[str, tuple[float, str]]:
    r"""Measure everything that a record keeps of a multi-label or binary classifier.

    Returns:
        Value and unit of "errors" (wrong decisions about known labels), "accuracy" (the fraction of right ones), "nll"
        (mean Bernoulli negative log-likelihood, nats per label), "micro_f1", "macro_f1", "map" (mean average precision
        over labels) and "auroc" (mean over labels). The last three run over labels that have a true and a false sample;
        without any they are left out. "labels_left_out" counts the others where there are some.
    Example:
        >>> measured = measure_labels(torch.tensor([[2.0, -1.0], [-3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
        >>> measured["errors"], measured["accuracy"]
        ((1.0, 'count'), (0.75, 'fraction'))

    References:
        scikit-learn's average_precision_score, roc_auc_score and f1_score, label by label.
    """
    from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

    scores, truth, known = _checked(logits, labels)
    predicted, right = scores > 0, (scores > 0) == (truth > 0.5)
    num_known, num_errors = int(known.sum()), int((~right & known).sum())
    nll = F.binary_cross_entropy_with_logits(scores, truth, reduction="none")[known].mean()
    is_true = (truth > 0.5) & known
    measured = {
        "errors": (float(num_errors), "count"),
        "accuracy": ((num_known - num_errors) / num_known, "fraction"),
        "nll": (float(nll), "nats"),
    }
    flat_truth, flat_predicted = is_true[known].numpy(), predicted[known].numpy()
    measured["micro_f1"] = (float(f1_score(flat_truth, flat_predicted, zero_division=0)), "fraction")
    by_label: list[tuple[float, float, float]] = []
    for label in range(scores.shape[1]):
        rows = known[:, label]
        own, own_scores = is_true[rows, label].numpy(), scores[rows, label].numpy()
        if own.any() and not own.all():
            f1 = f1_score(own, predicted[rows, label].numpy(), zero_division=0)
            by_label.append((f1, average_precision_score(own, own_scores), roc_auc_score(own, own_scores)))
    if by_label:
        means = np.mean(by_label, axis=0)
        for name, value in zip(("macro_f1", "map", "auroc"), means, strict=True):
            measured[name] = (float(value), "fraction")
    if len(by_label) < scores.shape[1]:
        measured["labels_left_out"] = (float(scores.shape[1] - len(by_label)), "count")
    return measured


def label_agreement(student_logits: Tensor, teacher_logits: Tensor) -> float:
    """Return the fraction of label decisions in which both agree.

    Example:
        >>> label_agreement(torch.tensor([[2.0, -1.0]]), torch.tensor([[1.0, 3.0]]))
        0.5
    """
    _require_same(student_logits, teacher_logits)
    return float(((student_logits > 0) == (teacher_logits > 0)).double().mean())


def mean_label_kl(teacher_logits: Tensor, student_logits: Tensor, *, temperature: float = 1.0) -> float:
    r"""Return the mean Bernoulli divergence of the student from the teacher, in nats per label, without a factor T².

    Example:
        >>> mean_label_kl(torch.tensor([[1.0, -2.0]]), torch.tensor([[1.0, -2.0]]))
        0.0
    """
    require_positive("temperature", temperature)
    _require_same(student_logits, teacher_logits)
    losses = binary_soft_target_loss(student_logits.double(), teacher_logits.double(), temperature=temperature)
    return float(losses.mean() / temperature**2 / student_logits.shape[1])


def _checked(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits and labels in float64 on the CPU, and which labels are known."""
    _require_same(logits, labels)
    scores, truth = logits.detach().double().cpu(), labels.double().cpu()
    known = truth != UNLABELLED
    if not bool(known.any()):
        raise InvalidValue("No label is known.", received=f"{tuple(labels.shape)} labels, all -1")
    if bool(scores.isnan().any()):
        raise InvalidValue("A logit is NaN.", received=int(scores.isnan().any(dim=1).nonzero()[0]), expected="numbers")
    return scores, torch.where(known, truth, 0.0), known


def _require_same(first: Tensor, second: Tensor) -> None:
    if first.shape != second.shape or first.ndim != 2:
        raise ShapeMismatch(
            "Logits and labels, or two networks' logits, have different shapes.",
            received=f"{tuple(first.shape)} and {tuple(second.shape)}",
            expected="(samples, labels) for both",
        )
