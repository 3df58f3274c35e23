"""A comparison over seeds leaves each seed's difference, the interval's ends, and a sentence that claims no more."""

from __future__ import annotations

import math

import pytest

from limbeck.distillation.experiment import Experiment
from limbeck.recipes.comparing import (
    mean_by_seed,
    observe_difference,
    observe_gain,
    observe_gain_kept,
    observe_likeness,
    observed,
)
from limbeck.training import Runtime, SilentProgress


@pytest.fixture
def experiment(tmp_path):
    return Experiment.of_recipe(tmp_path, Runtime.resolve("cpu", "fp32"), SilentProgress())


def everything(experiment):
    return {(o.quantity, o.seed): o.value for o in experiment.results.observations}


def test_a_difference_is_observed_by_seed_and_its_interval_of_none(experiment):
    # Differences 1 and 3: mean 2, standard error 1; t(0.975, 1) = tan(0.475 pi) = 12.7.
    observe_difference(experiment, "warm", "errors_saved", {0: 10, 1: 20, 5: 3}, {0: 11, 1: 23}, what="Saved")
    half = math.tan(0.475 * math.pi)
    assert everything(experiment) == pytest.approx(
        {
            ("errors_saved", 0): 1.0,
            ("errors_saved", 1): 3.0,
            ("errors_saved_low_end", None): 2 - half,
            ("errors_saved_high_end", None): 2 + half,
        }
    )
    assert experiment.results.notes == [
        "Saved: 2 on average, 95 % interval −10.7 to 14.7, paired over 2 seeds: a difference is not shown."
    ]


def test_an_interval_without_zero_shows_a_difference_in_its_unit(experiment):
    first, second = {0: 0.9, 1: 0.9, 2: 0.9}, {0: 0.95, 1: 0.95, 2: 0.95}
    observe_difference(experiment, "soft", "kept", first, second, what="Kept", unit="fraction")
    assert experiment.results.notes[0].startswith("Kept: 5 % on average, 95 % interval 5 % to 5 %")
    assert experiment.results.notes[0].endswith("a difference is shown.")


def test_one_seed_allows_no_interval(experiment):
    observe_difference(experiment, "warm", "errors_saved", {0: 10}, {0: 12}, what="Saved")
    assert observe_likeness(experiment, "warm", "margin", [{0: 10}, {0: 12}], what="All") is None
    assert everything(experiment) == {("errors_saved", 0): 2.0}
    assert experiment.results.notes == [
        "Saved: 2. One seed allows no interval.",
        "All: the means lie at most 2 apart. One seed allows no interval.",
    ]


def test_likeness_is_one_number_of_no_seed(experiment):
    # Differences (4, 4), (1, 3), (5, 7): the farthest end is 6 + t(0.95, 1).
    groups = [{0: 0, 1: 0}, {0: 1, 1: 3}, {0: 5, 1: 7}]
    margin = observe_likeness(experiment, "wide", "margin", groups, what="T = 12, 16, 20")
    assert margin == pytest.approx(6 + math.tan(0.45 * math.pi))
    assert everything(experiment) == {("margin", None): margin}
    assert "at most 6 apart" in experiment.results.notes[0]


def test_means_are_over_the_seeds_that_all_have():
    assert mean_by_seed([{0: 1.0, 1: 5.0}, {0: 3.0, 2: 5.0}]) == {0: 2.0}


def test_what_was_not_observed_is_compared_with_nothing(experiment):
    observe_difference(experiment, "warm", "errors_saved", {0: 10}, {1: 12}, what="Saved")
    observe_difference(experiment, "warm", "errors_saved", mean_by_seed([]), {1: 12}, what="Saved")
    assert observe_likeness(experiment, "warm", "margin", [{0: 10, 1: 11}, {}], what="All") is None
    assert (experiment.results.observations, experiment.results.notes) == ([], [])


def test_observed_values_are_found_by_condition_and_seed(experiment):
    for condition, seed, quantity, value in (
        ("a", 0, "errors", 1),
        ("a", 1, "errors", 2),
        ("b", 0, "errors", 3),
        ("a", 0, "loss", 4),
        ("c", None, "errors", 5),
    ):
        experiment.results.observe(condition, seed, quantity, value, "count")
    assert observed(experiment, ["b", "c", "a", "d"], "errors") == [{0: 3.0}, {0: 1.0, 1: 2.0}]


def test_a_gain_is_of_what_was_evaluated_in_points(experiment):
    for seed, alone, taught in ((0, 0.5, 0.52), (1, 0.6, 0.61), (2, 0.7, 0.7)):
        experiment.results.observe("alone", seed, "test_accuracy", alone, "fraction")
        experiment.results.observe("taught", seed, "test_accuracy", taught, "fraction")
    observe_gain(experiment, "taught", "alone", what="Gained")
    gained = [o for o in experiment.results.observations if o.quantity == "test_accuracy_gained"]
    assert [(o.condition, o.seed, o.unit) for o in gained] == [("taught", seed, "points") for seed in (0, 1, 2)]
    assert [o.value for o in gained] == pytest.approx([2.0, 1.0, 0.0])
    assert {"test_accuracy_gained_low_end", "test_accuracy_gained_high_end"} <= {
        o.quantity for o in experiment.results.observations
    }
    assert experiment.results.notes[0].startswith("Gained: 1 points on average")


def test_what_was_not_evaluated_gains_nothing(experiment):
    experiment.results.observe("taught", 0, "test_accuracy", 0.5, "fraction")
    observe_gain(experiment, "taught", "alone", what="Gained")
    assert len(experiment.results.observations) == 1
    assert not experiment.results.notes


def test_the_share_of_a_gain_is_counted_by_seed_and_of_no_gain_there_is_none(experiment):
    for condition, by_seed in {"alone": (100, 110), "folded": (92, 104), "large": (85, 70)}.items():
        for seed, errors in enumerate(by_seed):
            experiment.results.observe(condition, seed, "test_errors", errors, "count")
    observe_gain_kept(experiment, "folded", "alone", teacher_errors=80)
    observe_gain_kept(experiment, "large", 90, teacher_errors=80)
    assert not experiment.results.notes
    observe_gain_kept(experiment, "alone", 90, teacher_errors=95)
    assert "alone makes 95 errors, no fewer" in experiment.results.notes[0]
    shares = {
        (o.condition, o.quantity, o.seed): o.value for o in experiment.results.observations if o.unit == "fraction"
    }
    assert shares == pytest.approx(
        {
            ("folded", "gain_kept", 0): 8 / 20,
            ("folded", "gain_kept", 1): 6 / 30,
            ("large", "gain_kept", 0): 5 / 10,
            ("large", "gain_kept", 1): 20 / 10,
        }
    )
