"""learning_rate_at and momentum_at follow their formulas; a TrainConfig refuses what cannot be trained with."""

from __future__ import annotations

import itertools
import math

import pytest

from limbeck.errors import InvalidValue, UnknownName
from limbeck.training import TrainConfig
from limbeck.training.schedule import learning_rate_at, momentum_at


def test_cosine_falls_from_the_peak_to_almost_zero():
    recipe = TrainConfig(learning_rate=0.2, schedule="cosine")
    rates = [learning_rate_at(recipe, step, 100) for step in range(100)]
    assert rates[0] == 0.2
    assert rates[50] == pytest.approx(0.1)
    assert rates[99] == pytest.approx(0.2 * (1 + math.cos(math.pi * 0.99)) / 2)
    assert all(later < earlier for earlier, later in itertools.pairwise(rates))


def test_warmup_rises_linearly_to_the_peak_and_never_starts_at_zero():
    recipe = TrainConfig(learning_rate=1.0, schedule="constant", warmup_fraction=0.1)
    rates = [learning_rate_at(recipe, step, 100) for step in range(12)]
    assert rates[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert rates[10:] == [1.0, 1.0]


def test_step_schedule_multiplies_at_each_milestone():
    recipe = TrainConfig(learning_rate=1.0, schedule="step", step_milestones=(0.5, 0.75), step_factor=0.1)
    rates = [learning_rate_at(recipe, step, 8) for step in range(8)]
    assert rates == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])


def test_one_cycle_peaks_once_and_ends_far_below_its_start():
    recipe = TrainConfig(learning_rate=1.0, schedule="one_cycle")
    rates = [learning_rate_at(recipe, step, 1000) for step in range(1000)]
    assert max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) == 300
    assert rates[0] == pytest.approx(1 / 25)
    assert rates[-1] < 1e-3


def test_exponential_falls_by_one_factor_a_step_to_what_is_left_in_the_end():
    recipe = TrainConfig(learning_rate=2.0, schedule="exponential", exponential_end=0.01)
    rates = [learning_rate_at(recipe, step, 100) for step in range(100)]
    assert rates[0] == 2.0
    assert rates[50] == pytest.approx(0.2)
    factors = [later / earlier for earlier, later in itertools.pairwise(rates)]
    assert factors == pytest.approx([0.01**0.01] * 99)


def test_the_schedule_of_the_first_dropout_networks():
    # arXiv:1207.0580, appendix A.1: rate 10 x 0.998^epoch, momentum 0.5 to 0.99 in 500 of 3,000 epochs, times 1 - m.
    recipe = TrainConfig(
        learning_rate=10 * (1 - 0.99), momentum=0.99, momentum_start=0.5, momentum_rise_fraction=500 / 3000,
        schedule="exponential", exponential_end=0.998**3000, nesterov=False,
    )  # fmt: skip
    for epoch in (0, 100, 499, 500, 2999):
        momentum = min(0.99, 0.5 + 0.49 * epoch / 500)
        assert momentum_at(recipe, epoch, 3000) == pytest.approx(momentum)
        assert learning_rate_at(recipe, epoch, 3000) == pytest.approx(10 * 0.998**epoch * (1 - momentum))


def test_without_sgd_the_momentum_leaves_the_rate_alone():
    recipe = TrainConfig(optimiser="adamw", learning_rate=0.1, schedule="constant", momentum=0.99, momentum_start=0.5)
    assert learning_rate_at(recipe, 0, 100) == 0.1


@pytest.mark.parametrize(
    "settings",
    [
        {"num_epochs": 0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"learning_rate": math.nan},
        {"weight_decay": -1.0},
        {"momentum": 1.0},
        {"momentum_start": 1.0},
        {"momentum_rise_fraction": 1.1},
        {"exponential_end": 0.0},
        {"momentum": 0.9, "momentum_start": 0.0, "nesterov": True},
        {"ema_decay": 1.0},
        {"clip_norm": 0.0},
        {"warmup_fraction": 1.0},
        {"patience_epochs": 0},
        {"batch_size": 2, "accumulation_steps": 3},
        {"momentum": 0.0, "nesterov": True},
    ],
)
def test_settings_outside_their_range_are_refused(settings):
    with pytest.raises(InvalidValue):
        TrainConfig(**settings)


def test_unknown_schedule_lists_the_near_one():
    with pytest.raises(UnknownName, match="did you mean cosine"):
        TrainConfig(schedule="cosin")
