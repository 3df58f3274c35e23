"""Class frequencies of unlabelled data, by the likelihood of a classifier's posteriors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from limbeck.calibration.arguments import usable_logits, usable_priors
from limbeck.errors import InvalidValue
from limbeck.metrics.rows import log_probs, row_chunks

_ROUNDS = 2000
_CONVERGED = 1e-12  # nats per sample, of likelihood still to be gained
_TOLERATED = 1e-7


def estimate_priors(logits: Tensor, *, train_priors: Sequence[float] | Tensor) -> Tensor:
    r"""Class frequencies that make unlabelled samples most likely: Saerens' expectation maximisation.

    .. math:: \hat\pi = \arg\max_\pi \frac 1 n \sum_i \log \sum_c \frac{\pi_c}{\pi^{train}_c} \, \mathrm{softmax}(z_i)_c

    from the fixed point :math:`\pi_c \leftarrow \frac 1 n \sum_i p_{ic}`, p_i the posteriors of sample i under the
    current priors. The problem is concave, so that the maximum found is global; the iteration is accelerated, and stops
    when no priors can gain 1e-12 nats per sample.

    It rests on two things: classes look as they did in training, only more or less often (label shift), and softmax(z)
    is right for the training's frequencies, i.e. calibrated there. An over-confident network gives priors too far from
    the truth; scale its temperature on labelled held-out data first. A student whose transfer set lacks a class fails
    the first condition: what it saw of that class were others' likenesses. Known priors serve it better.

    The offsets that belong to the result are ``(priors / train_priors).log()``: the same, up to a constant, as
    :func:`correct_class_bias` finds from the priors.

    Args:
        logits: z of unlabelled samples as they come in use, shape (samples, classes), any float dtype; reduced in
            float64. The estimate's own error shrinks with the root of their number.
        train_priors: the class frequencies in what the network was trained on, shape (classes,), above 0, of sum 1.
            For a student of soft targets: their mean over the transfer set, not the labels' counts. A class that the
            transfer set lacks still has its share of the teacher's probability, and needs it here.
    Returns:
        Priors, float64, shape (classes,), of sum 1, on the device of the logits (the CPU where it has no float64). The
        prior of a class that only makes the samples less likely goes to 0.
    Raises:
        InvalidValue: training priors that are negative, 0 or of another sum; rows without a softmax; no convergence.
        ShapeMismatch: logits that are not (samples, classes), or not one prior per class.
    Example:
        >>> # Two signs, each shown by nine in ten of a class's samples; trained on equal classes, 74 % "a" in use.
        >>> sign_a, sign_b = torch.tensor([0.9, 0.1]).log(), torch.tensor([0.1, 0.9]).log()
        >>> logits = torch.stack([sign_a] * 74 + [sign_b] * 26)
        >>> estimate_priors(logits, train_priors=[0.5, 0.5])  # 0.9 x 0.8 + 0.1 x 0.2 = 0.74
        tensor([0.8000, 0.2000], dtype=torch.float64)

    References:
        Saerens, Latinne, Decaestecker 2002, "Adjusting the outputs of a classifier to new a priori probabilities";
        Alexandari, Kundaje, Shrikumar 2020, arXiv:1901.06852 (calibrate first; the likelihood is concave);
        Lipton, Wang, Smola 2018, arXiv:1802.03916 (another way, from a confusion matrix); Varadhan, Roland 2008,
        "Simple and globally convergent methods for accelerating the convergence of any EM algorithm".
    """
    logits = usable_logits(logits)
    old = usable_priors("train_priors", train_priors, logits)
    if not (old > 0).all():
        raise InvalidValue(
            f"The training prior of class {int((old == 0).nonzero()[0])} is 0.",
            received=0.0,
            expected="above 0: a network's outputs say nothing of a class without any share in its training",
            remedy="for a student, give the mean of its soft targets over the transfer set",
        )
    ratios = torch.cat([_ratios(logits[rows], old) for rows in row_chunks(logits)])
    priors, to_gain = old, math.inf
    for _ in range(_ROUNDS):
        first, _, to_gain = _step(ratios, priors)
        if to_gain <= _CONVERGED:
            return first / first.sum()
        second, likelihood, _ = _step(ratios, first)
        third, accelerated, _ = _step(ratios, _extrapolate(priors, first, second))
        priors = third if accelerated >= likelihood else second
    if to_gain > _TOLERATED:
        raise InvalidValue(
            "The class frequencies did not converge.",
            received=f"{to_gain:.1e} nats per sample to gain after {_ROUNDS} rounds",
            expected=f"at most {_TOLERATED:g}",
            remedy="see whether two classes have the same logits, and leave one of them out",
        )
    return priors / priors.sum()


def _ratios(logits: Tensor, old: Tensor) -> Tensor:
    """Return softmax(z) / old priors, each row scaled to a largest value of 1, shape (rows, classes)."""
    log_ratios = log_probs(logits) - old.log()
    return (log_ratios - log_ratios.amax(dim=1, keepdim=True)).exp()


def _step(ratios: Tensor, priors: Tensor) -> tuple[Tensor, float, float]:
    """Return the mean of the posteriors, the log-likelihood up to a constant, and a bound on what it can still gain.

    By concavity no priors gain more than the largest partial derivative less 1.
    """
    totals = ratios @ priors  # (rows,)
    slopes = ratios.T @ totals.reciprocal() / len(ratios)  # (classes,)
    return priors * slopes, float(totals.log().mean()), float(slopes.max()) - 1


def _extrapolate(start: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Continue two steps of the iteration along their curve (SQUAREM's third scheme), inside the simplex."""
    change = first - start
    bend = (second - first) - change
    length = max(1.0, float(change.norm()) / max(float(bend.norm()), 1e-300))
    reached = start + 2 * length * change + length**2 * bend
    inside = torch.maximum(reached, 1e-3 * second)
    return inside / inside.sum()
