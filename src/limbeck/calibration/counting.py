"""Offsets that bring the counts of predicted classes to given shares."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from limbeck.calibration.matching import match_shares

_COOLING = 0.25  # of the temperature, which starts at the spread of the scores
_COOLINGS = 12  # down to 2e-7 of it
_ROOM = 1e-3  # kept between an offset and the nearest value at which a prediction changes


def whole_counts(shares: Tensor, num_rows: int) -> list[int]:
    """Round shares of the rows to whole numbers of the same sum: the largest remainders are rounded up.

    Example:
        >>> whole_counts(torch.tensor([0.5, 0.25, 0.25]), 7)
        [3, 2, 2]
    """
    exact = [share * num_rows for share in shares.tolist()]
    counts = [math.floor(value) for value in exact]
    by_remainder = sorted(range(len(exact)), key=lambda index: counts[index] - exact[index])
    for index in by_remainder[: num_rows - sum(counts)]:
        counts[index] += 1
    return counts


def count_peaks(peaks: Tensor, offsets: Tensor) -> Tensor:
    """Count the rows in which each group has the largest score, shape (groups,)."""
    return torch.bincount((peaks.double() + offsets).argmax(dim=1), minlength=peaks.shape[1])


def match_counts(peaks: Tensor, counts: list[int]) -> tuple[Tensor, int]:
    """Find b such that group g has the largest score s + b in ``counts[g]`` rows, as nearly as ties allow.

    Args:
        peaks: s, shape (rows, groups), any float dtype.
        counts: whole numbers above 0 whose sum is the number of rows.
    Returns:
        b, float64, shape (groups,), up to a constant, and by how many rows the count that misses most is off.
    """
    wanted = torch.tensor(counts, device=peaks.device)
    offsets = _split_in_two(peaks, counts[1]) if len(counts) == 2 else _cool_down(peaks, wanted)
    return offsets, _miss(peaks, offsets, wanted)


def room_between(low: float, high: float, *, middle: bool) -> float:
    """Return a value inside an open interval: its middle where that exists and is asked for, else near the end by 0."""
    if low < 0 < high and not middle:
        return 0.0
    if math.isinf(low) and math.isinf(high):
        return 0.0
    if math.isinf(high):
        return low + _ROOM
    if math.isinf(low):
        return high - _ROOM
    if middle:
        return (low + high) / 2
    room = min(_ROOM, (high - low) / 2)
    return low + room if low >= 0 else high - room


def _split_in_two(peaks: Tensor, count: int) -> Tensor:
    """Raise group 1 over group 0 in ``count`` rows: those where it lacks least."""
    lacks = (peaks[:, 0].double() - peaks[:, 1].double()).sort().values
    edges = torch.cat([lacks.new_tensor([-math.inf]), lacks, lacks.new_tensor([math.inf])])
    possible = (edges[1:] > edges[:-1]).nonzero().squeeze(1)  # numbers of rows that some offset gives to group 1
    best = int(possible[(possible - count).abs().argmin()])
    return edges.new_tensor([0.0, room_between(float(edges[best]), float(edges[best + 1]), middle=True)])


def _cool_down(peaks: Tensor, wanted: Tensor) -> Tensor:
    """Match mean probabilities at ever lower temperatures, until the counts of the largest are right.

    As T falls softmax becomes the largest score, and what was a convex problem of smooth curves becomes the linear
    programme whose dual prices are the offsets: no kink on the way can hold the search up. A last sample in a class
    may need a temperature at which nothing else changes any more; that is tried once.
    """
    shares = wanted.double() / len(peaks)
    spread = max(float(peaks[peaks.isfinite()].double().std()), torch.finfo(torch.float32).tiny)
    offsets = best = torch.zeros_like(shares)
    best_miss = _miss(peaks, offsets, wanted)
    for cooling in range(_COOLINGS):
        if best_miss == 0:
            break
        temperature = spread * _COOLING**cooling
        offsets, _ = match_shares(
            peaks, shares, temperature=temperature, start=offsets, tolerance=0.1 / len(peaks), max_rounds=10
        )
        before, miss = best_miss, _miss(peaks, offsets, wanted)
        if miss < best_miss:
            best, best_miss = offsets, miss
        elif before <= 1:
            break
    return best


def _miss(peaks: Tensor, offsets: Tensor, wanted: Tensor) -> int:
    return int((count_peaks(peaks, offsets) - wanted).abs().max())
