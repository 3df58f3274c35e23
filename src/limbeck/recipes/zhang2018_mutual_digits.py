"""Zhang 2018, Deep Mutual Learning where networks fit: 300 labelled digits, two and three small convolutional nets.

The paper's networks reach 100 % on what they learn from, and what mutual learning gives them is generalisation. So do
these: 300 of scikit-learn's digits, drawn anew by every seed, and 60 epochs. A peer and its twin, the same network
alone, share initial weights, labels and order. Beside the twins stand what else the compute of two peers buys: one
network trained twice as long, and one network distilled from an ensemble of two, a third of the epochs each; and label
smoothing, which costs nothing.

The pair and its twins are also trained for fewer epochs: what peers gain is drawn against how well they fit alone.

A quarter of an hour on one CPU core.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from limbeck.distillation.experiment import Experiment
from limbeck.recipes.data import open_data
from limbeck.recipes.mutual_fit import DIGITS, RECIPE, Regime, run_regime
from limbeck.reproduction import Claim

PAPER = "Zhang, Xiang, Hospedales, Lu 2018, Deep Mutual Learning, arXiv:1706.00384, sections 3.2 to 3.6"
GAIN = "test_accuracy_gained"
Points = partial(Claim, unit="points")  # of accuracy
CLAIMS = [
    Claim("alone", "training_accuracy", "Networks alone reach 100 % on what they learn from.", paper=1.0,
          at_least=0.99, unit="fraction"),
    Claim("alone", "loss_still_fell", "They are trained to the end: their loss is flat over the last fifth.",
          at_most=0.02, unit="nats"),
    Points("peers_2", GAIN, "Of two ResNet-32 on CIFAR-100 each gains, on average, 1.98 points.", paper=1.98),
    Points("peers_2", f"{GAIN}_low_end", "Shown for two peers: the 95 % interval of their gain lies at 0 or above.",
           at_least=0),
    Points("peers_3", GAIN, "Three peers gain more than two, in the paper's figure; here against their twins."),
    Points("peers_3", f"{GAIN}_low_end", "Shown for three peers.", at_least=0),
    Points("peers_2_ensemble", GAIN, "The ensemble of the peers beats that of their twins.", at_least=0),
    Points("over_smoothing", f"{GAIN}_low_end", "Two peers gain more than label smoothing, with an interval.",
           at_least=0),
    Points("over_longer", f"{GAIN}_low_end", "More than one network trained twice as long, which costs as much.",
           at_least=0),
    Points("over_distilled", f"{GAIN}_low_end", "More than an ensemble's student of the same total compute.",
           at_least=0),
]  # fmt: skip
DEPARTURES = [
    "Small convolutional networks on a few hundred labels instead of ResNet-32 and others on CIFAR-100.",
    "A one-cycle schedule instead of 200 epochs in steps; the same for peers and twins.",
    "Two peers cost a little more than two networks alone: one forward pass in two is made again.",
]


@dataclass(frozen=True)
class Settings:
    """What a run is made of."""

    data: str = "digits"  # ours; paper: CIFAR-100, Market-1501
    regime: Regime = DIGITS  # ours, but for the objective
    held_out: int = 0  # training images measured in place of the test set: for the search of settings
    seeds: tuple[int, ...] = tuple(range(16))  # of labels, order and, with the peer's number, weights


SMOKE = Settings(
    regime=Regime(num_labels=60, network="convnet:channels=4x8", recipe=replace(RECIPE, num_epochs=4), shorter=(1, 2)),
    seeds=(0, 1),
)


def run(settings: Settings, experiment: Experiment) -> None:
    """Train peers, twins and baselines, and read the test set with each."""
    images = open_data(experiment, settings.data, held_out=settings.held_out)
    run_regime(experiment, images, settings.regime, seeds=settings.seeds)
