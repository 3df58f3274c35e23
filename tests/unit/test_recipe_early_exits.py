"""Early answers in a recipe: the threshold comes from validation alone, costs are found again, figures name both."""

from __future__ import annotations

import json

import pytest
import torch

from limbeck.data import Samples, Views
from limbeck.distillation import costs as costs_module
from limbeck.distillation.costs import cached_exit_costs
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.predictions import ExitPredictions
from limbeck.distillation.trained import TrainedNetwork
from limbeck.errors import ModelError
from limbeck.metrics import ExitCost
from limbeck.models import add_exits, build, exit_network
from limbeck.recipes.data import open_data
from limbeck.recipes.early_exits import EarlyExits
from limbeck.recipes.evaluation import find_exit_costs
from limbeck.recipes.learning import draw_learning
from limbeck.records import EpochRecord
from limbeck.training import Runtime, SilentProgress

CPU = Runtime.resolve("cpu", "fp32")
EXITS = EarlyExits(thresholds=(0.6, 0.9, 1.0), costs=(0.5, 1.25))


@pytest.fixture
def experiment(tmp_path):
    return Experiment.of_recipe(tmp_path / "networks", CPU, SilentProgress())


def evaluation_of(confidences, right):
    """Return an found of two classes: each sample's first exit has this confidence and is right or not; the head is."""
    p = torch.tensor(confidences)
    first = torch.stack([p, 1 - p], dim=1).log()
    labels = torch.tensor([0 if is_right else 1 for is_right in right])
    head = torch.nn.functional.one_hot(labels, 2) * 9.0
    return ExitPredictions(torch.stack([first, head], dim=1), labels, ("a", "b"), ("layer1", "head"))


def test_costs_are_shares_of_the_plain_network():
    on_the_way = [ExitCost("layer1", 30, 0.1, 1), ExitCost("head", 75, 0.2, 1)]
    alone = [ExitCost("layer1", 30, 0.1, 1), ExitCost("head", 60, 0.1, 1)]
    assert EarlyExits.of([1.0, 0.6, 0.9], on_the_way, alone) == EXITS


def test_the_threshold_is_the_cheapest_that_loses_no_more_than_is_allowed():
    # At 0.6 all leave and one in four is wrong; at 0.9 two leave, rightly; at 1.0 none does.
    found = evaluation_of([0.95, 0.92, 0.7, 0.65], [True, True, True, False])
    points = EXITS.curve(found)
    assert [point.accuracy for point in points] == [0.75, 1.0, 1.0]
    assert [point.cost for point in points] == pytest.approx([0.5, 0.875, 1.25])
    assert EXITS.chosen(found, loss_allowed=0.0) == 0.9
    assert EXITS.chosen(found, loss_allowed=0.25) == 0.6


def test_where_every_threshold_loses_too_much_the_highest_is_taken():
    found = evaluation_of([0.95, 0.65], [False, False])
    assert EarlyExits((0.5, 0.6), (0.5, 1.25)).chosen(found, loss_allowed=0.0) == 0.6


def test_every_threshold_is_recorded_and_drawn_at_its_mean_cost(experiment):
    for seed, confidences in ((0, [0.95, 0.92, 0.7, 0.65]), (1, [0.95, 0.7, 0.7, 0.65])):
        EXITS.observe(experiment, "self", seed, evaluation_of(confidences, [True, True, True, False]), chosen=0.9)
    found = {(o.condition, o.seed, o.quantity): o.value for o in experiment.results.observations}
    assert found["self_at_0.9", 0, "test_cost"] == found["self_early", 0, "test_cost"] == 0.875
    assert found["self_early", 1, "threshold"] == 0.9
    EXITS.draw(experiment, {"self": "self-distillation"})
    (figure,) = experiment.results.figures
    assert figure.places == ["50", "96.88", "125"]  # the means of 0.875 and 1.0625 in the middle
    assert figure.series[0].conditions == ["self_at_0.6", "self_at_0.9", "self_at_1"]


def test_costs_are_measured_once_for_an_architecture(tmp_path, monkeypatch):
    def network(seed, width=1.0):
        trunk = build(f"resnet:depth=8,width={width}", input_shape=(3, 16, 16), num_classes=10, seed=seed)
        return add_exits(trunk, ["layer1"], input_shape=(3, 16, 16), num_classes=10)

    images = Samples("noise", torch.arange(2), torch.rand(2, 3, 16, 16), torch.tensor([0, 1]), ("no", "yes"))
    kept = {"folder": tmp_path, "runtime": CPU}
    first = cached_exit_costs(network(0), images, Views(), alone=False, **kept)
    measured = []
    real = costs_module.exit_costs
    monkeypatch.setattr(costs_module, "exit_costs", lambda *a, **k: (measured.append(k), real(*a, **k))[1])
    assert cached_exit_costs(network(1), images, Views(), alone=False, **kept) == first
    assert not measured
    cached_exit_costs(network(0), images, Views(), alone=True, **kept)
    cached_exit_costs(network(0, width=0.5), images, Views(), alone=False, **kept)
    assert len(measured) == 2
    content = json.loads(next(tmp_path.glob("costs-*.json")).read_text())
    assert content["environment"]["device"] == "cpu"


def test_a_network_without_exits_has_no_costs(experiment):
    open_data(experiment, "digits")
    plain = build("mlp:widths=5", input_shape=(1, 8, 8), num_classes=10, seed=0)
    with pytest.raises(ModelError, match="has no exits"):
        find_exit_costs(experiment, TrainedNetwork("plain", "mlp", 0, "", plain))
    exits = exit_network("mlp:widths=8x8x8", ["features.relu1"])(input_shape=(1, 8, 8), num_classes=10)
    costs = find_exit_costs(experiment, TrainedNetwork("self", "mlp", 0, "", exits), alone=True)
    assert [cost.name for cost in costs] == ["features.relu1", "head"]


def test_learning_is_drawn_at_eight_epochs_of_those_asked_for(experiment):
    def network(start):
        history = [EpochRecord(e, e, 0.1, 1.0, 1.0, 0.0, {"hard": start / e}, {}) for e in range(1, 21)]
        return TrainedNetwork("net", "mlp", 0, "", torch.nn.Identity(), history=history)

    draw_learning(experiment, {("a", 0): network(2.0), ("b", 0): network(3.0)}, {"a": "the first"})
    found = {o.condition: o.value for o in experiment.results.observations}
    assert len(found) == 8
    assert found["a_epoch_20"] == pytest.approx(0.1)
    assert experiment.results.figures[0].places == ["2", "5", "8", "10", "12", "15", "18", "20"]
