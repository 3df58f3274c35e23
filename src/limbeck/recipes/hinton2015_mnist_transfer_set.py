"""Hinton 2015, the transfer set on MNIST: what a student keeps when it sees no label, and when it sees no MNIST.

The teacher is that of section 3's table. Its 800-800 students see no label (hard weight 0): only its soft targets at
T = 20, on MNIST's own images, on jittered views of them, on mixtures of two, on scikit-learn's 8x8 digits (enlarged to
the 20 pixels that MNIST's take and framed as those are), on CIFAR-10's photographs (grey, cropped), and on noise. Every
student takes the same number of steps. Views 0 to 19 are answered once and shown in turn.

The full run takes about two hours on two CPU cores where ``hinton2015-mnist`` was run (its teacher and its students are
found), otherwise an hour more. ``--set elsewhere=digits`` leaves the photographs out, a download of 170 MB.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from limbeck.data import Samples, Views, augmentations_from
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.predictions import Predictions
from limbeck.objectives import Distillation, HardLabels
from limbeck.recipes.comparing import observe_difference
from limbeck.recipes.data import load_samples, open_data
from limbeck.recipes.evaluation import evaluate
from limbeck.recipes.hinton2015_mnist import STUDENT_RECIPE
from limbeck.recipes.mnist_teacher import (
    SMOKE_TEACHER_RECIPE,
    TEACHER,
    TEACHER_DEPARTURE,
    TEACHER_RECIPE,
    section_teacher,
)
from limbeck.recipes.soft_targets import collect_targets
from limbeck.recipes.transfer_sets import from_elsewhere, noise_images, without_labels
from limbeck.reproduction import Claim, Figure, Series
from limbeck.training import TrainConfig, count_batches

PAPER = "Hinton, Vinyals, Dean 2015, Distilling the Knowledge in a Neural Network, arXiv:1503.02531, section 2"
CLAIMS = [
    Claim("unlabelled", "test_errors", "A transfer set may be unlabelled: the student still makes no more errors than "
          "the paper's, which saw labels too (74).", at_most=74),
    Claim("jittered", "test_errors", "Jittered images, unlabelled, serve as well.", at_most=74),
    Claim("mixed", "test_errors", "So do mixtures of two images, of which no label is true.", at_most=74),
    Claim("digits", "accuracy_kept", "1,438 digits from elsewhere, unlabelled, keep nine tenths of the teacher's "
          "accuracy.", at_least=0.9, unit="fraction"),
    Claim("noise", "accuracy_kept", "What noise alone keeps of it.", unit="fraction"),
]  # fmt: skip
DEPARTURES = [
    TEACHER_DEPARTURE,
    "Section 2 says that the transfer set may be unlabelled, and gives no numbers on MNIST: the goals are ours.",
]
MNIST_DIGIT_PIXELS = 20  # MNIST's digits fill 20x20 of their 28x28 pixels


@dataclass(frozen=True)
class Settings:
    """What a run is made of. A network's architecture is text of the zoo."""

    teacher: str = TEACHER  # paper: 1200-1200, dropout, squared norm of incoming weights at most 15
    jitter_pixels: int = 2  # paper; of the teacher's images, and of the jittered transfer set
    teacher_recipe: TrainConfig = TEACHER_RECIPE  # ours; that of hinton2015-mnist
    teacher_seed: int = 0  # ours; the paper has one teacher
    student: str = "mlp:widths=800x800"  # paper; no regularisation
    student_recipe: TrainConfig = STUDENT_RECIPE  # ours; its epochs are counted in passes over MNIST, whatever is shown
    temperature: float = 20.0  # paper
    soft_weight: float = 0.9  # ours
    hard_weight: float = 0.1  # ours; of the one condition with labels
    mixup_concentration: float = 1.0  # ours; any weight of a mixture is as likely as any other
    num_views: int = 20  # ours; jittered and mixed views
    view_seed: int = 0  # of jitter, mixtures and noise
    elsewhere: tuple[str, ...] = ("digits", "cifar10")  # ours; data sets whose images are shown
    held_out: int = 0  # training images measured in place of the test set
    seeds: tuple[int, ...] = (0, 1, 2)  # of the students


SMOKE = Settings(
    teacher_recipe=SMOKE_TEACHER_RECIPE,
    student_recipe=replace(STUDENT_RECIPE, num_epochs=2, batch_size=100),
    num_views=2,
    elsewhere=("digits",),  # nothing is downloaded
    seeds=(0, 1),
)


def run(settings: Settings, experiment: Experiment) -> None:
    """Train the teacher, ask it about every transfer set, train the students, and read the test set."""
    images = open_data(experiment, "mnist", held_out=settings.held_out)
    teacher = section_teacher(settings, experiment, images)
    without = Distillation(temperature=settings.temperature, soft_weight=settings.soft_weight, hard_weight=0.0)
    labelled = replace(without, hard_weight=settings.hard_weight)
    recipe, steps = settings.student_recipe, count_batches(len(images), settings.student_recipe.batch_size)
    students = []
    sets = {
        "hard_labels": (images, Views()),
        "distilled": (images, Views()),
        **_transfer_sets(settings, experiment, images),
    }
    for name, (samples, views) in sets.items():
        num_views = None if views.is_constant else settings.num_views
        objective = {"hard_labels": HardLabels(), "distilled": labelled}.get(name, without)
        collected = collect_targets(experiment, teacher, samples, views=views, num_views=num_views)
        students += [
            experiment.train(
                name, settings.student, samples=samples, views=views, num_views=num_views, objective=objective,
                teacher=collected, recipe=recipe, steps_per_epoch=steps, seed=seed,
            )
            for seed in settings.seeds
        ]  # fmt: skip
    known = evaluate(experiment, teacher, condition="teacher", seed=teacher.seed)
    predictions: dict[str, dict[int, Predictions]] = {name: {} for name in sets}
    for network in students:
        seed = network.seed or 0
        predictions[network.role][seed] = evaluate(experiment, network, condition=network.role, seed=seed)
        kept = predictions[network.role][seed].accuracy / known.accuracy
        experiment.results.observe(network.role, seed, "accuracy_kept", kept, "fraction")
    errors = {name: {seed: found.errors for seed, found in runs.items()} for name, runs in predictions.items()}
    for name in ("unlabelled", "jittered", "mixed"):
        what = f"Errors of the student of {name} images, less those of the one with labels too"
        quantity = experiment.quantity("errors_beyond_labelled")
        observe_difference(experiment, name, quantity, errors["distilled"], errors[name], what=what)
    _draw(experiment, list(sets))


def _transfer_sets(settings: Settings, experiment: Experiment, images: Samples) -> dict[str, tuple[Samples, Views]]:
    """Return the unlabelled transfer sets and their views, by condition."""
    own = without_labels(images)
    sets = {"unlabelled": (own, Views())}
    for name, words in (
        ("jittered", f"jitter:{settings.jitter_pixels}"),
        ("mixed", f"mixup:{settings.mixup_concentration}"),
    ):
        sets[name] = (own, Views(augmentations_from([words]), seed=settings.view_seed))
    for name in settings.elsewhere:
        size = MNIST_DIGIT_PIXELS if name == "digits" else None
        sets[name] = (from_elsewhere(load_samples(experiment, name, image_size=size), like=images), Views())
    sets["noise"] = (noise_images(like=images, seed=settings.view_seed), Views())
    return sets


def _draw(experiment: Experiment, names: list[str]) -> None:
    places = {"teacher": "teacher", "hard_labels": "labels\nalone", "distilled": "soft targets\nand labels"}
    conditions = ["teacher", *names]
    experiment.results.draw(
        Figure(
            kind="points",
            title="Errors by what the student was shown",
            how_to_read="From the fourth place on, no student saw a label. The scale is logarithmic.",
            quantity=experiment.quantity("errors"),
            value_label=f"errors on {experiment.num_evaluated:,} images",
            places=[places.get(name, f"{name},\nno label") for name in conditions],
            series=[Series("one run", conditions)],
            log_values=True,
        )
    )
