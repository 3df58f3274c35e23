"""Zhang 2019, Be Your Own Teacher where networks fit: 1,000 labels of MNIST, and 10,000 images to tell by.

The same as ``zhang2019-self-digits`` with other data: 1,000 labels that every seed draws anew, and a test set that
tells smaller differences.

A network takes about half a minute of one CPU core; six seeds are 42 networks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from limbeck.recipes import zhang2019_self_digits as digits
from limbeck.training import TrainConfig

PAPER, CLAIMS, run = digits.PAPER, digits.CLAIMS, digits.run
DEPARTURES = ["1,000 images of MNIST instead of CIFAR-100.", *digits.DEPARTURES[1:]]
RECIPE = replace(digits.RECIPE, num_epochs=30)


@dataclass(frozen=True)
class Settings(digits.Settings):
    """What a run is made of; see ``zhang2019_self.Settings``."""

    data: str = "mnist"  # ours
    num_validation: int = 5000  # as there
    num_labels: int = 1000  # ours
    network: str = "resnet:depth=8,width=0.5"  # ours
    recipe: TrainConfig = RECIPE  # ours
    seeds: tuple[int, ...] = tuple(range(6))  # of labels, weights, order and views


SMOKE = Settings(**{**vars(digits.SMOKE), "data": "mnist"})
