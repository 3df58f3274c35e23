"""The offsets with the fewest errors on labelled samples: what the paper tuned on its test set."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from limbeck.calibration.arguments import usable_logits
from limbeck.calibration.counting import room_between
from limbeck.calibration.groups import Groups, make_groups
from limbeck.calibration.matching import match_shares
from limbeck.metrics.rows import checked_labels


def best_class_bias(logits: Tensor, labels: Tensor, *, classes: Sequence[int] | Tensor, shared: bool = False) -> Tensor:
    r"""Offsets of the chosen classes with the fewest errors on labelled samples: an oracle, which peeks at the labels.

    .. math:: \arg\min_b \, \big|\{ i : \arg\max_c (z_{ic} + b_c) \ne y_i \}\big|,
        \qquad b_c = 0 \text{ for classes that are not chosen}

    Errors on the same samples afterwards are no estimate of anything: choose the offsets on a validation split, or show
    the result on the test set as an oracle beside the number that :func:`correct_class_bias` gives without labels.

    One offset, of one class or shared, is exact: errors change only where a sample's logit overtakes another, so that
    the values of all samples are sorted and every interval between them is counted. Of several best intervals the one
    nearest to 0 is taken, and in it a point near its end by 0, kept off it by 0.001 or half the interval; 0 itself
    where nothing has fewer errors. (Values at which two logits of a sample tie exactly are not candidates, 0 aside.)
    Several offsets are set one after the other, each exactly, until none can be improved alone, from four starts: 0,
    the best offset of a single class, the best shared one, and offsets for the labels' frequencies. That is a local
    optimum, not always the global, and never worse than one offset alone.

    Args:
        logits: z, shape (samples, classes), any float dtype; compared in float64.
        labels: y, shape (samples,), integers from 0 to classes - 1.
        classes: class numbers that get an offset.
        shared: one offset for all chosen classes.
    Returns:
        Offsets b in nats, float64, shape (classes,), on the device of the logits (the CPU where it has no float64).
    Raises:
        InvalidValue: classes that are unknown, repeated or none, or all of them with ``shared``; labels out of range;
            rows without a softmax.
        ShapeMismatch: logits that are not (samples, classes), or not one label per row.
    Example:
        >>> logits = torch.tensor([[2.0, 1.5], [4.0, 3.0], [4.0, 1.0]])
        >>> best_class_bias(logits, torch.tensor([1, 1, 0]), classes=[1])  # from 1 to 3 all are right
        tensor([0.0000, 1.0010], dtype=torch.float64)

    References:
        Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 3, which raises the bias of an unseen class by 3.5.
    """
    logits = usable_logits(logits)
    labels = checked_labels(labels, logits)
    num_classes = logits.shape[1]
    groups = make_groups(classes, num_classes=num_classes, shared=shared)
    none = logits.new_zeros(num_classes, dtype=torch.float64)
    chosen = [group[0] for group in groups.members[int(groups.has_rest) :]]
    if num_classes == 1:
        return none
    if shared or len(chosen) == 1:
        return _best_of_one(logits, labels, none, groups)[0]
    starts = [none, *_other_starts(logits, labels, none, groups, chosen)]
    found = [_improve_in_turn(logits, labels, start, chosen) for start in starts]
    return min(found, key=lambda pair: (pair[1], float(pair[0].abs().sum())))[0]  # fewest errors, then least moved


def _best_of_one(logits: Tensor, labels: Tensor, offsets: Tensor, groups: Groups) -> tuple[Tensor, int]:
    """Set the offset of group 1 to its best value while the others stay; return the offsets and their errors."""
    members = list(groups.members[1])
    without = offsets.clone()
    without[members] = 0.0
    peaks, predicted = groups.peaks(logits.double() + without)
    rest_wrong, own_wrong = (predicted != labels.unsqueeze(1)).long().unbind(dim=1)  # where that group wins
    lacks, order = (peaks[:, 0] - peaks[:, 1]).sort()  # group 1 wins where its offset is above
    rest_wrong, own_wrong = rest_wrong[order], own_wrong[order]
    start = torch.zeros_like(rest_wrong[:1])
    # Between edges j and j + 1, the first j samples in this order go to group 1.
    errors = torch.cat([start, own_wrong.cumsum(0)]) + rest_wrong.sum() - torch.cat([start, rest_wrong.cumsum(0)])
    edges = torch.cat([lacks.new_tensor([-math.inf]), lacks, lacks.new_tensor([math.inf])])
    low, high = edges[:-1], edges[1:]
    candidates = high > low
    fewest = int(errors[candidates].min())
    if _count_errors(logits, labels, without) <= fewest:
        return without, fewest
    distances = torch.maximum(low, -high).clamp(min=0).masked_fill(~candidates | (errors > fewest), math.inf)
    nearest = int(distances.argmin())
    without[members] = room_between(float(low[nearest]), float(high[nearest]), middle=False)
    return without, fewest


def _improve_in_turn(logits: Tensor, labels: Tensor, offsets: Tensor, chosen: list[int]) -> tuple[Tensor, int]:
    """Set one class's offset after the other until a whole turn brings no fewer errors."""
    num_classes = logits.shape[1]
    errors = _count_errors(logits, labels, offsets)
    before = errors + 1
    while errors < before:
        before = errors
        for number in chosen:
            alone = make_groups([number], num_classes=num_classes, shared=False)
            tried, fewest = _best_of_one(logits, labels, offsets, alone)
            if fewest < errors:
                offsets, errors = tried, fewest
    return offsets, errors


def _other_starts(logits: Tensor, labels: Tensor, none: Tensor, groups: Groups, chosen: list[int]) -> list[Tensor]:
    """Return the best single and shared offsets, and those for the labels' frequencies where there are such."""
    singles = [
        _best_of_one(logits, labels, none, make_groups([number], num_classes=logits.shape[1], shared=False))
        for number in chosen
    ]
    starts = [min(singles, key=lambda pair: pair[1])[0]]
    if groups.has_rest:
        together = make_groups(chosen, num_classes=logits.shape[1], shared=True)
        starts.append(_best_of_one(logits, labels, none, together)[0])
    frequencies = groups.totals(torch.bincount(labels, minlength=logits.shape[1]).double() / len(labels))
    if (frequencies > 0).all():
        matched, gap = match_shares(groups.log_masses(logits), frequencies, tolerance=1e-3, max_rounds=20)
        if gap < 1e-2:
            starts.append(groups.spread(matched))
    return starts


def _count_errors(logits: Tensor, labels: Tensor, offsets: Tensor) -> int:
    return int(((logits.double() + offsets).argmax(dim=1) != labels).sum())
