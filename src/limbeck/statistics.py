"""Means, spreads and paired differences over seeds, and the plain sentence that they allow."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from limbeck.errors import InvalidValue

__all__ = [
    "PairedDifference",
    "Summary",
    "common_verdict",
    "equivalence_bound",
    "mean_interval",
    "paired_difference",
    "summarise",
    "verdict",
]

Seed = TypeVar("Seed")


@dataclass(frozen=True)
class Summary:
    """Mean and spread of one quantity over seeds."""

    mean: float
    spread: float | None  # sample standard deviation (n - 1); None for a single value
    count: int

    def format(self, *, digits: int = 2) -> str:
        """Return "mean ± spread", or the mean alone for a single value.

        Example:
            >>> Summary(mean=74.0, spread=2.5, count=3).format(digits=1)
            '74.0 ± 2.5'
        """
        mean = f"{self.mean:.{digits}f}"
        return mean if self.spread is None else f"{mean} ± {self.spread:.{digits}f}"


@dataclass(frozen=True)
class PairedDifference:
    """Mean of (second - first) over the seeds that both have, with a two-sided Student t interval."""

    mean: float
    low: float | None  # None where fewer than two pairs
    high: float | None
    count: int
    confidence: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies wholly on one side of zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def summarise(values: Sequence[float]) -> Summary:
    """Return mean, sample standard deviation and count.

    Raises:
        InvalidValue: no values.
    Example:
        >>> summarise([1.0, 2.0, 3.0])
        Summary(mean=2.0, spread=1.0, count=3)
    """
    if not values:
        raise InvalidValue("There is nothing to summarise.", received="no values", expected="at least one")
    spread = statistics.stdev(values) if len(values) > 1 else None
    return Summary(mean=statistics.fmean(values), spread=spread, count=len(values))


def mean_interval(values: Sequence[float], *, confidence: float = 0.95) -> tuple[float, float] | None:
    r"""Return the two-sided Student t interval of a mean; None for a single value.

    .. math:: \bar x \pm t_{(1 + c) / 2,\, n - 1}\, s / \sqrt n

    Raises:
        InvalidValue: no values, or a confidence that is no fraction below 1.
    Example:
        >>> [round(end, 2) for end in mean_interval([1.0, 2.0, 3.0])]
        [-0.48, 4.48]
    """
    if not 0 < confidence < 1:
        raise InvalidValue("confidence must lie between 0 and 1.", received=confidence, expected="0 < confidence < 1")
    summary = summarise(values)
    if summary.spread is None:
        return None
    from scipy.special import stdtrit  # slow to import and only needed here; what scipy.stats.t.ppf calls

    half = float(stdtrit(summary.count - 1, (1 + confidence) / 2)) * summary.spread / math.sqrt(summary.count)
    return summary.mean - half, summary.mean + half


def paired_difference(
    first: Mapping[Seed, float], second: Mapping[Seed, float], *, confidence: float = 0.95
) -> PairedDifference:
    r"""Compare two networks seed by seed.

    .. math:: \bar d \pm t_{(1 + c) / 2,\, n - 1}\, s_d / \sqrt n, \qquad d_s = second_s - first_s

    Args:
        first: value by seed, e.g. the baseline's errors.
        second: value by seed, e.g. the distilled student's.
        confidence: c, in (0, 1).
    Raises:
        InvalidValue: no seed in both, or a confidence outside (0, 1).
    Example:
        >>> difference = paired_difference({0: 10.0, 1: 12.0, 2: 11.0}, {0: 8.0, 1: 9.0, 2: 10.0})
        >>> round(difference.mean, 2), round(difference.low, 2), round(difference.high, 2)
        (-2.0, -4.48, 0.48)
    """
    differences = [second[seed] - first[seed] for seed in first if seed in second]
    low, high = mean_interval(differences, confidence=confidence) or (None, None)
    return PairedDifference(summarise(differences).mean, low, high, len(differences), confidence)


def equivalence_bound(groups: Sequence[Mapping[Seed, float]], *, confidence: float = 0.90) -> float | None:
    r"""Return the smallest margin within which all groups are shown to be alike, paired by seed.

    .. math:: \max_{i < j} \max(|low_{ij}|, |high_{ij}|)

    with the interval of :func:`paired_difference` for each two groups. At a confidence of 90 % a margin at least this
    large passes two one-sided tests at 5 % for every pair, and so for all of them together: to be alike, every pair
    must pass. Other than an interval that merely includes zero, this tells few seeds from no difference.

    Args:
        groups: value by seed, at least two groups.
        confidence: of each interval, in (0, 1).
    Returns:
        The margin, in the unit of the values; None where two groups share but one seed.
    Raises:
        InvalidValue: fewer than two groups, or what ``paired_difference`` refuses.
    Example:
        >>> round(equivalence_bound([{0: 10.0, 1: 12.0, 2: 11.0}, {0: 11.0, 1: 12.0, 2: 12.0}]), 2)
        1.64

    References:
        Schuirmann 1987 (two one-sided tests); Berger 1982 (intersection-union tests).
    """
    if len(groups) < 2:
        raise InvalidValue("Only two groups and more can be alike.", received=len(groups), expected="at least 2")
    bounds: list[float] = []
    for first, second in itertools.combinations(groups, 2):
        difference = paired_difference(first, second, confidence=confidence)
        if difference.low is None or difference.high is None:
            return None
        bounds.append(max(abs(difference.low), abs(difference.high)))
    return max(bounds)


def verdict(difference: PairedDifference, *, effect: str = "the teacher") -> str:
    """Return the plain sentence for a difference in *errors* (with the effect - without it; fewer is better).

    Example:
        >>> verdict(PairedDifference(mean=-5.0, low=-7.0, high=-3.0, count=5, confidence=0.95))
        'The teacher helped.'
    """
    if difference.count < 2:
        return f"One seed cannot tell whether {effect} helped."
    subject = effect[:1].upper() + effect[1:]
    if not difference.excludes_zero:
        return f"{subject} did not show a difference."
    return f"{subject} helped." if difference.mean < 0 else f"{subject} hurt."


def common_verdict(differences: Sequence[PairedDifference], *, effect: str) -> str:
    """Return the plain sentence for what one effect did to several networks, in *errors*; see :func:`verdict`.

    Raises:
        InvalidValue: no differences.
    Example:
        >>> better = PairedDifference(mean=-5.0, low=-7.0, high=-3.0, count=5, confidence=0.95)
        >>> common_verdict([better, PairedDifference(0.0, -1.0, 1.0, 5, 0.95)], effect="its peers")
        'Its peers helped 1 of 2 networks.'
    """
    if not differences:
        raise InvalidValue("There is nothing to judge.", received="no differences", expected="at least one")
    if len(differences) == 1 or min(difference.count for difference in differences) < 2:
        return verdict(min(differences, key=lambda difference: difference.count), effect=effect)
    clear = [difference for difference in differences if difference.excludes_zero]
    helped = sum(difference.mean < 0 for difference in clear)
    if not clear:
        return verdict(differences[0], effect=effect)
    subject, hurt = effect[:1].upper() + effect[1:], len(clear) - helped
    if not helped:
        return f"{subject} hurt {hurt} of {len(differences)} networks."
    also = f" and hurt {hurt}" if hurt else ""
    return f"{subject} helped {helped} of {len(differences)} networks{also}."
