"""The recipes on compressed clips: teachers and students of three streams, and the ways that students learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from limbeck.data import Samples
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.trained import TrainedNetwork
from limbeck.errors import InvalidValue, unknown_name
from limbeck.models import FusedNetwork
from limbeck.objectives import Distillation, HardLabels, Objective
from limbeck.recipes.soft_targets import collect_targets
from limbeck.recipes.streams import STREAMS, clip_views, fused, only, teacher_weights
from limbeck.teachers import Teacher
from limbeck.training import TrainConfig

ON_LABELS = ("labels", "joint_labels")
DISTILLED = ("own", "equal", "fitted", "joint")
WAYS = ("labels", "own", "equal", "fitted")  # of the record
RECIPE = TrainConfig(num_epochs=30, batch_size=64, learning_rate=0.2, schedule="one_cycle")
Weights = dict[tuple[str, str], list[float]]  # of the teachers, by pooling and the way to find them


def streams_of(channels: str) -> dict[str, str]:
    """Return a small convolutional network for each stream.

    Example:
        >>> streams_of("4x8")["motion"]
        'convnet:channels=4x8'
    """
    return dict.fromkeys(STREAMS, f"convnet:channels={channels}")


@dataclass(frozen=True)
class Regime:
    """Networks, and how they learn. An architecture is text of the zoo; each looks at its stream.

    A student learns in one of six ways. Each stream's by itself, fused afterwards with weights that validation finds:
    from "labels", from its "own" stream's teacher, from the mean of the three with "equal" weights (arithmetic, the
    paper's) or with "fitted" ones (geometric). Or the three as one network that adds their logits: "joint_labels" from
    labels, "joint" from the teachers' geometric mean with fitted weights. The last two lost to the others on validation
    clips (docs/log.md) and are not among those of the record.
    """

    teacher: dict[str, str] = field(default_factory=lambda: streams_of("16x32x64"))  # ours
    student: dict[str, str] = field(default_factory=lambda: streams_of("10x20x40"))  # ours
    teacher_recipe: TrainConfig = RECIPE  # ours
    student_recipe: TrainConfig = RECIPE  # ours; the same for every way
    ways: tuple[str, ...] = WAYS  # ours
    augmentations: tuple[str, ...] = ("segments", "flip", "crop:2")  # ours; drawn segments: CoViAR
    num_views: int = 30  # ours; views that teachers are asked about, shown in turn: a new one in every epoch
    temperature: float = 2.0  # ours
    joint_temperature: float = 1.0  # ours; the mean of three streams' logits is flatter than one stream's
    soft_weight: float = 0.9  # ours; of T² KL(weighted mean || student)
    hard_weight: float = 0.1  # ours
    given_weights: tuple[float, ...] = (2.0, 1.0, 1.0)  # CoViAR's fusion of its streams
    fuse_pooling: str = "geometric"  # ours; CoViAR sums scores before the softmax

    def __post_init__(self) -> None:
        for way in self.ways:
            if way not in (*ON_LABELS, *DISTILLED):
                raise unknown_name("way to learn", way, (*ON_LABELS, *DISTILLED))
        if not set(ON_LABELS) & set(self.ways) or not set(DISTILLED) & set(self.ways):
            raise InvalidValue(
                "Students are compared with others.",
                received=", ".join(self.ways),
                expected=f"one of {', '.join(ON_LABELS)}, and one of {', '.join(DISTILLED)}",
            )


SMALL = Regime(  # for a test of the whole path
    teacher=streams_of("4x8"),
    student=streams_of("2x4"),
    teacher_recipe=replace(RECIPE, num_epochs=1),
    student_recipe=replace(RECIPE, num_epochs=1),
    ways=(*ON_LABELS, *DISTILLED),
    num_views=2,
)


def train_teachers(experiment: Experiment, clips: Samples, regime: Regime, *, seed: int) -> list[TrainedNetwork]:
    """Return a teacher for each stream, trained on labels."""
    views = clip_views(regime.augmentations, seed=seed)
    return [
        experiment.train(
            f"teacher-{stream}", f"on:{stream}:{regime.teacher[stream]}", samples=clips, seed=seed, views=views,
            objective=HardLabels(), recipe=regime.teacher_recipe,
        )
        for stream in STREAMS
    ]  # fmt: skip


def train_students(
    experiment: Experiment, clips: Samples, teachers: Sequence[TrainedNetwork], regime: Regime, *, seed: int
) -> dict[str, FusedNetwork]:
    """Return the fused students of each way: same start for all that learn apart, same views in the same order."""
    views = clip_views(regime.augmentations, seed=seed)
    weights = teacher_weights(experiment, teachers, given=regime.given_weights)
    targets = partial(collect_targets, experiment, teachers, clips, views=views, num_views=regime.num_views)
    learn = partial(
        experiment.train, samples=clips, seed=seed, views=views, num_views=regime.num_views,
        recipe=regime.student_recipe,
    )  # fmt: skip
    specs = {stream: f"on:{stream}:{regime.student[stream]}" for stream in STREAMS}
    students: dict[str, FusedNetwork] = {}
    for way in regime.ways:
        temperature = regime.joint_temperature if way == "joint" else regime.temperature
        soft = Distillation(temperature=temperature, soft_weight=regime.soft_weight, hard_weight=regime.hard_weight)
        objective: Objective = HardLabels() if way in ON_LABELS else soft
        if way in ("joint", "joint_labels"):
            teacher = None if way in ON_LABELS else targets(weights=weights["geometric", "fitted"], pooling="geometric")
            module = learn(way, "fused:" + "+".join(specs.values()), objective=objective, teacher=teacher).module
            assert isinstance(module, FusedNetwork), "its spec says so"
            students[way] = module
            continue
        apart = [
            learn(f"{way}-{stream}", spec, objective=objective, teacher=_apart(way, stream, targets, weights))
            for stream, spec in specs.items()
        ]
        students[way] = fused(experiment, apart, pooling=regime.fuse_pooling)
    return students


def _apart(way: str, stream: str, targets: partial[Teacher], weights: Weights) -> Teacher | None:
    """Return what the student of one stream learns from beside the labels."""
    if way in ON_LABELS:
        return None
    if way == "own":
        return targets(weights=only(stream))
    pooling = "geometric" if way == "fitted" else "arithmetic"
    return targets(weights=weights[pooling, way], pooling=pooling)
