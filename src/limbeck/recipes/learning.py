"""How fast networks learned, from the histories of their training."""

from __future__ import annotations

from collections.abc import Mapping

from limbeck.distillation.experiment import Experiment
from limbeck.distillation.trained import TrainedNetwork
from limbeck.reproduction import Figure, Series

NUM_MARKS = 8


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
