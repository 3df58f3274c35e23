"""Hinton 2015, section 5: a generalist, its specialists, and one student that keeps what they know together.

A generalist of 200 classes says which classes it takes for each other. For each cluster of them a specialist goes on
from its weights, with a dustbin for all other classes. Equation 5 makes one distribution of what all of them say.
Validation images choose their epochs and n, how many of the generalist's top classes wake specialists. Beside the
committee stand as many generalists that each went on for as many steps, on all classes. Section 6.1's test: some
specialists with the full softmax train until they overfit, with the generalist's soft targets and without. Then what
section 8 leaves open: a network that goes on from the generalist learns what the committee says of numbered views.

Three hours of a CPU core that computes in bfloat16; ``--set gate=resnet:depth=8`` adds section 7's mixture, in hours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from limbeck.distillation.experiment import Experiment
from limbeck.distillation.sources import network_from
from limbeck.errors import require_positive
from limbeck.jobs import runner_from
from limbeck.objectives import Distillation, HardLabels
from limbeck.recipes import committee_baselines as baselines
from limbeck.recipes import committee_tables as tables
from limbeck.recipes import committees
from limbeck.recipes.cifar import AUGMENTATIONS, augmented
from limbeck.recipes.data import open_data
from limbeck.recipes.folding import folded_students, observe_folding
from limbeck.recipes.scalings import observe_scalings
from limbeck.reproduction import Claim
from limbeck.teachers import Teacher
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
    Fraction("generalists", "test_accuracy", "As many generalists, trained as long as the specialists, together."),
    Points("committee", "test_accuracy_over_generalists_low_end", "Specialists beat as many generalists: the 95 % "
           "interval lies at 0 or above.", at_least=0),
    Claim("with_soft_targets", "overfitting_less_low_end", "With soft targets, a specialist of a full softmax (6.1) "
          "overfits less: the 95 % interval lies at 0 or above.", unit="nats", at_least=0),
    Points("folded", "test_accuracy_gained_low_end", "The committee's student is better than the generalist: the 95 % "
           "interval lies at 0 or above.", at_least=0),
    Fraction("folded", "gain_kept", "It keeps 80 % of what the committee gains.", at_least=0.8),
    Points("folded", "test_accuracy_over_from_generalist", "The same, less that of the generalist's student."),
]  # fmt: skip
DEPARTURES = [
    "Tiny ImageNet at 32 x 32, and a network of a million weights: 200 classes instead of 15,000.",
    "Every class is in a set, most of them in one; the paper's 61 sets of 300 leave half of the images to none. So "
    "accuracy among the specialists' classes is plain accuracy, unless each set is taken by itself.",
    "One generalist; seeds are those of specialists and students, so intervals do not tell what another would give.",
    "The dustbin's offset is by Bayes' rule, off the paper's words by log 2; validation chooses a specialist's epoch.",
    "The fold of the first seed's committee is ours, and so is the comparison with generalists.",
]
RECIPE = TrainConfig(num_epochs=24, batch_size=128, learning_rate=0.1, schedule="one_cycle")
SPECIAL_RECIPE = TrainConfig(num_epochs=2, batch_size=128, learning_rate=0.02, schedule="cosine")
STUDENT_RECIPE = replace(SPECIAL_RECIPE, num_epochs=4)


@dataclass(frozen=True)
class Settings:
    """What a run is made of. A network's architecture is text of the zoo."""

    data: str = "tiny-imagenet-32"  # ours; paper: 100 million images of 15,000 classes
    num_train: int = 0  # ours; training images, 0 for all that are not validation
    num_validation: int = 5000  # ours; training images that choose epochs and n
    generalist: str = "vgg8:width=0.5"  # ours; all others have its shape
    generalist_recipe: TrainConfig = RECIPE  # ours
    generalist_seed: int = 0  # of the mixture, too
    plan: str = "kmeans:20x15"  # ours; paper: 61 sets of 300 classes, K-means on the columns of the covariance
    specialist_recipe: TrainConfig = SPECIAL_RECIPE  # ours; half of each batch is special; also of generalists, mixture
    nums_top_classes: tuple[int, ...] = (1, 2, 3, 5, 8)  # of which validation chooses n; paper: 1
    sweep: tuple[str, ...] = ()  # other plans, on validation images, of the first seed: kmeans:40x15, spectral:10x30
    overfit_sets: int = 3  # specialists of section 6.1's test, which train so many epochs:
    overfit_epochs: int = 8
    gate: str = ""  # of a mixture; none where empty
    student_recipe: TrainConfig = STUDENT_RECIPE  # ours; from the generalist's weights
    num_views: int = 2  # ours; of each image, for students; all others see new ones
    temperature: float = 2.0  # ours; of the fold, and of 6.1's soft targets
    soft_weight: float = 0.9  # ours; of T² KL(teacher || student)
    hard_weight: float = 0.1  # ours
    view_seed: int = 0
    jobs: str = "processes:2"  # where specialists train: also "serial", "ray"
    held_out: int = 0  # training images measured in place of the test set: for the search of settings
    seeds: tuple[int, ...] = (0, 1, 2)  # of specialists, generalists that go on, and students

    def __post_init__(self) -> None:
        runner_from(self.jobs)
        committees.PlanSpec.require((self.plan, *self.sweep))
        for number in (*self.nums_top_classes, self.overfit_sets, self.overfit_epochs, self.num_views):
            require_positive("Each of nums_top_classes, overfit_sets, overfit_epochs and num_views", number)
        network_from(self.gate or self.generalist)
        self.fold_objective()

    def fold_objective(self) -> Distillation:
        """Return what the students minimise."""
        return Distillation(temperature=self.temperature, soft_weight=self.soft_weight, hard_weight=self.hard_weight)


SMOKE = Settings(
    num_train=1000, num_validation=1000, generalist="convnet:channels=4x8", gate="convnet:channels=4x8",
    generalist_recipe=replace(RECIPE, num_epochs=2), specialist_recipe=replace(SPECIAL_RECIPE, num_epochs=1),
    plan="kmeans:3x80", nums_top_classes=(1, 2), sweep=("spectral:2x80",), overfit_sets=2, overfit_epochs=1,
    jobs="serial", student_recipe=replace(RECIPE, num_epochs=2), seeds=(0, 1),
)  # fmt: skip


def run(settings: Settings, experiment: Experiment) -> None:
    """Train generalist, specialists, mixture and students, choose n by validation, and read the test set."""
    images = open_data(
        experiment, settings.data, held_out=settings.held_out, num_train=settings.num_train,
        num_validation=settings.num_validation,
    )  # fmt: skip
    committees.PlanSpec.require((settings.plan, *settings.sweep), num_classes=images.num_classes)
    seeds, first, shown = settings.seeds, settings.seeds[0], partial(augmented, images)
    clean, views = shown((), seed=0), shown(AUGMENTATIONS, seed=settings.view_seed + 1)
    generalist = experiment.train(
        "generalist", settings.generalist, samples=images, objective=HardLabels(), views=views,
        recipe=settings.generalist_recipe, seed=settings.generalist_seed,
    )  # fmt: skip
    covariance = committees.Covariance.of(experiment, generalist, images, views=clean)
    committees.show_plan(experiment, covariance, plan := covariance.plan(settings.plan))
    further: committees.TrainingFurther = {"samples": images, "recipe": settings.specialist_recipe, "views": views}
    committee = partial(committees.trained_committee, experiment, generalist, **further, jobs=settings.jobs)
    choose = partial(committees.choose_num_top_classes, experiment, candidates=settings.nums_top_classes, views=clean)
    special = {seed: committee(plan, seed=seed) for seed in seeds}
    num_top_classes = choose(special, "committee")
    for other in settings.sweep:
        choose({first: committee(covariance.plan(other), seed=first)}, other)
    ensembles = partial(baselines.generalists_trained_further, experiment, generalist, plan, **further)
    together: dict[str, Mapping[int, Teacher]] = {
        "committee": {seed: one.teacher(num_top_classes=num_top_classes) for seed, one in special.items()},
        "generalists": ensembles(seeds=seeds, jobs=settings.jobs),
    }
    baselines.measure_overfitting(
        experiment, partial(committee, seed=first, variant="full_softmax", temperature=settings.temperature), plan,
        num_sets=settings.overfit_sets, recipe=replace(settings.specialist_recipe, num_epochs=settings.overfit_epochs),
    )  # fmt: skip
    mixture = baselines.mixture_trained_further(
        experiment, generalist, num_experts=len(plan.class_sets), gate=settings.gate, **further
    )
    students = folded_students(
        experiment, images, generalist, together["committee"][first], recipe=settings.student_recipe, seeds=seeds,
        views=shown(AUGMENTATIONS, seed=settings.view_seed), num_views=settings.num_views, jobs=settings.jobs,
        objective=settings.fold_objective(),
    )  # fmt: skip
    predictions = tables.evaluate_all(experiment, (generalist, *mixture, *students), together, views=clean)
    tables.observe_tables(experiment, predictions, plan.class_numbers())
    tables.observe_cost(experiment, special, (*mixture, *students))
    observe_folding(experiment, predictions, folded_seed=first)
    observe_scalings(experiment, {"generalist": generalist, "committee": together["committee"][first]}, views=clean)
    tables.draw(experiment, candidates=settings.nums_top_classes, plans=(settings.plan, *settings.sweep))
