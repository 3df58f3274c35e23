"""Zhang 2019, Be Your Own Teacher where networks fit: few labelled digits, a residual network with room to spare.

The same as ``zhang2019-self`` with other data: scikit-learn's digits, of which every seed draws its own few labels, and
a network that is right on all it learns from before training ends. There the deepest exit need not give up
anything for the exits before it. How much the exits' losses count is chosen on validation images, on its own for deep
supervision and for self-distillation.

Eight seeds, 56 networks, take six minutes of one CPU core.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from limbeck.distillation.experiment import Experiment
from limbeck.objectives import SelfDistillation
from limbeck.recipes import zhang2019_self as cifar
from limbeck.reproduction import Claim
from limbeck.training import TrainConfig

PAPER = cifar.PAPER
CLAIMS = [
    Claim("plain", "training_accuracy", "Plain networks are right on all that they learn from.", at_least=0.99,
          unit="fraction"),
    *cifar.CLAIMS,
    cifar.Points("self_ensemble", f"{cifar.OVER_PLAIN}_low_end", "All exits together beat the plain network, shown: "
                 "the 95 % interval lies at 0 or above.", at_least=0),
    cifar.Points("self_exit_1", cifar.OVER_PLAIN, "The first exit stays within a point of the plain network.",
                 at_least=-1),
    cifar.Points("self_exit_2", cifar.OVER_PLAIN, "So does the second.", at_least=-1),
]  # fmt: skip
DEPARTURES = [
    "A few hundred of scikit-learn's digits, 8 x 8 pixels, instead of CIFAR-100.",
    *cifar.DEPARTURES[1:3],
    "The weight of all exits' losses is chosen from several on validation images.",
    "A one-cycle schedule; the same in all conditions.",
]
RECIPE = TrainConfig(num_epochs=60, batch_size=32, learning_rate=0.1, schedule="one_cycle")


@dataclass(frozen=True)
class Settings:
    """What a run is made of; see ``zhang2019_self.Settings``."""

    data: str = "digits"  # ours
    num_train: int = 0  # as there
    num_validation: int = 500  # as there
    num_labels: int = 300  # ours
    network: str = "resnet:depth=14,width=0.5"  # ours
    exits: tuple[str, ...] = ("layer1", "layer2")  # as there
    recipe: TrainConfig = RECIPE  # ours
    objective: SelfDistillation = cifar.OBJECTIVE  # as there
    exit_weights: tuple[float, ...] = (0.3, 1.0, 3.0)  # ours
    augmentations: tuple[str, ...] = ()  # ours
    thresholds: tuple[float, ...] = cifar.Settings.thresholds  # as there
    loss_allowed: float = cifar.Settings.loss_allowed  # as there
    held_out: int = 0  # as there
    seeds: tuple[int, ...] = tuple(range(12))  # of labels, weights, order and views


SMOKE = Settings(
    num_labels=60,
    num_validation=100,
    network="resnet:depth=8,width=0.25",
    recipe=replace(RECIPE, num_epochs=2),
    exit_weights=(0.3, 1.0),
    seeds=(0, 1),
)


def run(settings: Settings, experiment: Experiment) -> None:
    """Train all conditions, choose weights and thresholds on validation, and read the test set with every exit."""
    cifar.run(cifar.Settings(**{field.name: getattr(settings, field.name) for field in fields(settings)}), experiment)
