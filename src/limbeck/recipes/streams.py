"""What the recipe on compressed clips does with networks of several streams: views, fusing, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from limbeck.data import Samples, Views, augmentations_from
from limbeck.distillation.costs import first_inputs
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.trained import TrainedNetwork
from limbeck.distillation.weighting import weights_of, weights_on
from limbeck.metrics import count_flops, count_parameters
from limbeck.models import FusedNetwork, fuse
from limbeck.recipes.evaluation import predict

STREAMS = ("iframe", "motion", "residual")
POOLINGS = ("arithmetic", "geometric")
WEIGHTINGS = ("equal", "given", "accuracy", "fitted")


def only(stream: str) -> list[float]:
    """Return the weights of the streams' teachers that leave one stream's alone.

    Example:
        >>> only("motion")
        [0.0, 1.0, 0.0]
    """
    return [float(stream == other) for other in STREAMS]


def clip_views(augmentations: Sequence[str], *, seed: int) -> Views:
    """Return the views of clips: their streams are scaled where they are read, so there is no normalisation."""
    return Views(augmentations_from(augmentations), seed=seed)


def teacher_weights(
    experiment: Experiment, teachers: Sequence[TrainedNetwork], *, given: Sequence[float]
) -> dict[tuple[str, str], list[float]]:
    """Return the teachers' weights, of sum 1, by pooling and by the way to find them, one of ``WEIGHTINGS``.

    Accuracies and likelihoods are those of validation; the likeliest weights of an arithmetic mean are not those of a
    geometric one.
    """
    found = [predict(experiment, teacher, experiment.validation) for teacher in teachers]
    weights: dict[tuple[str, str], list[float]] = {}
    for pooling in POOLINGS:
        weights[pooling, "equal"] = [1.0] * len(teachers)
        weights[pooling, "given"] = [float(weight) for weight in given]
        for how in ("accuracy", "fitted"):
            chosen = weights_of(found, how, pooling=pooling)
            assert chosen is not None, "not equal ones"
            weights[pooling, how] = chosen
    return {key: [one / sum(own) for one in own] for key, own in weights.items()}


def fused(experiment: Experiment, networks: Sequence[TrainedNetwork], *, pooling: str) -> FusedNetwork:
    """Return one network of several streams' networks, with weights that validation chose."""
    modules: list[nn.Module] = [network.module for network in networks]
    weights = weights_on(modules, "fitted", experiment.validation, Views(), pooling=pooling, runtime=experiment.runtime)
    return fuse(modules, weights=weights, pooling=pooling, specs=[network.name for network in networks])


def pooled(networks: Sequence[TrainedNetwork], weights: Sequence[float], *, pooling: str) -> FusedNetwork:
    """Return the teachers' weighted mean as one network."""
    modules: list[nn.Module] = [network.module for network in networks]
    return fuse(modules, weights=weights, pooling=pooling)


def observe_costs(experiment: Experiment, teachers: nn.Module, students: nn.Module, samples: Samples) -> None:
    """Record how many times more parameters and operations a clip the fused teachers have than the fused students."""
    inputs = first_inputs(samples, Views(), count=4)
    for quantity, what, count in (
        ("parameters", "parameters", count_parameters),
        ("computation", "FLOP a clip", lambda module: count_flops(module, inputs)),
    ):
        of_teachers, of_students = float(count(teachers)), float(count(students))
        experiment.results.observe("students", None, f"times_less_{quantity}", of_teachers / of_students, "times")
        experiment.results.note(f"Teachers together: {of_teachers:,.0f} {what}; students: {of_students:,.0f}.")
