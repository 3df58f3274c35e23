"""Zhang 2019, Be Your Own Teacher on CIFAR: a network whose early exits learn from its own deepest one.

One network, one recipe, three conditions from the same initial weights: plain; with exits that learn from the labels
alone (deep supervision); and with exits that also learn from the deepest exit and its features (self-distillation).
What self-distillation adds is what lies between the last two. Then samples leave at the first exit that is sure enough:
the threshold is chosen on training images that nothing learned from, and the test set is read once, at the end.

Costs are of one sample: operations of the trunk up to an exit and of every branch on the way, as shares of the plain
network's. About an hour on one CPU core. The paper's size, for an accelerator: ``--set data=cifar100 --set
network=resnet56 --set num_train=0 --set recipe.num_epochs=200``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from limbeck.data import Samples
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.predictions import exit_conditions
from limbeck.distillation.trained import TrainedNetwork
from limbeck.models import exit_network
from limbeck.objectives import HardLabels, SelfDistillation
from limbeck.recipes.cifar import AUGMENTATIONS, SUBSET, augmented
from limbeck.recipes.comparing import observe_gain
from limbeck.recipes.data import open_data
from limbeck.recipes.early_exits import EarlyExits
from limbeck.recipes.evaluation import evaluate, evaluate_exits, find_exit_costs, predict_exits
from limbeck.recipes.exit_weights import choose_weight, train_seeds, weighted
from limbeck.reproduction import Claim, Figure, Series
from limbeck.training import TrainConfig

PAPER = "Zhang et al. 2019, Be Your Own Teacher, arXiv:1905.08094, sections 3 and 4"
OVER_SUPERVISION, OVER_PLAIN = "test_accuracy_over_supervision", "test_accuracy_over_plain"
Points, Share = partial(Claim, unit="points"), partial(Claim, unit="fraction")  # of accuracy; of the plain network
CLAIMS = [
    Points("self_head", OVER_PLAIN, "The deepest exit beats the plain network: by 1.55 points, ResNet-18 on CIFAR-100.",
           paper=1.55, at_least=0),
    Points("self_head", f"{OVER_PLAIN}_low_end", "This is shown: the 95 % interval lies at 0 or above.", at_least=0),
    Points("self_exit_2", OVER_SUPERVISION, "The second exit does not lose to deep supervision.", at_least=0),
    Points("self_exit_2", f"{OVER_SUPERVISION}_low_end", "Its gain is shown: the 95 % interval lies at 0 or above.",
           at_least=0),
    Points("self_head", OVER_SUPERVISION, "The deepest exit does not lose to deep supervision.", at_least=0),
    Points("self_head", f"{OVER_SUPERVISION}_low_end", "Its gain is shown: the 95 % interval lies at 0 or above.",
           at_least=0),
    Points("self_ensemble", OVER_PLAIN, "All exits together beat the plain network: by 2.58, ResNet-18 on CIFAR-100.",
           paper=2.58),
    Points("self_exit_1", OVER_PLAIN, "The first exit stays 9.24 behind it, ResNet-18 on CIFAR-100.", paper=-9.24),
    Share("self_early", "test_cost", "Leaving early, at a threshold that loses half a point on validation at most, "
          "costs no more than the plain network.", at_most=1),
]  # fmt: skip
DEPARTURES = [
    f"CIFAR-10 instead of CIFAR-100, unless it is asked for. {SUBSET}",
    "A residual network for small images with two exits and its head, instead of three and its head.",
    "The hint is a mean over features; the paper gives no number, and published code sums them, so that weights differ "
    "by orders of magnitude. Its weight here is 0.03 on the mean; temperature and the other weights are that code's.",
    "A one-cycle schedule of 20 epochs; the same in all conditions.",
]
RECIPE = TrainConfig(num_epochs=20, batch_size=64, learning_rate=0.1, schedule="one_cycle")
OBJECTIVE = SelfDistillation(temperature=3.0, hard_weight=0.7, soft_weight=0.3, hint_weight=0.03)


@dataclass(frozen=True)
class Settings:
    """What a run is made of. A network's architecture is text of the zoo."""

    data: str = "cifar10"  # paper: cifar100
    num_train: int = 10_000  # ours; training images, 0 for all that are not validation
    num_validation: int = 5000  # ours; training images that choose the threshold, and the exits' weight
    num_labels: int = 0  # ours; of these, drawn anew by every seed; 0 for all
    network: str = "resnet:depth=14,width=0.5"  # ours; paper: ResNet-18 and others
    exits: tuple[str, ...] = ("layer1", "layer2")  # paper: behind each stage but the last
    recipe: TrainConfig = RECIPE  # ours; of all conditions
    objective: SelfDistillation = OBJECTIVE  # of published code, but for the hint
    exit_weights: tuple[float, ...] = (1.0,)  # ours; factors of all exits' losses: validation chooses, for either way
    augmentations: tuple[str, ...] = AUGMENTATIONS  # ours
    thresholds: tuple[float, ...] = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)  # ours; tried on validation
    loss_allowed: float = 0.005  # ours; of validation accuracy, by leaving early
    held_out: int = 0  # training images measured in place of the test set: for the search of settings
    seeds: tuple[int, ...] = (0, 1, 2)  # of weights, order and views


SMOKE = Settings(
    num_train=1000, num_validation=500, network="resnet:depth=8,width=0.25",
    recipe=replace(RECIPE, num_epochs=2), seeds=(0, 1),
)  # fmt: skip


def run(settings: Settings, experiment: Experiment) -> None:
    """Train all conditions, choose thresholds on validation, and read the test set with every exit."""
    images = open_data(
        experiment, settings.data, held_out=settings.held_out, num_train=settings.num_train,
        num_validation=settings.num_validation,
    )  # fmt: skip
    plain, with_exits = _train(settings, experiment, images)
    clean = augmented(images, (), seed=0)
    on_the_way, alone = (find_exit_costs(experiment, with_exits[-1], alone=cut) for cut in (False, True))
    early = EarlyExits.of(settings.thresholds, on_the_way, alone)
    chosen = [
        early.chosen(
            predict_exits(experiment, network, experiment.validation, views=clean), loss_allowed=settings.loss_allowed
        )
        for network in with_exits
    ]
    for network in plain:
        evaluate(experiment, network, condition="plain", seed=network.seed, views=clean)
    for network, threshold in zip(with_exits, chosen, strict=True):
        seed = network.seed or 0
        found = evaluate_exits(experiment, network, condition=network.role, seed=seed, views=clean)
        early.observe(experiment, network.role, seed, found, chosen=threshold)
    places = [place.removeprefix("self_") for place in exit_conditions("self", len(on_the_way))]
    for place, way, cut in zip(places, on_the_way, alone, strict=True):
        for condition, cost in ((f"self_{place}", way), (f"cut_at_{place}", cut)):
            experiment.results.observe(condition, None, "operations", cost.flops / 1e6, "MFLOP")
            experiment.results.observe(condition, None, "latency", 1e3 * cost.seconds, "ms")
    places.append("ensemble")
    for place in places:
        for other, quantity, words in (
            (f"supervision_{place}", "accuracy_over_supervision", "deep supervision"),
            ("plain", "accuracy_over_plain", "the plain network"),
        ):
            what = f"Accuracy of self-distillation, {place.replace('_', ' ')}, less that of {words}"
            observe_gain(experiment, f"self_{place}", other, quantity=quantity, what=what)
    _draw(experiment, places)
    early.draw(experiment, {"supervision": "deep supervision", "self": "self-distillation"})


def _train(
    settings: Settings, experiment: Experiment, images: Samples
) -> tuple[list[TrainedNetwork], list[TrainedNetwork]]:
    """Return the plain networks, and those with exits at the weight that is best on validation, way by way."""
    train = partial(
        train_seeds, experiment, images=images, num_labels=settings.num_labels, recipe=settings.recipe,
        augmentations=settings.augmentations, seeds=settings.seeds,
    )  # fmt: skip
    exits, clean = exit_network(settings.network, settings.exits), augmented(images, (), seed=0)
    labels_alone = replace(settings.objective, hard_weight=1.0, soft_weight=0.0, hint_weight=0.0)
    chosen: list[TrainedNetwork] = []
    for name, objective in (("supervision", labels_alone), ("self", settings.objective)):
        tried = {weight: train(name, exits, weighted(objective, weight)) for weight in settings.exit_weights}
        chosen += tried[choose_weight(experiment, name, tried, views=clean)]
    return train("plain", settings.network, HardLabels()), chosen


def _draw(experiment: Experiment, places: list[str]) -> None:
    experiment.results.draw(
        Figure(
            kind="points",
            title="Every exit, and the plain network",
            how_to_read="Both networks with exits, and the plain one, started from the same weights.",
            quantity=experiment.quantity("accuracy"),
            value_label=f"accuracy (%), {experiment.num_evaluated:,} images",
            places=[place.replace("_", " ") for place in places],
            series=[
                Series("plain network", ["plain" if place == "head" else "" for place in places]),
                Series("deep supervision", [f"supervision_{place}" for place in places]),
                Series("self-distillation", [f"self_{place}" for place in places]),
            ],
        )
    )
