"""Accuracy among the specialists' classes and change by coverage: against counts by hand and a slow loop."""

from __future__ import annotations

import pytest
import torch

from limbeck.errors import InvalidValue, ShapeMismatch, UnknownName
from limbeck.metrics import CoverageChange, accuracy, change_by_coverage, conditional_accuracy

SETS = [[0, 1], [1, 2]]  # class 3 is in none
LOGITS = torch.tensor(
    [
        [5.0, 1.0, 2.0, 9.0],  # class 0: 3 is ruled out, 0 is left; right everywhere
        [4.0, 3.0, 1.0, 0.0],  # class 1: 0 in the union and in {0, 1}, but 1 in {1, 2}
        [9.0, 1.0, 2.0, 0.0],  # class 2: 0 in the union, but 2 in {1, 2}
        [0.0, 1.0, 2.0, 9.0],  # class 3: of no specialist
    ]
)
LABELS = torch.tensor([0, 1, 2, 3])


def test_the_union_keeps_one_answer_for_every_sample_of_its_classes():
    assert conditional_accuracy(LOGITS, LABELS, SETS) == 1 / 3


def test_each_set_is_a_task_of_its_own_and_a_sample_counts_in_every_one():
    # {0, 1}: 0 right, 1 wrong; {1, 2}: 1 right, 2 right.
    assert conditional_accuracy(LOGITS, LABELS, SETS, reading="each_set") == 3 / 4


def test_both_readings_are_the_slow_loops_and_agree_for_one_set():
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(200, 9, generator=generator), torch.randint(9, (200,), generator=generator)
    sets = [[0, 3, 5], [5, 7], [8, 0, 1]]
    right = {"union": 0, "each_set": 0}
    total = {"union": 0, "each_set": 0}
    tasks = {"union": [sorted({one for members in sets for one in members})], "each_set": sets}
    for reading, groups in tasks.items():
        for members in groups:
            for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
                if label in members:
                    total[reading] += 1
                    right[reading] += max(members, key=lambda one: row[one]) == label
        assert conditional_accuracy(logits, labels, sets, reading=reading) == right[reading] / total[reading]
    alone = [conditional_accuracy(logits, labels, sets[:1], reading=reading) for reading in tasks]
    assert alone[0] == alone[1]


def test_sets_that_hold_all_classes_leave_the_plain_accuracy():
    assert conditional_accuracy(LOGITS, LABELS, [[0, 1], [2, 3]]) == accuracy(LOGITS, LABELS)


def test_change_is_counted_by_how_many_know_the_true_class():
    before = torch.eye(4)[[0, 0, 1, 3]]  # answers 0, 0, 1, 3
    after = torch.eye(4)[[1, 1, 2, 0]]  # answers 1, 1, 2, 0
    labels = torch.tensor([0, 1, 2, 3])
    assert change_by_coverage(before, after, labels, SETS) == [
        CoverageChange(0, 1, 1, 0),  # class 3 was right
        CoverageChange(1, 2, 1, 1),  # class 0 was right, class 2 is
        CoverageChange(2, 1, 0, 1),  # class 1 is right now
    ]
    none, one, two = change_by_coverage(before, after, labels, SETS)
    assert (none.change, one.change, two.change) == (-1, 0, 1)
    assert (none.relative_change, one.relative_change, two.relative_change) == (-1.0, 0.0, None)


def test_large_numbers_of_specialists_are_counted_together_where_it_is_asked():
    groups = change_by_coverage(LOGITS, LOGITS, LABELS, SETS, most=1)
    assert [(group.num_specialists, group.num_samples, group.change) for group in groups] == [(0, 1, 0), (1, 3, 0)]


@pytest.mark.parametrize("sets", [[], [[]], [[0], []], [[4]], [[-1]]])
def test_sets_that_cannot_be_are_refused(sets):
    for measure in (conditional_accuracy, lambda z, y, s: change_by_coverage(z, z, y, s)):
        with pytest.raises(InvalidValue, match="class set"):
            measure(LOGITS, LABELS, sets)


def test_other_mistakes():
    with pytest.raises(UnknownName, match="each_set"):
        conditional_accuracy(LOGITS, LABELS, SETS, reading="each")
    with pytest.raises(InvalidValue, match="No sample"):
        conditional_accuracy(LOGITS[3:], LABELS[3:], SETS)
    with pytest.raises(ShapeMismatch, match="same samples and classes"):
        change_by_coverage(LOGITS, LOGITS[:2], LABELS, SETS)
    with pytest.raises(InvalidValue, match="most"):
        change_by_coverage(LOGITS, LOGITS, LABELS, SETS, most=0)
