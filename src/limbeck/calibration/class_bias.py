"""Offsets of the logits under which the predicted classes are as frequent as they should be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from limbeck.calibration.arguments import usable_logits, usable_priors
from limbeck.calibration.counting import match_counts, whole_counts
from limbeck.calibration.groups import Groups, make_groups
from limbeck.calibration.matching import match_shares
from limbeck.errors import InvalidValue, unknown_name
from limbeck.metrics.rows import row_chunks

_FREQUENCIES = ("argmax", "probabilities")
_CONVERGED = 1e-6  # relative; the solver aims lower
_MISSED_ROWS = 0.01  # of all rows, where ties keep the counts from their goal
_RULED_OUT = "a logit of -inf stays -inf, whatever is added to it"


def correct_class_bias(
    logits: Tensor,
    *,
    priors: Sequence[float] | Tensor,
    classes: Sequence[int] | Tensor | None = None,
    shared: bool = False,
    frequencies: Literal["probabilities", "argmax"] = "probabilities",
) -> Tensor:
    r"""Offsets of the logits that make the predicted classes as frequent as the priors say; needs no labels.

    .. math:: \frac 1 n \sum_i \mathrm{softmax}(z_i + b)_c = \pi_c \quad \text{for each chosen } c,
        \qquad b_c = 0 \text{ for the others}

    For a network whose classes were not as frequent in training as in use, such as a student of a transfer set that
    lacks a class. The logits are those of samples that the network did not learn from and that are as frequent as in
    use: a split held out of the *whole* training set, not of the transfer set, and never the test set. Where the
    posteriors are right for the old priors, the solution is log(new prior / old prior), up to a constant.

    A match is as good as the samples' own frequencies: n samples drawn at random miss a prior by about
    sqrt(pi (1 - pi) / n), and moving that many predictions makes errors. Hold out a *stratified* split, whose
    frequencies are the priors; else choose only the classes that are known to be wrong.

    ``frequencies`` says which are matched. "probabilities": the mean of the predicted probabilities, as written above;
    smooth, and one solution, up to a constant where all classes are chosen; loosely determined where nearly all
    probabilities are 0 or 1. "argmax": the number of samples for which a class has the largest logit, which is what
    errors are about, and does not ask that the probabilities be right; a whole interval of offsets gives the same
    counts. For one offset the middle of that interval is returned, found by sorting. For several it is a point inside,
    found by matching probabilities at temperatures that fall until the counts are right, or off by one sample; with
    hundreds of classes that takes minutes. Where samples tie, counts may be off by up to 1 % of all samples; beyond
    that it is an error.

    Args:
        logits: z, shape (samples, classes), any float dtype; reduced in float64. -inf is a class ruled out.
        priors: pi, shape (classes,), the share of each class in use; of sum 1. For classes that are not chosen only
            the sum of theirs matters.
        classes: class numbers that get an offset; all by default. With the others' offsets at 0, it is their *total*
            share that is matched.
        shared: one offset for all chosen classes, matched to the sum of their priors.
        frequencies: "probabilities" or "argmax".
    Returns:
        Offsets b in nats, float64, shape (classes,), on the device of the logits (the CPU where it has no float64):
        ``logits + offsets``, or :func:`add_class_bias`. Where all classes are chosen their mean is 0.
    Raises:
        InvalidValue: priors that are no shares, 0 for a chosen class or for all others, or that no offsets can reach;
            classes that are unknown or repeated; rows without a softmax; too few samples to count classes in.
        ShapeMismatch: logits that are not (samples, classes), or not one prior per class.
        UnknownName: unknown ``frequencies``.
    Example:
        >>> old, new = torch.tensor([0.98, 0.02]), torch.tensor([0.5, 0.5])
        >>> logits = old.log() + torch.tensor([[1.5, 0.0], [0.0, 1.5]])  # two samples, one of each class
        >>> correct_class_bias(logits, priors=new, classes=[1])  # log(0.98 / 0.02)
        tensor([0.0000, 3.8918], dtype=torch.float64)

    References:
        Saerens, Latinne, Decaestecker 2002, "Adjusting the outputs of a classifier to new a priori probabilities";
        Menon et al. 2021, arXiv:2007.07314; Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 3 (offsets tuned on
        the test set: see :func:`best_class_bias`); Peyré, Cuturi 2019, arXiv:1803.00567, section 4 (the iteration).
    """
    if frequencies not in _FREQUENCIES:
        raise unknown_name("kind of frequencies", frequencies, _FREQUENCIES)
    logits = usable_logits(logits)
    shares_by_class = usable_priors("priors", priors, logits)
    groups = make_groups(classes, num_classes=logits.shape[1], shared=shared)
    shares = groups.totals(shares_by_class)
    _require_positive_shares(groups, shares)
    _require_reachable(groups, shares, logits)
    if frequencies == "argmax":
        return groups.spread(_match_counts(groups, shares, logits))
    offsets, gap = match_shares(groups.log_masses(logits), shares)
    if not gap <= _CONVERGED:
        raise _unreachable(f"offsets of up to {float(offsets.abs().max()):.3g} leave a relative gap of {gap:.2g}")
    return groups.spread(offsets)


def _match_counts(groups: Groups, shares: Tensor, logits: Tensor) -> Tensor:
    counts = whole_counts(shares, len(logits))
    if 0 in counts:
        raise InvalidValue(
            "There are too few samples to count predicted classes in.",
            received=f"{len(logits)} samples, of which {groups.name(counts.index(0))} should have less than one",
            expected="at least one sample per class that gets an offset, better a hundred",
            remedy='give more held-out samples, or use frequencies="probabilities"',
        )
    peaks, _ = groups.peaks(logits)
    offsets, missed = match_counts(peaks, counts)
    if missed > max(1.0, _MISSED_ROWS * len(logits)):
        raise _unreachable(f"the nearest counts are off by {missed} of {len(logits)} samples: many of them tie")
    return offsets


def _require_positive_shares(groups: Groups, shares: Tensor) -> None:
    for index, share in enumerate(shares.tolist()):
        if share <= 0:
            raise InvalidValue(
                f"The prior of {groups.name(index)} is 0, which no finite offset gives.",
                received=share,
                expected="a share above 0 for each class with an offset, and for the rest",
                remedy="leave a class that cannot occur out of classes, or out of the logits",
            )


def _require_reachable(groups: Groups, shares: Tensor, logits: Tensor) -> None:
    """Raise where classes ruled out by -inf keep a group below, or above, its share whatever the offset."""
    if not torch.isneginf(logits).any():
        return
    possible = torch.zeros_like(shares)  # share of rows in which the group is not ruled out
    certain = torch.zeros_like(shares)  # share of rows in which all other groups are
    for rows in row_chunks(logits):
        finite = groups.peaks(logits[rows])[0] > -torch.inf  # (rows, groups)
        possible += finite.sum(dim=0) / len(logits)
        certain += (finite & (finite.sum(dim=1, keepdim=True) == 1)).sum(dim=0) / len(logits)
    for index, share in enumerate(shares.tolist()):
        low, high = float(certain[index]), float(possible[index])
        if not low - 1e-12 <= share <= high + 1e-12:
            raise _unreachable(
                f"a share of {share:.4g} for {groups.name(index)}, which lies between {low:.4g} and {high:.4g} "
                "because of logits of -inf"
            )


def _unreachable(received: str) -> InvalidValue:
    return InvalidValue(
        "No offsets make the predicted classes as frequent as the priors.",
        received=received,
        expected="priors that some offsets reach",
        remedy=f"check priors and logits ({_RULED_OUT}), or choose other classes",
    )
