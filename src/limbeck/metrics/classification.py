"""How good a classifier's logits are, against labels.

Every function takes logits of shape (samples, classes), of any float dtype and on any device, and labels of shape
(samples,), integers in 0 .. classes - 1. Softmax and sums are in float64. Among equal logits the class with the lowest
number counts as predicted. All raise ShapeMismatch where shapes do not go together, and InvalidValue where there are no
samples, a label is out of range, or a row has NaN or infinite logits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.errors import InvalidValue
from limbeck.metrics.rows import checked_labels, checked_logits, log_probs, row_chunks
from limbeck.records import ReliabilityBin

_TOP5_CLASSES = 10  # with fewer classes, five guesses say little


@dataclass(frozen=True, eq=False)
class RowMeasures:
    """What is measured of each sample, on the CPU, from which everything is counted without the logits.

    Those of several blocks of samples are joined, so that no more than a block of logits is held.

    Args:
        num_classes: of the logits.
        labels: class indices, shape (samples,), as the others.
        predicted: class indices.
        rank: number of classes placed before the label.
        confidence: float64, the largest probability.
        nll: float64, nats.
        brier: float64.

    Example:
        >>> parts = [RowMeasures.of(torch.zeros(1, 2), torch.tensor([label])) for label in (0, 1)]
        >>> RowMeasures.joined(parts).measured()["errors"]
        (1.0, 'count')
    """

    num_classes: int
    labels: Tensor
    predicted: Tensor
    rank: Tensor
    confidence: Tensor
    nll: Tensor
    brier: Tensor

    @staticmethod
    def of(logits: Tensor, labels: Tensor) -> RowMeasures:
        """Measure each row of logits; see the module for shapes and errors."""
        logits = checked_logits(logits)
        labels = checked_labels(labels, logits)
        ranks, confidences, nlls, briers = [], [], [], []
        for rows in row_chunks(logits):
            ranks.append(_ranks(logits[rows], labels[rows]))
            log_p = log_probs(logits[rows])  # (rows, classes)
            own = log_p.gather(1, labels[rows].to(log_p.device).unsqueeze(1)).squeeze(1)
            nlls.append(-own)
            confidences.append(log_p.amax(dim=1).exp())
            briers.append(log_p.mul(2).exp_().sum(dim=1) - 2 * own.exp() + 1)
        rank, confidence, nll, brier = (torch.cat(parts).cpu() for parts in (ranks, confidences, nlls, briers))
        predicted = logits.argmax(dim=1).cpu()
        return RowMeasures(logits.shape[1], labels.cpu(), predicted, rank, confidence, nll, brier)

    @staticmethod
    def joined(parts: Sequence[RowMeasures]) -> RowMeasures:
        """Return those of all samples of at least one part."""
        names = [field.name for field in dataclasses.fields(RowMeasures)][1:]
        columns = (torch.cat([getattr(part, name) for part in parts]) for name in names)
        return parts[0] if len(parts) == 1 else RowMeasures(parts[0].num_classes, *columns)

    @property
    def correct(self) -> Tensor:
        """Whether the label is the predicted class, bool."""
        return self.rank == 0

    def reliability(self, num_bins: int = 15) -> list[ReliabilityBin]:
        """Return the bins of :func:`reliability_bins`."""
        return _reliability(self, num_bins)

    def measured(self) -> dict[str, tuple[float, str]]:
        """Return what :func:`measure_predictions` does."""
        num_samples = len(self.labels)
        num_errors = int((~self.correct).sum())
        measured = {
            "errors": (float(num_errors), "count"),
            "accuracy": ((num_samples - num_errors) / num_samples, "fraction"),
        }
        if self.num_classes >= _TOP5_CLASSES:
            measured["top5_accuracy"] = (int((self.rank < 5).sum()) / num_samples, "fraction")
        measured["nll"] = (float(self.nll.mean()), "nats")
        measured["ece"] = (_calibration_error(self.reliability()), "fraction")
        measured["brier"] = (float(self.brier.mean()), "squared probability")
        return measured


def count_errors(logits: Tensor, labels: Tensor) -> int:
    """Count the samples whose largest logit is not the label's.

    Example:
        >>> count_errors(torch.tensor([[2.0, 1.0], [0.0, 3.0], [1.0, 1.0]]), torch.tensor([0, 0, 1]))
        2
    """
    logits = checked_logits(logits)
    labels = checked_labels(labels, logits)
    return int((logits.argmax(dim=1) != labels).sum())


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Return the fraction of samples whose largest logit is the label's.

    Example:
        >>> accuracy(torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([0, 0]))
        0.5
    """
    num_errors = count_errors(logits, labels)
    return (len(labels) - num_errors) / len(labels)


def top_k_accuracy(logits: Tensor, labels: Tensor, *, k: int) -> float:
    """Return the fraction of samples whose label is among the k largest logits; ties go to the lower class.

    Args:
        logits: shape (samples, classes).
        labels: shape (samples,).
        k: guesses allowed, 1 to classes.
    Raises:
        InvalidValue: k outside its range; or see the module.
    Example:
        >>> top_k_accuracy(torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]]), torch.tensor([1, 2]), k=2)
        0.5
    """
    logits = checked_logits(logits)
    labels = checked_labels(labels, logits)
    if not 1 <= k <= logits.shape[1]:
        raise InvalidValue("k is out of range.", received=k, expected=f"1 to {logits.shape[1]}, the number of classes")
    ranks = torch.cat([_ranks(logits[rows], labels[rows]) for rows in row_chunks(logits)])
    return int((ranks < k).sum()) / len(ranks)


def negative_log_likelihood(logits: Tensor, labels: Tensor) -> float:
    r"""Return the mean of -log p(label), in nats; infinite where a label's own logit is -inf.

    .. math:: -\frac 1 n \sum_b \log p_{b y_b}, \qquad p_b = softmax(z_b)

    Example:
        >>> round(negative_log_likelihood(torch.zeros(3, 4), torch.tensor([0, 1, 2])), 4)
        1.3863
    """
    return float(RowMeasures.of(logits, labels).nll.mean())


def brier_score(logits: Tensor, labels: Tensor) -> float:
    r"""Return the mean squared distance of the probabilities from the label's one-hot vector, in [0, 2].

    .. math:: \frac 1 n \sum_b \sum_c (p_{bc} - [c = y_b])^2

    This is Brier's own form, summed over all classes; for two classes it is twice the form with one probability.

    Example:
        >>> brier_score(torch.zeros(1, 2), torch.tensor([0]))
        0.5

    References:
        Brier 1950, "Verification of forecasts expressed in terms of probability".
    """
    return float(RowMeasures.of(logits, labels).brier.mean())


def expected_calibration_error(logits: Tensor, labels: Tensor, *, num_bins: int = 15) -> float:
    r"""Return the mean gap between confidence and accuracy over bins of equal width.

    .. math:: \sum_m \frac{|B_m|}{n} \, | acc(B_m) - conf(B_m) |

    Bin m holds the samples whose largest probability lies in ((m - 1) / M, m / M].

    Args:
        logits: shape (samples, classes).
        labels: shape (samples,).
        num_bins: M, >= 1.
    Raises:
        InvalidValue: no bins; or see the module.
    Example:
        >>> expected_calibration_error(torch.zeros(4, 2), torch.tensor([0, 0, 0, 0]))
        0.5

    References:
        Guo, Pleiss, Sun, Weinberger 2017, arXiv:1706.04599, section 2.
    """
    return _calibration_error(_reliability(RowMeasures.of(logits, labels), num_bins))


def reliability_bins(logits: Tensor, labels: Tensor, *, num_bins: int = 15) -> list[ReliabilityBin]:
    """Return count, mean confidence and accuracy for bins of equal width, as in a reliability diagram.

    Args:
        logits: shape (samples, classes).
        labels: shape (samples,).
        num_bins: >= 1.
    Raises:
        InvalidValue: no bins; or see the module.
    Example:
        >>> reliability_bins(torch.zeros(4, 2), torch.tensor([0, 0, 0, 1]), num_bins=2)[0]
        ReliabilityBin(low=0.0, high=0.5, count=4, mean_confidence=0.5, accuracy=0.75)
    """
    return _reliability(RowMeasures.of(logits, labels), num_bins)


def sum_errors_and_nll(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    r"""Sum errors and -log p(label) over samples, for many networks at once.

    Args:
        logits: shape (networks, samples, classes); those of a network that gives NaN make its own sums NaN or wrong.
        labels: shape (samples,).
    Returns:
        Two float64 tensors on the CPU, shape (networks,): the number of errors, and nats.
    Example:
        >>> sum_errors_and_nll(torch.zeros(2, 3, 4), torch.tensor([0, 1, 2]))[0]
        tensor([2., 2.], dtype=torch.float64)
    """
    num_networks, num_samples, num_classes = logits.shape
    log_p = log_probs(logits.detach().reshape(-1, num_classes))
    labels = labels.to(log_p.device).repeat(num_networks)
    wrong = log_p.argmax(dim=1) != labels
    nll = -log_p.gather(1, labels.unsqueeze(1)).squeeze(1)
    errors, nats = (row.double().view(num_networks, num_samples).sum(dim=1).cpu() for row in (wrong, nll))
    return errors, nats


def measure_predictions(logits: Tensor, labels: Tensor) -> dict[str, tuple[float, str]]:
    """Measure everything that a record keeps, in one pass over the logits.

    Returns:
        Value and unit of "errors", "accuracy", "top5_accuracy" (where there are 10 classes or more), "nll", "ece"
        (15 bins) and "brier".
    Example:
        >>> measure_predictions(torch.zeros(2, 2), torch.tensor([0, 1]))["errors"]
        (1.0, 'count')
    """
    return RowMeasures.of(logits, labels).measured()


def _ranks(logits: Tensor, labels: Tensor) -> Tensor:
    """Count the classes placed before the label: larger logits, and equal ones of lower number."""
    own = logits.gather(1, labels.unsqueeze(1))  # (rows, 1)
    lower = torch.arange(logits.shape[1], device=logits.device) < labels.unsqueeze(1)
    return ((logits > own) | ((logits == own) & lower)).sum(dim=1)


def _reliability(rows: RowMeasures, num_bins: int) -> list[ReliabilityBin]:
    if num_bins < 1:
        raise InvalidValue("There must be bins.", received=num_bins, expected="num_bins >= 1")
    edges = torch.arange(num_bins + 1, dtype=torch.float64) / num_bins
    which = torch.bucketize(rows.confidence, edges[1:-1])  # edges[i] < confidence <= edges[i + 1]
    counts = torch.bincount(which, minlength=num_bins)
    confidences = torch.bincount(which, weights=rows.confidence, minlength=num_bins)
    hits = torch.bincount(which, weights=rows.correct.double(), minlength=num_bins)
    return [
        ReliabilityBin(
            low=float(edges[m]),
            high=float(edges[m + 1]),
            count=int(counts[m]),
            mean_confidence=float(confidences[m]) / max(1, int(counts[m])),
            accuracy=float(hits[m]) / max(1, int(counts[m])),
        )
        for m in range(num_bins)
    ]


def _calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    num_samples = sum(b.count for b in bins)
    return sum(b.count * abs(b.accuracy - b.mean_confidence) for b in bins) / num_samples
