"""Exits' weights in a recipe: a weight scales the exits alone, and validation chooses among several."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from limbeck.data import Views
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.predictions import ExitPredictions
from limbeck.objectives import SelfDistillation
from limbeck.recipes import exit_weights
from limbeck.recipes.exit_weights import choose_weight, weighted
from limbeck.training import Runtime, SilentProgress


@pytest.fixture
def experiment(tmp_path):
    return Experiment.of_recipe(tmp_path / "networks", Runtime.resolve("cpu", "fp32"), SilentProgress())


def predictions_with(num_right, *, num_samples=4):
    """Return predictions whose first exit is always right, and whose head is right so many times."""
    labels = torch.zeros(num_samples, dtype=torch.int64)
    exit_logits = torch.tensor([1.0, 0.0]).expand(num_samples, 2)
    head = exit_logits.clone()
    head[num_right:] = torch.tensor([0.0, 1.0])
    return ExitPredictions(torch.stack([exit_logits, head], dim=1), labels, ("a", "b"), ("layer1", "head"))


def test_a_weight_leaves_temperature_and_proportions_as_they_are():
    scaled = weighted(SelfDistillation(temperature=2.0, hard_weight=0.8, soft_weight=0.4, hint_weight=0.2), 0.5)
    assert scaled == SelfDistillation(temperature=2.0, hard_weight=0.4, soft_weight=0.2, hint_weight=0.1)


def test_the_weight_whose_heads_are_right_most_often_on_validation_is_taken_and_told(experiment, monkeypatch):
    num_right = {"a": 2, "b": 2, "c": 4, "d": 1, "e": 3, "f": 1}
    validation = object()
    experiment.opened = SimpleNamespace(validation=validation)

    def predict_exits(context, network, samples, *, views):
        assert samples is validation
        return predictions_with(num_right[network])

    monkeypatch.setattr(exit_weights, "predict_exits", predict_exits)
    tried = {0.1: ["a", "b"], 0.3: ["c", "d"], 1.0: ["e", "f"]}  # means of 2, 2.5 and 2 right
    assert choose_weight(experiment, "self", tried, views=Views()) == 0.3
    told = experiment.results.observations[-1]
    assert (told.condition, told.seed, told.quantity, told.value) == ("self", None, "exit_weight", 0.3)
    assert "50.00 % at 0.1, 62.50 % at 0.3, 50.00 % at 1; 0.3 is taken" in experiment.results.notes[-1]


def test_one_weight_needs_no_choice(experiment):
    assert choose_weight(experiment, "self", {1.0: []}, views=Views()) == 1.0
