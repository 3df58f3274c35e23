"""Wu 2019, compressed video: three streams, weighted teachers, students that are fused into one network.

Clips are read as they are coded: I-frames, motion vectors and residuals, each a stream with a teacher of its own. A
small student for each stream learns from the weighted mean of the three teachers' tempered distributions, q = sum of
mu_k q_k over the sum of mu_k, and the students' outputs are fused by a weighted mean into the answer.

The clips are made here: handwritten digits that slide, bounce, turn or grow over moving backgrounds, encoded by x264. A
class is a digit and a way to move, so that no stream alone is enough. ``--set data=grid-colour`` runs the same on real
lips: words of GRID, cut by their times.

Each student learns four ways, from the same start, on the same views in the same order: from labels, from its own
stream's teacher, from the paper's mean of the three with equal weights, and from their geometric mean with weights that
are fitted on validation clips. The test clips are read once. Teachers learn longer than students: one that students on
labels surpass has nothing to teach.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from limbeck.distillation.experiment import Experiment
from limbeck.distillation.trained import TrainedNetwork
from limbeck.objectives import Distillation, HardLabels
from limbeck.recipes.compressed_video import compare, draw, measure
from limbeck.recipes.data import open_data
from limbeck.recipes.soft_targets import collect_targets
from limbeck.recipes.streams import STREAMS, clip_views, only, teacher_weights
from limbeck.reproduction import Claim
from limbeck.teachers import Teacher
from limbeck.training import TrainConfig

PAPER = "Wu, Chiu, Wu 2019, Multi-teacher knowledge distillation for compressed video action recognition, ICASSP"
WAYS = ("labels", "own", "equal", "fitted")  # what a student learns from
GAIN, LOST = "test_accuracy_gained", "test_accuracy_lost"
CLAIMS = [
    *(
        Claim(f"teacher_{stream}", "test_accuracy", f"CoViAR's {what} alone on UCF-101.", paper=paper, unit="fraction")
        for stream, what, paper in (("iframe", "I-frames", 0.87), ("motion", "motion vectors", 0.70),
                                    ("residual", "residuals", 0.80))
    ),
    Claim("teachers_fused", "test_accuracy", "CoViAR's three streams fused.", paper=0.905, unit="fraction"),
    *(
        Claim(f"over_{stream}", f"{GAIN}_low_end",
              f"Fused, the teachers are better than {stream} alone: the 95 % interval lies above 0.",
              at_least=0, unit="points")
        for stream in STREAMS
    ),
    Claim("students", "times_less_parameters", "2.4 times fewer parameters.", paper=2.4, at_least=2.4, unit="times"),
    Claim("students", "times_less_computation", "1.2 times less computation.", paper=1.2, at_least=1.5, unit="times"),
    Claim("fitted_fused", LOST, "The fused students lose 1.79 points on UCF-101, 0.35 on HMDB-51.", paper=1.79,
          at_most=0.5, unit="points"),
    Claim("over_labels", f"{GAIN}_low_end",
          "Distilled and fused, the students are better than on labels and fused: the interval lies above 0.",
          at_least=0, unit="points"),
    Claim("over_own", GAIN, "The weighted mean of three teachers against the own stream's alone.",
          unit="points"),
    Claim("over_equal", GAIN, "Fitted weights against equal ones.", unit="points"),
]  # fmt: skip
DEPARTURES = [
    "Synthetic clips of 20 classes, 64 pixels a side, instead of UCF-101 and HMDB-51; 1,200 to learn from.",
    "Convolutional networks of three layers at 32 pixels instead of ResNet-152 and ResNet-18 at 224; each stream's "
    "teacher has twice the student's channels.",
    "Only the abstract and the formula of the soft targets were at hand: temperature, weights of the losses, schedule "
    "and the fusing of logits (as CoViAR fuses scores) are ours.",
    "Three segments a clip, of which the clean view shows the middle frame; CoViAR tests on 25.",
]
RECIPE = TrainConfig(num_epochs=30, batch_size=64, learning_rate=0.2, schedule="one_cycle")
STUDENT_RECIPE = replace(RECIPE, num_epochs=14)


def _channels(text: str) -> dict[str, str]:
    return dict.fromkeys(STREAMS, f"convnet:channels={text}")


@dataclass(frozen=True)
class Settings:
    """What a run is made of. A network's architecture is text of the zoo; each looks at its stream."""

    data: str = "moving-digits"  # paper: UCF-101, HMDB-51
    num_train: int = 0  # ours; training clips, 0 for all
    num_validation: int = 150  # ours; held out where the data have no validation split
    teacher: dict[str, str] = field(default_factory=lambda: _channels("16x32x64"))  # ours
    student: dict[str, str] = field(default_factory=lambda: _channels("10x20x40"))  # ours
    teacher_recipe: TrainConfig = RECIPE  # ours
    student_recipe: TrainConfig = STUDENT_RECIPE  # ours; the same for every way
    augmentations: tuple[str, ...] = ("segments", "flip", "crop:2")  # ours; drawn segments: CoViAR
    num_views: int = 4  # ours; views that teachers are asked about, shown in turn
    temperature: float = 2.0  # ours
    soft_weight: float = 0.9  # ours; of T² KL(weighted mean || student)
    hard_weight: float = 0.1  # ours
    given_weights: tuple[float, ...] = (2.0, 1.0, 1.0)  # CoViAR's fusion of its streams
    fuse_pooling: str = "geometric"  # ours; CoViAR sums scores before the softmax
    held_out: int = 0  # training clips measured in place of the test set: for the search of settings
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)  # of teachers, students, order and views


SMOKE = Settings(
    data="moving-digits-small",
    teacher=_channels("4x8"),
    student=_channels("2x4"),
    teacher_recipe=replace(RECIPE, num_epochs=1),
    student_recipe=replace(RECIPE, num_epochs=1),
    num_views=2,
    seeds=(0, 1),
)


def run(settings: Settings, experiment: Experiment) -> None:
    """Train teachers and students of every stream, choose weights on validation, and read the test clips."""
    clips = open_data(
        experiment, settings.data, held_out=settings.held_out, num_train=settings.num_train,
        num_validation=settings.num_validation, own_validation=True,
    )  # fmt: skip
    teachers: dict[int, list[TrainedNetwork]] = {}
    students: dict[tuple[str, int], list[TrainedNetwork]] = {}
    weights: dict[int, dict[tuple[str, str], list[float]]] = {}
    soft = Distillation(
        temperature=settings.temperature, soft_weight=settings.soft_weight, hard_weight=settings.hard_weight
    )
    for seed in settings.seeds:
        views = clip_views(settings.augmentations, seed=seed)
        train = partial(experiment.train, samples=clips, seed=seed, views=views)
        teachers[seed] = [
            train(f"teacher-{stream}", f"on:{stream}:{settings.teacher[stream]}", objective=HardLabels(),
                  recipe=settings.teacher_recipe)
            for stream in STREAMS
        ]  # fmt: skip
        weights[seed] = teacher_weights(experiment, teachers[seed], given=settings.given_weights)
        targets = partial(collect_targets, experiment, teachers[seed], clips, views=views, num_views=settings.num_views)
        learn = partial(train, recipe=settings.student_recipe, num_views=settings.num_views)
        for way in WAYS:
            students[way, seed] = [
                learn(f"{way}-{stream}", f"on:{stream}:{settings.student[stream]}", objective=HardLabels())
                if way == "labels"
                else learn(
                    f"{way}-{stream}", f"on:{stream}:{settings.student[stream]}", objective=soft,
                    teacher=_mean_of(way, stream, targets, weights[seed]),
                )
                for stream in STREAMS
            ]  # fmt: skip
    measure(settings, experiment, teachers, students, weights)
    compare(experiment, WAYS)
    draw(experiment)


def _mean_of(
    way: str, stream: str, targets: Callable[..., Teacher], weights: dict[tuple[str, str], list[float]]
) -> Teacher:
    """Return what the student of a stream learns from: its own teacher, or a mean of the three."""
    if way == "own":
        return targets(weights=only(stream))
    pooling = "geometric" if way == "fitted" else "arithmetic"
    return targets(weights=weights[pooling, way], pooling=pooling)
