"""Zhang 2018, Deep Mutual Learning where networks fit: 1,000 labels of MNIST, two and three 256-256 nets.

The same as ``zhang2018-mutual-digits`` with other data and networks: nets of linear layers, 1,000 labels that every
seed draws anew, and 10,000 test images, which tell smaller differences.

A quarter of an hour on one CPU core.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from limbeck.distillation.experiment import Experiment
from limbeck.recipes import zhang2018_mutual_digits as digits
from limbeck.recipes.data import open_data
from limbeck.recipes.mutual_fit import RECIPE, Regime, run_regime

PAPER, CLAIMS = digits.PAPER, digits.CLAIMS
DEPARTURES = ["Nets of linear layers on MNIST instead of ResNet-32 and others on CIFAR-100.", *digits.DEPARTURES[1:]]
MNIST = Regime(
    num_labels=1000,
    network="mlp:widths=256x256",
    recipe=replace(RECIPE, num_epochs=30, batch_size=50, learning_rate=0.05),  # at 0.1 some diverge
    shorter=(2, 4, 8, 15),
)


@dataclass(frozen=True)
class Settings:
    """What a run is made of; see ``zhang2018_mutual_digits.Settings``."""

    data: str = "mnist"  # ours
    regime: Regime = MNIST  # ours, but for the objective
    held_out: int = 0  # as there
    seeds: tuple[int, ...] = tuple(range(10))  # as there


SMOKE = Settings(
    regime=replace(
        MNIST,
        num_labels=60,
        network="mlp:widths=32",
        recipe=replace(RECIPE, num_epochs=4),
        shorter=(1, 2),
    ),
    seeds=(0, 1),
)


def run(settings: Settings, experiment: Experiment) -> None:
    """Train peers, twins and baselines, and read the test set with each."""
    images = open_data(experiment, settings.data, held_out=settings.held_out)
    run_regime(experiment, images, settings.regime, seeds=settings.seeds)
