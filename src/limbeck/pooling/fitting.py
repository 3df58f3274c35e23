"""Weights of experts that make labels most likely: convex problems, one for each way to pool."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from limbeck.errors import InvalidValue, NotConverged, ShapeMismatch, unknown_name

POOLINGS = ("arithmetic", "geometric")
MOST_STEPS = 100_000
LARGEST_WEIGHT = 50.0  # of a geometric mean: experts that are never wrong would be weighed without end


def fit_weights(
    logits: Sequence[Tensor], labels: Tensor, *, pooling: str = "arithmetic", tolerance: float | None = None
) -> list[float]:
    r"""Return the weights of experts under which labels are most likely.

    .. math::
        \max_w \frac{1}{n} \sum_i \log \sum_k w_k q_k(y_i | x_i), \quad \sum_k w_k = 1 \qquad\text{(arithmetic)} \\
        \max_w \frac{1}{n} \sum_i \log \mathrm{softmax}\Big(\sum_k w_k \log q_k(x_i)\Big)_{y_i} \qquad\text{(geometric)}

    with w_k >= 0. Both are concave in w. The weights of a geometric mean are on a scale of their own: their sum is how
    sharp the experts are together.

    Arithmetic: each step multiplies w_k by :math:`g_k = \frac{1}{n} \sum_i q_k(y_i) / q(y_i)` (expectation and
    maximisation from equal weights), which never lowers the objective; it is at most :math:`\max_k g_k - 1` below its
    maximum, where the steps stop. Geometric: L-BFGS-B with the analytic gradient.

    Experts that know different things, each broad where it knows nothing, leave the arithmetic problem nearly flat:
    labels are as likely under one as under the mean of all. The geometric mean sees that they complete each other.

    Args:
        logits: of each expert, shape (samples, classes), of samples that none of them learned from.
        labels: class indices, int64, shape (samples,).
        pooling: "arithmetic" or "geometric".
        tolerance: of an arithmetic mean, how far below the maximum the result may be, in nats a sample; by default
            (experts - 1) / (2 samples), which is what as many free weights gain on noise: closer is not better.
    Returns:
        One weight each, float; of an arithmetic mean they sum to 1.
    Raises:
        InvalidValue: no experts or samples, or a tolerance that is not positive.
        ShapeMismatch: experts and labels that do not go together.
        NotConverged: the arithmetic mean is not near enough to the maximum after 100,000 steps.
        UnknownName: another pooling.
    Example:
        >>> good, poor = torch.tensor([[4.0, 0.0], [0.0, 4.0]]), torch.zeros(2, 2)
        >>> [round(weight, 2) for weight in fit_weights([good, poor], torch.tensor([0, 1]), tolerance=1e-4)]
        [1.0, 0.0]
    """
    if pooling not in POOLINGS:
        raise unknown_name("pooling", pooling, POOLINGS)
    if not logits or not len(labels) or (tolerance is not None and not tolerance > 0):
        raise InvalidValue(
            "Weights are fitted to experts on samples.",
            received=f"{len(logits)} experts, {len(labels)} samples, tolerance {tolerance}",
            expected="at least one of each, tolerance > 0",
        )
    if any(one.dim() != 2 or len(one) != len(labels) or one.shape != logits[0].shape for one in logits):
        raise ShapeMismatch(
            "Experts and labels do not go together.",
            received=", ".join(str(tuple(one.shape)) for one in logits) + f"; {len(labels)} labels",
            expected=f"({len(labels)}, classes) for each expert",
        )
    log_probs = torch.stack([torch.log_softmax(one.double().cpu(), dim=1) for one in logits])
    if pooling == "geometric":
        return _of_geometric_mean(log_probs, labels.cpu())
    allowed = max((len(logits) - 1) / (2 * len(labels)), 1e-9) if tolerance is None else tolerance
    return _of_arithmetic_mean(log_probs, labels.cpu(), allowed)


def accuracy_weights(logits: Sequence[Tensor], labels: Tensor) -> list[float]:
    """Return weights in proportion to each expert's accuracy; equal ones where none is ever right.

    Args:
        logits: of each expert, shape (samples, classes).
        labels: class indices, int64, shape (samples,).
    Example:
        >>> right, half = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
        >>> [round(weight, 3) for weight in accuracy_weights([right, half], torch.tensor([0, 1]))]
        [0.667, 0.333]
    """
    right = [float((one.argmax(dim=1) == labels.to(one.device)).double().mean()) for one in logits]
    total = sum(right)
    return [one / total if total else 1 / len(right) for one in right]


def _of_arithmetic_mean(log_probs: Tensor, labels: Tensor, tolerance: float) -> list[float]:
    likely = log_probs.gather(2, labels[None, :, None].expand(len(log_probs), -1, 1))[..., 0]
    relative = (likely - likely.amax(dim=0)).exp()  # (experts, samples): only ratios count
    weights = torch.full((len(relative),), 1 / len(relative), dtype=torch.float64)
    gain = weights
    for _ in range(MOST_STEPS):
        gain = (relative / (weights @ relative)).mean(dim=1)
        if float(gain.max()) - 1 <= tolerance:
            return [float(weight) for weight in weights / weights.sum()]
        weights = weights * gain
    raise NotConverged(
        "The weights of the experts did not settle.",
        received=f"{float(gain.max()) - 1:.2g} nats below the maximum at most, after {MOST_STEPS:,} steps",
        expected=f"at most {tolerance:g}",
        remedy="allow a larger tolerance",
    )


def _of_geometric_mean(log_probs: Tensor, labels: Tensor) -> list[float]:
    from scipy.optimize import minimize  # slow to import

    experts = log_probs.clamp_min(-1e4).numpy()  # (experts, samples, classes); -inf times a weight of 0 is NaN
    rows, truth = np.arange(len(labels)), labels.numpy()

    def loss_and_gradient(weights: np.ndarray) -> tuple[float, np.ndarray]:
        joint = np.tensordot(weights, experts, axes=1)
        joint -= joint.max(axis=1, keepdims=True)
        total = np.exp(joint).sum(axis=1, keepdims=True)
        probs = np.exp(joint) / total
        loss = float((np.log(total[:, 0]) - joint[rows, truth]).mean())
        gradient = ((probs * experts).sum(axis=2) - experts[:, rows, truth]).mean(axis=1)
        return loss, gradient

    start = np.full(len(experts), 1 / len(experts))
    bounds = [(0.0, LARGEST_WEIGHT)] * len(experts)
    found = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", bounds=bounds)
    weights = [float(weight) for weight in found.x]
    return weights if sum(weights) else [float(weight) for weight in start]
