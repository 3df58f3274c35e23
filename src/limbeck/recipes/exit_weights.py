"""Networks with exits by seed, and how much the exits count beside the head: one weight of several, by validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import mean

from limbeck.data import Samples, Views, hold_out
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.trained import TrainedNetwork
from limbeck.models import ModelFactory
from limbeck.objectives import HardLabels, Objective, SelfDistillation
from limbeck.recipes.cifar import augmented
from limbeck.recipes.evaluation import predict_exits
from limbeck.recipes.learning import observe_fit
from limbeck.training import TrainConfig


def train_seeds(
    experiment: Experiment,
    name: str,
    source: str | ModelFactory,
    objective: Objective,
    *,
    images: Samples,
    num_labels: int,
    recipe: TrainConfig,
    augmentations: Sequence[str],
    seeds: Sequence[int],
) -> list[TrainedNetwork]:
    """Return one network a seed, each trained on ``num_labels`` images that its seed draws; on all for 0.

    How well plain ones, with outputs of the head alone, fit these is recorded.
    """
    networks = []
    for seed in seeds:
        few = hold_out(images, count=num_labels, seed=seed)[1] if num_labels else images
        views = augmented(images, augmentations, seed=seed)
        trained = experiment.train(
            name, source, samples=few, objective=objective, recipe=recipe, views=views, seed=seed
        )
        if isinstance(objective, HardLabels):
            observe_fit(experiment, name, seed, [trained], few, views=views.clean)
        networks.append(trained)
    return networks


def weighted(objective: SelfDistillation, weight: float) -> SelfDistillation:
    """Return the objective with every loss of its exits, but not the head's, times a weight.

    Example:
        >>> weighted(SelfDistillation(hard_weight=0.5, soft_weight=0.5, hint_weight=0.0), 0.5)
        SelfDistillation(temperature=3.0, hard_weight=0.25, soft_weight=0.25, hint_weight=0.0)
    """
    names = ("hard_weight", "soft_weight", "hint_weight")
    return replace(objective, **{name: weight * getattr(objective, name) for name in names})


def choose_weight(
    experiment: Experiment, condition: str, tried: Mapping[float, Sequence[TrainedNetwork]], *, views: Views
) -> float:
    """Return the weight whose heads are right most often on validation images; of equals, the first.

    It is observed as "exit_weight", and a note tells the accuracies; where there is one weight, nothing is asked.

    Args:
        experiment: whose validation images are read.
        condition: what the record calls the networks.
        tried: networks with exits, by weight.
        views: for their normalisation.
    """
    if len(tried) == 1:
        return next(iter(tried))

    def accuracy(network: TrainedNetwork) -> float:
        return predict_exits(experiment, network, experiment.validation, views=views).of(-1).accuracy

    found = {weight: mean(accuracy(network) for network in networks) for weight, networks in tried.items()}
    best = max(found, key=lambda weight: found[weight])
    experiment.results.observe(condition, None, "exit_weight", best, "factor")
    told = ", ".join(f"{100 * value:.2f} % at {weight:g}" for weight, value in found.items())
    experiment.results.note(
        f"Exits' weight of {condition}: heads are right on validation images in {told}; {best:g} is taken."
    )
    return best
