"""Hinton 2015, section 5: a generalist, its specialists, and one student that keeps what they know together.

A generalist of 200 classes says which classes it takes for each other. For each cluster of them a specialist goes on
from its weights: with a dustbin for all other classes (section 5), or with the full softmax and the generalist's soft
targets for the rest (6.1). Equation 5 makes one distribution of what all of them say. Validation images choose their
epochs and n, how many of the generalist's top classes wake specialists. Then what section 8 leaves open: the outputs of
the committee to numbered views become one student, beside the same student alone and of the generalist, and a network
of the generalist's size. Section 7's mixture trains as many experts and a gate together, from the same start.

Two hours of training on two CPU cores that compute in bfloat16 (``--precision bf16 --threads 2``), and the outputs for
four views of each image: five minutes for the committee's.
For an accelerator: ``--set num_train=0 --set generalist=resnet32 --set generalist_recipe.num_epochs=60``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from limbeck.distillation.experiment import Experiment
from limbeck.distillation.predictions import Predictions
from limbeck.errors import require_positive
from limbeck.jobs import runner_from
from limbeck.models import mixture_of_experts
from limbeck.objectives import HardLabels
from limbeck.recipes import committee_tables as tables
from limbeck.recipes.cifar import AUGMENTATIONS, augmented
from limbeck.recipes.committees import Covariance, PlanSpec, choose_num_top_classes, show_plan, trained_committee
from limbeck.recipes.data import open_data
from limbeck.recipes.evaluation import evaluate
from limbeck.recipes.folding import folded_students, observe_folding
from limbeck.reproduction import Claim
from limbeck.training import TrainConfig

PAPER = "Hinton, Vinyals, Dean 2015, Distilling the Knowledge in a Neural Network, arXiv:1503.02531, sections 5 to 8"
Fraction, Points = partial(Claim, unit="fraction"), partial(Claim, unit="points")
CLAIMS = [
    Fraction("generalist", "test_accuracy", "The generalist: 25.0 % of 15,000 classes in the paper.", paper=0.25),
    Fraction("committee", "test_accuracy", "With its specialists: 26.1 % in the paper.", paper=0.261),
    Fraction("committee", "test_relative_gain", "So specialists give 4.4 % more right answers.", paper=0.044,
             at_least=0.06),
    Points("committee", "test_accuracy_gained_low_end", "Shown: the 95 % interval lies at 0 or above.", at_least=0),
    Fraction("generalist", "test_conditional_accuracy", "Among the specialists' classes alone: 43.1 %.", paper=0.431),
    Fraction("committee", "test_conditional_accuracy", "The same, with its specialists: 45.9 %.", paper=0.459),
    Points("full_softmax", "test_accuracy_gained", "Specialists with a full softmax (6.1), less those with a dustbin."),
    Fraction("mixture", "test_accuracy", "As many experts and a gate, from the same start, trained together."),
    Points("folded", "test_accuracy_gained_low_end", "The committee's student beats the generalist's.", at_least=0),
    Fraction("folded", "gain_kept", "It goes 80 % of the way from that student to the committee.", at_least=0.8),
    Fraction("folded", "gain_passed_on", "And saves 80 % of the errors that the committee saves.", at_least=0.8),
]  # fmt: skip
DEPARTURES = [
    "Tiny ImageNet at 32 x 32: 200 classes instead of 15,000. By default 60,000 of its 100,000 training images and a "
    "ResNet-8, so that two CPU cores suffice.",
    "Every class is in a set, most of them in one; the paper's 61 sets of 300 leave half of the images to none. So "
    "accuracy among the specialists' classes is plain accuracy, unless each set is taken by itself.",
    "One generalist; seeds are those of specialists and students, so intervals do not tell what another would give.",
    "The dustbin's offset is by Bayes' rule, off the paper's words by log 2; validation chooses a specialist's epoch.",
    "The fold is ours, of the first seed's committee with a dustbin.",
]
RECIPE = TrainConfig(num_epochs=30, batch_size=128, learning_rate=0.1, schedule="one_cycle")
STUDENT_RECIPE = replace(RECIPE, num_epochs=12)
SPECIAL_RECIPE = TrainConfig(num_epochs=3, batch_size=128, learning_rate=0.05, schedule="cosine")


@dataclass(frozen=True)
class Settings:
    """What a run is made of. A network's architecture is text of the zoo."""

    data: str = "tiny-imagenet-32"  # ours; paper: 100 million images of 15,000 classes
    num_train: int = 60_000  # ours; training images, 0 for all that are not validation
    num_validation: int = 5000  # ours; training images that choose epochs and n
    generalist: str = "resnet:depth=8"  # ours; specialists and experts have its shape
    generalist_recipe: TrainConfig = RECIPE  # ours
    generalist_seed: int = 0  # of the mixture, too
    plan: str = "kmeans:10x30"  # ours; paper: 61 sets of 300 classes, K-means on the columns of the covariance
    specialist_recipe: TrainConfig = (
        SPECIAL_RECIPE  # ours; of the mixture, too; half of a specialist's batch is special
    )
    nums_top_classes: tuple[int, ...] = (1, 2, 3, 5, 8)  # of which validation chooses n; paper: 1
    sweep: tuple[str, ...] = ("kmeans:5x30", "kmeans:20x30", "kmeans:10x60", "spectral:10x30")  # of the first seed
    gate: str = "resnet:depth=8,width=0.5"  # ours; of the mixture
    student: str = "three_block:width=0.25"  # ours
    student_recipe: TrainConfig = STUDENT_RECIPE  # ours; of every student, with and without a teacher
    num_views: int = 4  # ours; of each image, for students; all others see new ones
    temperature: float = 2.0  # ours; of the fold, and of 6.1's soft targets
    soft_weight: float = 0.9  # ours; of T² KL(teacher || student)
    hard_weight: float = 0.1  # ours
    view_seed: int = 0
    jobs: str = "processes:2"  # where specialists train: also "serial", "ray"
    held_out: int = 0  # training images measured in place of the test set: for the search of settings
    seeds: tuple[int, ...] = (0, 1, 2)  # of specialists and students

    def __post_init__(self) -> None:
        runner_from(self.jobs)
        PlanSpec.require((self.plan, *self.sweep))
        for number in self.nums_top_classes:
            require_positive("nums_top_classes", number)


SMOKE = Settings(
    num_train=1000, num_validation=1000, generalist="convnet:channels=4x8", gate="convnet:channels=4x8",
    generalist_recipe=replace(RECIPE, num_epochs=2), specialist_recipe=replace(SPECIAL_RECIPE, num_epochs=1),
    plan="kmeans:3x80", nums_top_classes=(1, 2), sweep=("spectral:2x80",), jobs="serial", num_views=2,
    student="convnet:channels=8x16", student_recipe=replace(RECIPE, num_epochs=2), seeds=(0, 1),
)  # fmt: skip


def run(settings: Settings, experiment: Experiment) -> None:
    """Train generalist, specialists, mixture and students, choose n by validation, and read the test set."""
    images = open_data(
        experiment,
        settings.data,
        held_out=settings.held_out,
        num_train=settings.num_train,
        num_validation=settings.num_validation,
    )
    PlanSpec.require((settings.plan, *settings.sweep), num_classes=images.num_classes)
    seeds, first, shown = settings.seeds, settings.seeds[0], partial(augmented, images)
    clean, views = shown((), seed=0), shown(AUGMENTATIONS, seed=settings.view_seed + 1)
    joint = partial(
        experiment.train, samples=images, objective=HardLabels(), views=views, seed=settings.generalist_seed
    )
    generalist = joint("generalist", settings.generalist, recipe=settings.generalist_recipe)
    covariance = Covariance.of(experiment, generalist, images, views=clean)
    plan = covariance.plan(settings.plan)
    show_plan(experiment, covariance, plan)
    committee = partial(
        trained_committee, experiment, generalist, samples=images, recipe=settings.specialist_recipe, views=views,
        temperature=settings.temperature, jobs=settings.jobs,
    )  # fmt: skip
    choose = partial(choose_num_top_classes, experiment, candidates=settings.nums_top_classes, views=clean)
    special = {seed: committee(plan, seed=seed) for seed in seeds}
    full = {seed: committee(plan, seed=seed, variant="full_softmax") for seed in seeds}
    chosen = {"committee": choose(special, "committee"), "full_softmax": choose(full, "full_softmax")}
    for other in settings.sweep:
        choose({first: committee(covariance.plan(other), seed=first)}, other)
    experts = mixture_of_experts(
        settings.generalist, num_experts=len(plan.class_sets), gate=settings.gate, start=generalist.module
    )
    mixture = joint("mixture", experts, recipe=settings.specialist_recipe, validation=experiment.validation)
    students = folded_students(
        experiment, images, generalist, special[first].teacher(num_top_classes=chosen["committee"]),
        student=settings.student, recipe=settings.student_recipe, views=shown(AUGMENTATIONS, seed=settings.view_seed),
        num_views=settings.num_views, temperature=settings.temperature, soft_weight=settings.soft_weight,
        hard_weight=settings.hard_weight, seeds=seeds,
    )  # fmt: skip
    predictions: dict[str, dict[int, Predictions]] = {}
    for network in (generalist, mixture, *students):
        found = evaluate(experiment, network, condition=network.role, seed=network.seed, views=clean)
        predictions.setdefault(network.role, {})[network.seed or 0] = found
    for name, committees in (("committee", special), ("full_softmax", full)):
        for seed, one in committees.items():
            teacher = one.teacher(num_top_classes=chosen[name])
            predictions.setdefault(name, {})[seed] = evaluate(
                experiment, teacher, condition=name, seed=seed, views=clean
            )
    tables.observe_tables(experiment, predictions, plan.class_numbers())
    tables.observe_cost(experiment, special, mixture)
    observe_folding(experiment, predictions, folded_seed=first)
    tables.draw(experiment, candidates=settings.nums_top_classes, plans=(settings.plan, *settings.sweep))
