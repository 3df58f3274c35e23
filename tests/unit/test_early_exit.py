"""Which exit answers, how well and at what cost."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from limbeck.errors import InvalidValue, ShapeMismatch
from limbeck.metrics import choose_threshold, early_exit_curve, first_confident_exit
from limbeck.records import EarlyExitPoint

COSTS = [1.0, 2.5, 4.0]


def logits(count: int = 200) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return 3 * torch.randn(count, 3, 5, generator=generator) * torch.tensor([0.5, 1.0, 2.0])[:, None]


def labels(count: int = 200) -> torch.Tensor:
    return logits(count)[:, -1].argmax(dim=1) * (torch.arange(count) % 7 > 0)  # the last exit is mostly right


def slow_exit(rows: torch.Tensor, threshold: float) -> int:
    for number, row in enumerate(rows.tolist()):
        exponentials = np.exp(np.array(row) - max(row))
        if exponentials.max() / exponentials.sum() >= threshold:
            return number
    return len(rows) - 1


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.8, 0.99, 1.0])
def test_the_first_exit_that_is_sure_enough_answers(threshold):
    assert first_confident_exit(logits(), threshold=threshold).tolist() == [
        slow_exit(rows, threshold) for rows in logits()
    ]


def test_the_ends_of_the_scale():
    assert first_confident_exit(logits(), threshold=0.0).unique().tolist() == [0]
    assert first_confident_exit(logits(), threshold=1.0).unique().tolist() == [2]


def test_accuracy_cost_and_shares_written_out():
    (point,) = early_exit_curve(logits(), labels(), costs=COSTS, thresholds=[0.8])
    exits = [slow_exit(rows, 0.8) for rows in logits()]
    right = [int(z[e].argmax() == y) for z, e, y in zip(logits(), exits, labels(), strict=True)]
    assert point.accuracy == pytest.approx(np.mean(right))
    assert point.cost == pytest.approx(np.mean([COSTS[e] for e in exits]))
    assert point.shares == pytest.approx([exits.count(k) / 200 for k in range(3)])


def test_cost_grows_with_the_threshold():
    points = early_exit_curve(logits(), labels(), costs=COSTS, thresholds=np.linspace(0, 1, 11).tolist())
    costs = [point.cost for point in points]
    assert costs == sorted(costs)
    assert (costs[0], costs[-1]) == (COSTS[0], COSTS[-1])


def test_the_cheapest_point_that_is_accurate_enough():
    points = [
        EarlyExitPoint(0.5, 0.90, 1.0, (1.0,)), EarlyExitPoint(0.7, 0.94, 2.0, (1.0,)),
        EarlyExitPoint(0.8, 0.95, 2.0, (1.0,)), EarlyExitPoint(0.9, 0.96, 3.0, (1.0,)),
    ]  # fmt: skip
    assert choose_threshold(points, least_accuracy=0.93) == points[2]
    assert choose_threshold(points, least_accuracy=0.0) == points[0]
    assert choose_threshold(points, least_accuracy=0.97) is None


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_outside_0_to_1(threshold):
    with pytest.raises(InvalidValue, match="threshold"):
        first_confident_exit(logits(), threshold=threshold)
    with pytest.raises(InvalidValue, match="least_accuracy"):
        choose_threshold([], least_accuracy=threshold)


def test_what_does_not_fit():
    with pytest.raises(ShapeMismatch, match="Every exit"):
        first_confident_exit(torch.zeros(4, 3), threshold=0.5)
    with pytest.raises(ShapeMismatch, match="2 costs"):
        early_exit_curve(logits(), labels(), costs=[1.0, 2.0], thresholds=[0.5])
    with pytest.raises(ShapeMismatch, match="do not fit"):
        early_exit_curve(logits(), labels(100), costs=COSTS, thresholds=[0.5])
    with pytest.raises(InvalidValue, match="cannot cost less"):
        early_exit_curve(logits(), labels(), costs=[1.0, 3.0, 2.0], thresholds=[0.5])
