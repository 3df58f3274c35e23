"""Early exit: which exit is taken at a confidence threshold, how well, and at what cost."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from limbeck.errors import InvalidValue, ShapeMismatch, require_fraction, require_not_negative
from limbeck.records import EarlyExitPoint


def first_confident_exit(logits: Tensor, *, threshold: float) -> Tensor:
    r"""Number of the exit that is taken: the first whose largest probability reaches the threshold, else the last.

    .. math:: e = \min \{ i : \max_c \mathrm{softmax}(z^i)_c \ge \tau \} \cup \{ C \}

    Args:
        logits: of every exit, from shallow to deep, shape (samples, exits, classes).
        threshold: tau, in [0, 1]: at 0 the first exit answers everything, at 1 the last does, but for certainty.
    Returns:
        Exit numbers from 0, int64, shape (samples,).
    Raises:
        InvalidValue: a threshold outside [0, 1].
        ShapeMismatch: other shapes.
    Example:
        >>> logits = torch.tensor([[[4.0, 0.0], [9.0, 0.0]], [[0.1, 0.0], [0.0, 3.0]]])
        >>> first_confident_exit(logits, threshold=0.9)
        tensor([0, 1])

    References:
        Teerapittayanon, McDanel, Kung 2016, "BranchyNet", arXiv:1709.01686, section 3 (there by entropy).
    """
    require_fraction("threshold", threshold)
    if logits.ndim != 3 or 0 in logits.shape[1:]:
        raise ShapeMismatch(
            "Every exit's logits are needed.", received=tuple(logits.shape), expected="(samples, exits, classes)"
        )
    confident = torch.softmax(logits.float(), dim=2).amax(dim=2) >= threshold
    confident[:, -1] = True
    return confident.int().argmax(dim=1)  # the first of several largest


def early_exit_curve(
    logits: Tensor, labels: Tensor, *, costs: Sequence[float], thresholds: Sequence[float]
) -> list[EarlyExitPoint]:
    """Measure what each threshold gives.

    Args:
        logits: of every exit, from shallow to deep, shape (samples, exits, classes).
        labels: shape (samples,), class numbers.
        costs: of stopping at each exit, everything before it included: FLOPs, or seconds; not falling.
        thresholds: in [0, 1].
    Returns:
        One point for each threshold, in order.
    Raises:
        InvalidValue: a threshold outside [0, 1]; costs that fall, or are negative.
        ShapeMismatch: not one label per sample, or one cost per exit.
    Example:
        >>> logits = torch.tensor([[[4.0, 0.0], [9.0, 0.0]], [[0.1, 0.0], [0.0, 3.0]]])
        >>> early_exit_curve(logits, torch.tensor([0, 1]), costs=[1.0, 3.0], thresholds=[0.0, 0.9])
        [EarlyExitPoint(threshold=0.0, accuracy=0.5, cost=1.0, shares=(1.0, 0.0)),
         EarlyExitPoint(threshold=0.9, accuracy=1.0, cost=2.0, shares=(0.5, 0.5))]
    """
    if logits.ndim != 3 or labels.shape != logits.shape[:1] or len(costs) != logits.shape[1] or len(labels) == 0:
        raise ShapeMismatch(
            "Logits, labels and costs do not fit.",
            received=f"logits {tuple(logits.shape)}, labels {tuple(labels.shape)}, {len(costs)} costs",
            expected="(samples, exits, classes), (samples,) of at least one, one cost per exit",
        )
    for cost in costs:
        require_not_negative("A cost", cost)
    if list(costs) != sorted(costs):
        raise InvalidValue("A deeper exit cannot cost less.", received=list(costs), expected="costs that do not fall")
    right = logits.argmax(dim=2) == labels.unsqueeze(1)  # (samples, exits)
    points = []
    for threshold in thresholds:
        exits = first_confident_exit(logits, threshold=threshold)
        shares = (torch.bincount(exits, minlength=len(costs)).double() / len(exits)).tolist()
        accuracy = right.gather(1, exits.unsqueeze(1)).double().mean()
        cost = sum(share * cost for share, cost in zip(shares, costs, strict=True))
        points.append(EarlyExitPoint(threshold, float(accuracy), cost, tuple(shares)))
    return points


def choose_threshold(points: Sequence[EarlyExitPoint], *, least_accuracy: float) -> EarlyExitPoint | None:
    """Return the cheapest point that is accurate enough; of equal cost the most accurate, then the highest threshold.

    The points must be those of a validation split: a threshold that is chosen on the test set flatters it.

    Args:
        points: of :func:`early_exit_curve`.
        least_accuracy: in [0, 1]; for example that of the last exit, less what early exit may cost.
    Returns:
        The point; None where none is accurate enough.
    Raises:
        InvalidValue: ``least_accuracy`` outside [0, 1].
    Example:
        >>> points = [EarlyExitPoint(0.5, 0.91, 1.2, (0.9, 0.1)), EarlyExitPoint(0.9, 0.95, 1.7, (0.65, 0.35))]
        >>> choose_threshold(points, least_accuracy=0.94).threshold
        0.9
    """
    require_fraction("least_accuracy", least_accuracy)
    enough = [point for point in points if point.accuracy >= least_accuracy]
    return min(enough, key=lambda point: (point.cost, -point.accuracy, -point.threshold), default=None)
