"""Zhang 2018, Deep Mutual Learning on CIFAR: peers that teach each other, each against its own twin that learned alone.

Two small networks of one shape, and a larger one with a small one, learn from the labels and from each other. Every
peer has a twin: the same shape, initial weights, order, views and recipe, and the labels alone. Gains are paired by
seed. The cohort's ensemble stands against the ensemble of its members' twins.

Public reproductions often find no gain over a well-tuned baseline, so the goal is that a 95 % interval shows one.

A third peer: ``--set num_peers=3``. The paper's size, for an accelerator: ``--set data=cifar100 --set network=resnet32
--set larger=resnet56 --set num_train=0 --set recipe.num_epochs=200``.

About an hour on one CPU core: a step of 64 images takes 62 ms for a small network alone, 105 for the larger one, 127
for two small peers and 175 for the unequal ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from limbeck.distillation.experiment import Experiment
from limbeck.distillation.trained import TrainedNetwork, pooled_teacher
from limbeck.objectives import HardLabels, MutualLearning
from limbeck.recipes.cifar import AUGMENTATIONS, SUBSET, augmented
from limbeck.recipes.comparing import observe_gain
from limbeck.recipes.data import open_data
from limbeck.recipes.evaluation import evaluate
from limbeck.recipes.learning import draw_learning
from limbeck.reproduction import Claim, Figure, Series
from limbeck.training import TrainConfig

PAPER = "Zhang, Xiang, Hospedales, Lu 2018, Deep Mutual Learning, arXiv:1706.00384, sections 3.2 to 3.6"
GAIN = "test_accuracy_gained"
TWINS = {  # condition: its twin that learned alone, and what it is
    "pair_1": ("alone_1", "the first of two small peers"),
    "pair_2": ("alone_2", "the second of two small peers"),
    "mixed_larger": ("alone_larger", "the larger of two unequal peers"),
    "mixed_smaller": ("alone_2", "the smaller of two unequal peers"),
    "pair_ensemble": ("alone_ensemble", "the ensemble of the small peers"),
    "mixed_ensemble": ("alone_mixed_ensemble", "the ensemble of the unequal peers"),
}
Points = partial(Claim, unit="points")  # of accuracy
CLAIMS = [
    Points("pair_1", GAIN, "Of two ResNet-32 on CIFAR-100, the first gains 2.20 points.", paper=2.20),
    Points("pair_2", GAIN, "Of two ResNet-32 on CIFAR-100, the second gains 1.76.", paper=1.76),
    Points("mixed_larger", GAIN, "A MobileNet beside a ResNet-32 on CIFAR-100 gains 2.48.", paper=2.48),
    Points("mixed_smaller", GAIN, "A ResNet-32 beside a MobileNet on CIFAR-100 gains 2.11.", paper=2.11),
    Points("pair_ensemble", GAIN, "The cohort's ensemble beats that of networks trained alone."),
    *(
        Points(
            name, f"{GAIN}_low_end", f"Shown for {what}: the 95 % interval of its gain lies at 0 or above.", at_least=0
        )
        for name, (_, what) in TWINS.items()
    ),
]
DEPARTURES = [
    f"CIFAR-10 instead of CIFAR-100, unless it is asked for. {SUBSET}",
    "The unequal pair is of two residual networks.",
    "A one-cycle schedule of 15 epochs instead of 200 epochs in steps; the same for peers and twins.",
]
RECIPE = TrainConfig(num_epochs=15, batch_size=64, learning_rate=0.1, schedule="one_cycle")
CURVES = {"alone_1": "small, alone", "pair_1": "small, with its equal", "alone_larger": "larger, alone",
          "mixed_larger": "larger, with a small one"}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """What a run is made of. A network's architecture is text of the zoo."""

    data: str = "cifar10"  # paper: cifar100
    num_train: int = 10_000  # ours; training images, 0 for all
    network: str = "resnet:depth=8,width=0.5"  # ours; paper: ResNet-32 and others
    larger: str = "resnet:depth=14,width=0.5"  # ours; beside one of the small ones
    num_peers: int = 2  # paper: 2 to 5; small peers of one shape
    recipe: TrainConfig = RECIPE  # ours; batch size and peak of the learning rate: paper
    temperature: float = 1.0  # paper
    soft_weight: float = 1.0  # paper; of the mean KL(peer || network)
    hard_weight: float = 1.0  # paper
    update: str = "alternating"  # paper: answers are refreshed after each network's step
    augmentations: tuple[str, ...] = AUGMENTATIONS  # paper
    held_out: int = 0  # training images measured in place of the test set: for the search of settings
    seeds: tuple[int, ...] = (0, 1, 2)  # of order, views and, with the peer's number, weights


SMOKE = Settings(
    num_train=1000,
    network="resnet:depth=8,width=0.25",
    larger="resnet:depth=8,width=0.375",
    recipe=replace(RECIPE, num_epochs=2),
    seeds=(0, 1),
)


def run(settings: Settings, experiment: Experiment) -> None:
    """Train every cohort and every twin, and read the test set with each network and with their ensembles."""
    images = open_data(experiment, settings.data, held_out=settings.held_out, num_train=settings.num_train)
    mutual = MutualLearning(
        temperature=settings.temperature, hard_weight=settings.hard_weight, soft_weight=settings.soft_weight
    )
    numbers = range(1, settings.num_peers + 1)
    trained: dict[tuple[str, int], TrainedNetwork] = {}
    for seed in settings.seeds:
        views = augmented(images, settings.augmentations, seed=seed)
        starts = [seed + 1000 * (number - 1) for number in numbers]  # peers must not start alike
        alone = partial(
            experiment.train, samples=images, objective=HardLabels(), recipe=settings.recipe, seed=seed, views=views
        )
        together = partial(
            experiment.train_cohort, samples=images, objective=mutual, recipe=settings.recipe, seed=seed, views=views,
            update=settings.update,
        )  # fmt: skip
        trained["alone_larger", seed] = alone("alone-larger", settings.larger)
        for number, start in zip(numbers, starts, strict=True):
            trained[f"alone_{number}", seed] = alone(f"alone-{number}", settings.network, weights_seed=start)
        pair = together("pair", [settings.network] * settings.num_peers, weights_seeds=starts)
        trained |= {(f"pair_{number}", seed): peer for number, peer in zip(numbers, pair, strict=True)}
        mixed = together("mixed", [settings.larger, settings.network], weights_seeds=starts[:2])
        trained["mixed_larger", seed], trained["mixed_smaller", seed] = mixed
    clean = augmented(images, (), seed=0)  # for its normalisation
    for (name, seed), network in trained.items():
        evaluate(experiment, network, condition=name, seed=seed, views=clean)
    for condition, members in {
        "alone_ensemble": [f"alone_{number}" for number in numbers],
        "pair_ensemble": [f"pair_{number}" for number in numbers],
        "alone_mixed_ensemble": ["alone_larger", "alone_2"],
        "mixed_ensemble": ["mixed_larger", "mixed_smaller"],
    }.items():
        for seed in settings.seeds:
            ensemble = pooled_teacher([trained[member, seed] for member in members])
            evaluate(experiment, ensemble, condition=condition, seed=seed, views=clean)
    for condition, (twin, what) in TWINS.items():
        observe_gain(experiment, condition, twin, what=f"Accuracy of {what}, less that of its twin alone")
    experiment.results.draw(
        Figure(
            kind="points",
            title="Peers, and the same networks alone",
            how_to_read="A peer and its twin started from the same weights and saw the same views in the same order.",
            quantity=experiment.quantity("accuracy"),
            value_label=f"accuracy (%), {experiment.num_evaluated:,} images",
            places=[
                "first of\nequals",
                "second of\nequals",
                "larger",
                "smaller",
                "equals\ntogether",
                "unequal\ntogether",
            ],
            series=[Series("alone", [twin for twin, _ in TWINS.values()]), Series("mutual", list(TWINS))],
        )
    )
    draw_learning(experiment, trained, CURVES)
