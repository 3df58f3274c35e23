"""How fast networks learned, and how well they fit in the end, from the histories of their training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from limbeck.data import Samples, Views
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.trained import TrainedNetwork
from limbeck.recipes.evaluation import predict
from limbeck.reproduction import Figure, Series

NUM_MARKS = 8
LAST_PART = 0.2  # of the training, in which the loss should be flat


def observe_fit(
    experiment: Experiment,
    condition: str,
    seed: int,
    networks: Sequence[TrainedNetwork],
    samples: Samples,
    *,
    views: Views,
) -> None:
    """Record accuracy and loss on what was learned from, and by how much the loss still fell; means of networks.

    They are "training_accuracy", "training_loss" (labels alone, last epoch) and "loss_still_fell" (in the last fifth).

    Args:
        experiment: where it is recorded.
        condition: what the record calls the networks.
        seed: of the condition.
        networks: one or several, trained on labels, whatever else they learned from.
        samples: what they learned from.
        views: for their normalisation.
    """
    right = [predict(experiment, network, samples, views=views).accuracy for network in networks]
    losses = [[epoch.train["hard"] for epoch in network.history] for network in networks]
    ends = [loss[-1] for loss in losses]
    fell = [loss[max(0, round((1 - LAST_PART) * len(loss)) - 1)] - loss[-1] for loss in losses]
    for quantity, values, unit in (
        ("training_accuracy", right, "fraction"), ("training_loss", ends, "nats"), ("loss_still_fell", fell, "nats")
    ):  # fmt: skip
        experiment.results.observe(condition, seed, quantity, sum(values) / len(values), unit)


def draw_learning(
    experiment: Experiment, networks: Mapping[tuple[str, int], TrainedNetwork], labels: Mapping[str, str]
) -> None:
    """Draw the training loss on the labels by epoch, at eight epochs or fewer, each recorded as "NAME_epoch_3".

    Args:
        experiment: where they are recorded and drawn.
        networks: by condition and seed, of one number of epochs; trained on labels, whatever else they learned from.
        labels: of the conditions to draw, one line each.
    """
    drawn = {key: network for key, network in networks.items() if key[0] in labels}
    num_epochs = min(len(network.history) for network in drawn.values())
    epochs = sorted({max(1, round(num_epochs * part / NUM_MARKS)) for part in range(1, NUM_MARKS + 1)})
    for (condition, seed), network in drawn.items():
        for epoch in epochs:
            loss = network.history[epoch - 1].train["hard"]
            experiment.results.observe(f"{condition}_epoch_{epoch}", seed, "training_loss", loss, "nats")
    experiment.results.draw(
        Figure(
            kind="curves",
            title="How fast the labels are learned",
            how_to_read="Loss on the labels alone, in training, without what else is minimised.",
            quantity="training_loss",
            value_label="cross-entropy with labels (nats)",
            places=[str(epoch) for epoch in epochs],
            place_label="epoch",
            series=[Series(label, [f"{name}_epoch_{epoch}" for epoch in epochs]) for name, label in labels.items()],
        )
    )
