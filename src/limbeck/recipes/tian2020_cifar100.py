"""CIFAR-100's table of distillation: three pairs of networks, by soft targets (KD) and decoupled ones (DKD).

ResNet-32x4 teaches ResNet-8x4, VGG-13 VGG-8, WRN-40-2 WRN-16-2, by the recipe that the field shares: 240 epochs, batch
64, SGD at 0.05, a tenth of it after 150, 180 and 210 epochs. The goal of each row is the published number, less the
standard deviation of our runs. The last epoch counts; the test set is read once.

The teacher runs once for every image and epoch, into a store; its students, and the students alone, see the same views.
For an accelerator, ``--precision bf16``; one pair: ``--set pairs=vgg``. CIFAR-100 is downloaded and checked, or read
from the folder that ``LIMBECK_DATA`` names. Reduced, for two CPU cores, with CIFAR-10, a fifth of its images and a
third of the epochs: ``--set data=cifar10 --set num_train=10000 --set recipe.num_epochs=80 --seeds 3 --set
pairs=wrn``; the published numbers are then not judged, only what a student gains. On one core of a busy
machine about 30 hours: a step of 64 images takes 2.0 s for WRN-40-2 and 0.65 s for each of nine students, in float32.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from limbeck.data import Samples
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.trained import TrainedNetwork
from limbeck.objectives import DecoupledDistillation, Distillation, HardLabels
from limbeck.recipes.cifar import augmented
from limbeck.recipes.cifar100_table import METHODS, PAIRS, claims_of, observe_published
from limbeck.recipes.comparing import observe_gain
from limbeck.recipes.data import open_data
from limbeck.recipes.evaluation import evaluate
from limbeck.recipes.soft_targets import collect_targets
from limbeck.reproduction import Figure, Series
from limbeck.training import TrainConfig

PAPER = (
    "Tian, Krishnan, Isola 2020, Contrastive Representation Distillation, arXiv:1910.10699, table 1; DKD: Zhao et al. "
    "2022, Decoupled Knowledge Distillation, arXiv:2203.08679, table 6"
)
CLAIMS = [claim for pair in PAIRS for claim in claims_of(pair)]
DEPARTURES = [
    "The last epoch counts; published code reports the best one, chosen on the test set.",
    "One teacher for each pair, trained here by the students' recipe, instead of the published weights.",
    "The views of an epoch are the same for all students of a pair, so that the teacher's outputs can be stored.",
    "Weight decay leaves biases and batch norms out; in the published code it does not.",
    "Linear heads start at PyTorch's default; the published VGG draws them at a deviation of 0.01.",
]
RECIPE = TrainConfig(
    num_epochs=240, batch_size=64, learning_rate=0.05, momentum=0.9, nesterov=False, weight_decay=5e-4,
    schedule="step", step_milestones=(150 / 240, 180 / 240, 210 / 240), step_factor=0.1,
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """What a run is made of. A network's architecture is text of the zoo; each pair is teacher and student."""

    data: str = "cifar100"
    num_train: int = 0  # training images, 0 for all that are not validation
    num_validation: int = 0  # training images that choose the epoch; 0: the last epoch counts
    pairs: tuple[str, ...] = tuple(PAIRS)
    resnet: tuple[str, ...] = ("resnet32x4", "resnet8x4")
    vgg: tuple[str, ...] = ("vgg13", "vgg8")
    wrn: tuple[str, ...] = ("wide_resnet:depth=40", "wide_resnet:depth=16")
    recipe: TrainConfig = RECIPE  # papers; of teachers and students
    temperature: float = 4.0  # papers
    soft_weight: float = 0.9  # papers; KD: of T² KL(teacher || student)
    hard_weight: float = 0.1  # papers; KD
    warmup_fraction: float = 20 / 240  # DKD's code: of all epochs, in which the weight of its loss rises from 0
    augmentations: tuple[str, ...] = ("crop:4", "flip")  # papers
    view_seed: int = 0
    teacher_seed: int = 0
    held_out: int = 0  # training images measured in place of the test set: for the search of settings
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)  # papers: five runs


SMOKE = Settings(
    data="cifar10",
    resnet=("convnet:channels=16x16", "convnet:channels=8x8"),
    vgg=("vgg13:width=0.0625", "vgg8:width=0.0625"),
    wrn=("wide_resnet:depth=10,width=0.5", "convnet:channels=8x8"),
    recipe=replace(RECIPE, num_epochs=2),
    warmup_fraction=0.5,
    seeds=(0, 1),
)


def run(settings: Settings, experiment: Experiment) -> None:
    """Train each pair's teacher, store its outputs, train the students, and read the test set."""
    images = open_data(
        experiment,
        settings.data,
        held_out=settings.held_out,
        num_train=settings.num_train,
        num_validation=settings.num_validation,
    )
    trained = [network for pair in settings.pairs for network in _train_pair(settings, experiment, images, pair)]
    clean = augmented(images, (), seed=0)  # for its normalisation
    for network in trained:
        evaluate(experiment, network, condition=network.role, seed=network.seed, views=clean)
    if settings.data == "cifar100" and not settings.num_train and experiment.evaluated_split == "test":
        observe_published(experiment, settings.pairs)
    for pair in settings.pairs:
        for method, name in METHODS.items():
            what = f"Accuracy of {PAIRS[pair].title} by {name}, less labels alone"
            observe_gain(experiment, f"{pair}_{method}", f"{pair}_alone", what=what)
    _draw(settings, experiment)


def _train_pair(settings: Settings, experiment: Experiment, images: Samples, pair: str) -> list[TrainedNetwork]:
    teacher_spec, student_spec = getattr(settings, pair)
    num_epochs = settings.recipe.num_epochs
    learn = partial(
        experiment.train, samples=images, recipe=settings.recipe, validation=experiment.data.validation,
    )  # fmt: skip
    teacher = learn(
        f"{pair}_teacher", teacher_spec, objective=HardLabels(), seed=settings.teacher_seed,
        views=augmented(images, settings.augmentations, seed=settings.view_seed + 1),
    )  # fmt: skip
    views = augmented(images, settings.augmentations, seed=settings.view_seed)
    collected = collect_targets(experiment, teacher, images, views=views, num_views=num_epochs)
    objectives = {
        "alone": HardLabels(),
        "kd": Distillation(
            temperature=settings.temperature, soft_weight=settings.soft_weight, hard_weight=settings.hard_weight
        ),
        "dkd": DecoupledDistillation(
            temperature=settings.temperature, soft_weight=1.0, hard_weight=1.0, target_weight=1.0,
            others_weight=PAIRS[pair].others_weight, warmup_views=settings.warmup_fraction * num_epochs,
        ),
    }  # fmt: skip
    students = [
        learn(f"{pair}_{name}", student_spec, objective=objective, seed=seed, views=views, num_views=num_epochs,
              teacher=collected)
        for seed in settings.seeds
        for name, objective in objectives.items()
    ]  # fmt: skip
    return [teacher, *students]


def _draw(settings: Settings, experiment: Experiment) -> None:
    conditions = ["teacher", "alone", *METHODS]
    experiment.results.draw(
        Figure(
            kind="points",
            title="Three pairs",
            how_to_read="Students of one shape, one recipe and the same views.",
            quantity=experiment.quantity("accuracy"),
            value_label=f"accuracy (%), {experiment.num_evaluated:,} images",
            places=["teacher", "student\nlabels alone", *METHODS.values()],
            series=[Series(PAIRS[pair].title, [f"{pair}_{name}" for name in conditions]) for pair in settings.pairs],
        )
    )
