"""A VGG-16 into three blocks of convolutions on CIFAR: the student alone, and distilled, by one recipe.

The teacher runs once for every numbered view of every image, into a store; its students see the same views, and the
student alone sees them too. Half a point of accuracy, paired by seed, is what the distillation has to bring.

T and the weight of the labels are settings. Sweeps over both are measured on training images that nothing learned from,
never on the test set, and their students are distilled as the others are. Full size, for an accelerator: ``--set
teacher=vgg16 --set student=three_block --set num_train=0 --set teacher_recipe.num_epochs=100 --set
student_recipe.num_epochs=60 --set num_views=60``.

About half an hour on one CPU core in bfloat16: a step of 64 images takes 74 ms for the teacher and 30 for a student, of
which there are eleven; the teacher's outputs for 20 views of each image take two minutes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from limbeck.distillation.experiment import Experiment
from limbeck.objectives import Distillation, HardLabels
from limbeck.recipes.cifar import AUGMENTATIONS, SUBSET, augmented
from limbeck.recipes.comparing import observe_gain
from limbeck.recipes.data import open_data
from limbeck.recipes.evaluation import evaluate, predict
from limbeck.recipes.soft_targets import collect_targets
from limbeck.reproduction import Claim, Figure, Series
from limbeck.training import TrainConfig

PAPER = (
    "Hinton, Vinyals, Dean 2015, Distilling the Knowledge in a Neural Network, arXiv:1503.02531; beside it, Tian, "
    "Krishnan, Isola 2020, Contrastive Representation Distillation, arXiv:1910.10699, table 1"
)
GAIN = "test_accuracy_gained"
CLAIMS = [
    Claim("distilled", GAIN, "Distilled, the student gains half a point at least; a VGG-8 gains 2.62 from a VGG-13 on "
          "CIFAR-100.", paper=2.62, at_least=0.5, unit="points"),
    Claim("distilled", f"{GAIN}_low_end", "A gain is shown: the 95 % interval lies at 0 or above.", at_least=0,
          unit="points"),
    Claim("teacher", "test_accuracy", "What the teacher reaches.", unit="fraction"),
    Claim("labels_alone", "test_accuracy", "What the student reaches from labels alone.", unit="fraction"),
    Claim("distilled", "test_accuracy", "What it reaches distilled.", unit="fraction"),
]  # fmt: skip
DEPARTURES = [
    f"No table of a paper: CIFAR-10, a VGG-16 with batch norm and a student of three double blocks. {SUBSET}",
    "Every student sees 20 numbered views of each image, so that the teacher's outputs can be stored.",
]
TEACHER_RECIPE = TrainConfig(num_epochs=30, batch_size=64, learning_rate=0.05, schedule="one_cycle")
STUDENT_RECIPE = TrainConfig(num_epochs=20, batch_size=64, learning_rate=0.05, schedule="one_cycle")


@dataclass(frozen=True)
class Settings:
    """What a run is made of, all of it ours. A network's architecture is text of the zoo."""

    data: str = "cifar10"
    num_train: int = 10_000  # training images, 0 for all that are not validation
    num_validation: int = 5000  # training images that the sweep is measured on
    teacher: str = "vgg16:width=0.25"
    teacher_recipe: TrainConfig = TEACHER_RECIPE
    teacher_seed: int = 0
    student: str = "three_block:width=0.25"
    student_recipe: TrainConfig = STUDENT_RECIPE  # the same with and without the teacher
    temperature: float = 4.0
    soft_weight: float = 0.9  # of T² KL(teacher || student)
    hard_weight: float = 0.1
    sweep: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)  # temperatures, of the first seed's students
    sweep_hard_weights: tuple[float, ...] = (0.0, 0.1, 0.5)  # likewise; the soft weight is the rest of 1
    augmentations: tuple[str, ...] = AUGMENTATIONS
    num_views: int = 20  # of each image, for the students; the teacher saw others
    view_seed: int = 0
    held_out: int = 0  # training images measured in place of the test set: for the search of settings
    seeds: tuple[int, ...] = (0, 1, 2)  # of the students


SMOKE = Settings(
    num_train=1000,
    num_validation=500,
    teacher="vgg16:width=0.0625",
    teacher_recipe=replace(TEACHER_RECIPE, num_epochs=2),
    student="three_block:width=0.125",
    student_recipe=replace(STUDENT_RECIPE, num_epochs=2),
    sweep=(1.0, 4.0),
    sweep_hard_weights=(0.1, 0.5),
    num_views=2,
    seeds=(0, 1),
)


def run(settings: Settings, experiment: Experiment) -> None:
    """Train the teacher, store its outputs, train the students, sweep on validation, and read the test set."""
    images = open_data(
        experiment,
        settings.data,
        held_out=settings.held_out,
        num_train=settings.num_train,
        num_validation=settings.num_validation,
    )
    teacher = experiment.train(
        "teacher", settings.teacher, samples=images, objective=HardLabels(), recipe=settings.teacher_recipe,
        views=augmented(images, settings.augmentations, seed=settings.view_seed + 1), seed=settings.teacher_seed,
    )  # fmt: skip
    views = augmented(images, settings.augmentations, seed=settings.view_seed)
    collected = collect_targets(experiment, teacher, images, views=views, num_views=settings.num_views)
    student = partial(
        experiment.train, source=settings.student, samples=images, recipe=settings.student_recipe, teacher=collected,
        views=views, num_views=settings.num_views,
    )  # fmt: skip
    soft_targets = Distillation(
        temperature=settings.temperature, soft_weight=settings.soft_weight, hard_weight=settings.hard_weight
    )
    students = [
        student(name, objective=objective, seed=seed)
        for seed in settings.seeds
        for name, objective in (("labels_alone", HardLabels()), ("distilled", soft_targets))
    ]
    clean, first_seed = augmented(images, (), seed=0), settings.seeds[0]
    swept = {f"sweep_{t:g}": replace(soft_targets, temperature=t) for t in settings.sweep}
    swept |= {
        f"hard_weight_{weight:g}": replace(soft_targets, soft_weight=1 - weight, hard_weight=weight)
        for weight in settings.sweep_hard_weights
    }
    for name, objective in swept.items():
        network = student("distilled", objective=objective, seed=first_seed)
        reached = predict(experiment, network, experiment.validation, views=clean).accuracy
        experiment.results.observe(name, first_seed, "validation_accuracy", reached, "fraction")
    for network in (teacher, *students):
        evaluate(experiment, network, condition=network.role, seed=network.seed, views=clean)
    observe_gain(experiment, "distilled", "labels_alone", what="Accuracy of the distilled student, less labels alone")
    _draw(settings, experiment)


def _draw(settings: Settings, experiment: Experiment) -> None:
    experiment.results.draw(
        Figure(
            kind="points",
            title="Teacher and students",
            how_to_read="Students of one shape, one recipe and the same views.",
            quantity=experiment.quantity("accuracy"),
            value_label=f"accuracy (%), {experiment.num_evaluated:,} images",
            places=["teacher", "student\nlabels alone", "student\ndistilled"],
            series=[Series("one run", ["teacher", "labels_alone", "distilled"])],
        )
    )
    for title, label, prefix, values in (
        ("Temperature, on validation images", "temperature T", "sweep", settings.sweep),
        ("Weight of the labels, on validation images", "hard weight", "hard_weight", settings.sweep_hard_weights),
    ):
        if not values:
            continue
        how_to_read = "One student at each value; the test set had no part in it."
        series = [Series("distilled", [f"{prefix}_{value:g}" for value in values])]
        experiment.results.draw(
            Figure("curves", title, how_to_read, "validation_accuracy", "accuracy (%) on validation images",
                   [f"{value:g}" for value in values], series, place_label=label, log_places=prefix == "sweep")
        )  # fmt: skip
