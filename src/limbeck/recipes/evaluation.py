"""What recipes do with trained networks: predict on samples, and, at the end, read the test set and observe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from torch import nn

from limbeck.data import Samples, Views
from limbeck.distillation.costs import cached_exit_costs, measured_on
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.predictions import (
    ExitPredictions,
    Predictions,
    exit_conditions,
    exit_predictions_of,
    predictions_of,
)
from limbeck.distillation.trained import PooledNetwork, TrainedNetwork, exits_of
from limbeck.metrics import ExitCost
from limbeck.ranks.group import ALONE
from limbeck.teachers import Teacher
from limbeck.training import Runtime


def predict(
    experiment: Experiment,
    network: TrainedNetwork | nn.Module | Teacher,
    samples: Samples,
    *,
    views: Views | None = None,
) -> Predictions:
    """Return what a network predicts on the clean views of samples other than the test set's.

    For accuracies on training samples, offsets tuned on held-out ones, and the like. Nothing is recorded. Networks
    are run in float32, whatever precision they were trained in: rounded logits tie.
    """
    if isinstance(network, Teacher):
        network = PooledNetwork(network)
    module = network.module if isinstance(network, TrainedNetwork) else network
    return predictions_of(module, samples, views or Views(), runtime=_exact(experiment))


def predict_exits(
    experiment: Experiment, network: TrainedNetwork, samples: Samples, *, views: Views | None = None
) -> ExitPredictions:
    """Return what every exit of a network predicts, as ``predict`` does of the network itself.

    Raises:
        ModelError: a network without exits.
    """
    return exit_predictions_of(network, samples, views or Views(), runtime=_exact(experiment))


def find_exit_costs(experiment: Experiment, network: TrainedNetwork, *, alone: bool = False) -> list[ExitCost]:
    """Return what stopping at each exit costs here; measured once for an architecture, and found again.

    A note tells on what the times are measured.

    Args:
        experiment: for its data and its folder of networks.
        network: with exits.
        alone: see ``limbeck.metrics.exit_costs``.
    Raises:
        ModelError: a network without exits.
    """
    assert experiment.cache.folder is not None, "a recipe keeps what it measures"
    sentence = measured_on(experiment.runtime)
    if sentence not in experiment.results.notes:
        experiment.results.note(sentence)
    costs = partial(
        cached_exit_costs, exits_of(network), experiment.data.train, experiment.clean_views(), alone=alone,
        folder=experiment.cache.folder, runtime=experiment.runtime,
    )  # fmt: skip
    return experiment.runtime.ranks.from_first(costs)


def evaluate(
    experiment: Experiment,
    network: TrainedNetwork | nn.Module | Teacher,
    *,
    condition: str,
    seed: int | None,
    views: Views | None = None,
    classes: Sequence[str] = (),
) -> Predictions:
    """Read the test set with a network, and observe errors, accuracy and NLL.

    This and ``evaluate_exits`` alone read it. They come after all training and choosing: nothing can be trained
    once one was called. Where samples were held out, they are read in the test set's place, and quantities are
    called "held_out_..." instead of "test_...".

    Args:
        experiment: whose test set is read.
        network: a trained network, any module that gives logits, or a teacher (an ensemble is read as one network).
        condition: what claims and figures call it.
        seed: which run of the condition it is; None where there is but one, of no seed.
        views: for their normalisation.
        classes: names of classes whose errors are recorded too, as "test_errors_on_NAME".
    Returns:
        The predictions, for what else is to be observed of them.
    """
    experiment.is_evaluated = True
    found = predict(experiment, network, experiment.data.test, views=views)
    observe_predictions(experiment, found, condition=condition, seed=seed, classes=classes)
    return found


def evaluate_exits(
    experiment: Experiment, network: TrainedNetwork, *, condition: str, seed: int | None, views: Views | None = None
) -> ExitPredictions:
    """Read the test set with all exits of a network, once, and observe each; see ``evaluate``.

    The exits are the conditions "CONDITION_exit_1", "CONDITION_exit_2", ..., the head is "CONDITION_head", and the
    mean of all their distributions "CONDITION_ensemble".

    Raises:
        ModelError: a network without exits.
    """
    experiment.is_evaluated = True
    found = predict_exits(experiment, network, experiment.data.test, views=views)
    for number, place in enumerate(exit_conditions(condition, len(found.exit_names))):
        observe_predictions(experiment, found.of(number), condition=place, seed=seed)
    observe_predictions(experiment, found.ensemble, condition=f"{condition}_ensemble", seed=seed)
    return found


def observe_predictions(
    experiment: Experiment, found: Predictions, *, condition: str, seed: int | None, classes: Sequence[str] = ()
) -> None:
    """Observe errors, accuracy and NLL, e.g. of predictions shifted by an offset; ``evaluate`` does it itself."""
    measured = found.measured()
    for quantity in ("errors", "accuracy", "nll"):
        experiment.results.observe(condition, seed, experiment.quantity(quantity), *measured[quantity])
    for name in classes:
        quantity = experiment.quantity(f"errors_on_{name}")
        experiment.results.observe(condition, seed, quantity, found.errors_on(name), "count")


def _exact(experiment: Experiment) -> Runtime:
    """Return the runtime in which networks are evaluated: of ranks each does it all, at whatever place of a recipe."""
    return replace(experiment.runtime, precision="fp32", ranks=ALONE)
