"""Means, spreads and paired intervals agree with hand values and scipy; sentences say no more than the seeds allow."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.errors import InvalidValue
from limbeck.statistics import PairedDifference, Summary, equivalence_bound, paired_difference, summarise, verdict

VALUES = st.floats(min_value=-1e6, max_value=1e6, allow_nan=False)


def test_summary_of_hand_values():
    # Mean 5; squared distances 9, 1, 1, 1, 0, 0, 4, 16 sum to 32; sample variance 32 / 7.
    summary = summarise([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0])
    assert summary.mean == 5.0
    assert summary.spread == pytest.approx(math.sqrt(32 / 7))
    assert summary.count == 8


def test_a_single_value_has_no_spread():
    assert summarise([3.0]) == Summary(3.0, None, 1)
    assert summarise([3.0]).format(digits=0) == "3"


def test_equal_values_have_a_spread_of_zero():
    assert summarise([2.0, 2.0]).spread == 0.0


def test_nothing_cannot_be_summarised():
    with pytest.raises(InvalidValue, match="nothing to summarise"):
        summarise([])


@given(st.lists(st.tuples(VALUES, VALUES), min_size=2, max_size=8), st.sampled_from([0.8, 0.95, 0.99]))
@settings(max_examples=40, deadline=None)
def test_interval_is_that_of_scipys_paired_t_test(pairs, confidence):
    import numpy as np
    from scipy.stats import ttest_rel

    first, second = dict(enumerate(a for a, _ in pairs)), dict(enumerate(b for _, b in pairs))
    differences = np.array([b - a for a, b in pairs])
    if differences.std() < 1e-6 * max(1.0, np.abs(differences).max()):
        return  # scipy has no interval for constant differences
    interval = ttest_rel(list(second.values()), list(first.values())).confidence_interval(confidence)
    ours = paired_difference(first, second, confidence=confidence)
    assert ours.mean == pytest.approx(differences.mean(), rel=1e-9, abs=1e-6)
    assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high), rel=1e-7, abs=1e-5)


def test_interval_of_two_pairs_by_hand():
    # Differences -1 and -3: mean -2, s = sqrt 2, standard error 1; t(0.975, 1) = tan(0.475 pi) = 12.7062.
    difference = paired_difference({0: 5.0, 1: 6.0}, {0: 4.0, 1: 3.0})
    assert difference.low == pytest.approx(-2 - math.tan(0.475 * math.pi))
    assert difference.high == pytest.approx(-2 + math.tan(0.475 * math.pi))
    assert not difference.excludes_zero


def test_only_seeds_that_both_have_are_paired_whatever_their_order():
    difference = paired_difference({3: 1.0, 1: 10.0, 2: 20.0}, {2: 25.0, 4: 0.0, 1: 13.0})
    assert (difference.mean, difference.count) == (4.0, 2)


def test_one_pair_has_a_mean_but_no_interval():
    difference = paired_difference({0: 5.0}, {0: 3.0})
    assert (difference.mean, difference.low, difference.high) == (-2.0, None, None)
    assert not difference.excludes_zero


def test_no_common_seed_is_refused():
    with pytest.raises(InvalidValue):
        paired_difference({0: 5.0}, {1: 3.0})


def test_groups_are_alike_within_the_farthest_end_of_their_intervals():
    # Differences (1, 3), (5, 7), (4, 4): means 2, 6, 4, standard errors 1, 1, 0; t(0.95, 1) = tan(0.45 pi).
    groups = [{0: 0.0, 1: 0.0}, {0: 1.0, 1: 3.0}, {0: 5.0, 1: 7.0}]
    assert equivalence_bound(groups) == pytest.approx(6 + math.tan(0.45 * math.pi))
    assert equivalence_bound(groups[::-1]) == pytest.approx(6 + math.tan(0.45 * math.pi))
    assert equivalence_bound(groups[1:]) == pytest.approx(4)


@given(st.lists(st.tuples(*[st.integers(-100, 100)] * 3), min_size=2, max_size=6))
@settings(max_examples=30, deadline=None)
def test_a_margin_passes_two_one_sided_tests_of_scipy_and_a_smaller_one_fails(rows):
    from scipy.stats import ttest_rel

    columns = list(zip(*rows, strict=True))
    pairs = [(columns[i], columns[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    if any(statistics.pstdev([b - a for a, b in zip(*pair, strict=True)]) == 0 for pair in pairs):
        return  # scipy has no p-value for constant differences
    margin = equivalence_bound([dict(enumerate(column)) for column in columns])

    def largest_p(delta):
        below = [ttest_rel([b - delta for b in second], first, alternative="less").pvalue for first, second in pairs]
        above = [ttest_rel([b + delta for b in second], first, alternative="greater").pvalue for first, second in pairs]
        return max(below + above)

    assert largest_p(1.001 * margin) < 0.05 < largest_p(0.999 * margin)


def test_one_seed_shows_no_likeness_and_one_group_is_alike_to_nothing():
    assert equivalence_bound([{0: 1.0}, {0: 1.0}]) is None
    with pytest.raises(InvalidValue, match="two groups"):
        equivalence_bound([{0: 1.0, 1: 2.0}])


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0, -0.1, math.nan])
def test_confidence_outside_its_range_is_refused(confidence):
    with pytest.raises(InvalidValue, match="confidence"):
        paired_difference({0: 5.0}, {0: 3.0}, confidence=confidence)


@pytest.mark.parametrize(
    ("low", "high", "count", "sentence"),
    [
        (-9.0, -1.0, 5, "The teacher helped."),
        (1.0, 9.0, 5, "The teacher hurt."),
        (-9.0, 1.0, 5, "The teacher did not show a difference."),
        (-9.0, 0.0, 5, "The teacher did not show a difference."),
        (None, None, 1, "One seed cannot tell whether the teacher helped."),
    ],
)
def test_verdict(low, high, count, sentence):
    mean = (low + high) / 2 if low is not None else -50.0
    assert verdict(PairedDifference(mean, low, high, count, 0.95)) == sentence
