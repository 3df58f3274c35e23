"""Every number and choice of a job that is not data or a network, validated, JSON-able."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from limbeck.data import augmentations_from
from limbeck.errors import InvalidValue, require_fraction, unknown_name
from limbeck.objectives import Distillation, MutualLearning, SelfDistillation
from limbeck.teachers import POOLINGS
from limbeck.training import UPDATES, Recipe


def seed_numbers(seeds: int | Sequence[int]) -> tuple[int, ...]:
    """Return the seeds that are meant: 3 stands for 0, 1, 2."""
    return tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """What ``limbeck train`` and ``limbeck distill`` share.

    Raises:
        InvalidValue: a number outside its range.
        UnknownName: an augmentation or another name that is not there.
    """

    recipe: Recipe = field(default_factory=Recipe)  # of the student, with and without a teacher
    augmentations: tuple[str, ...] = ()  # of the student's inputs: "jitter:2", "crop:4:reflect", "flip", "mixup:0.2"
    num_views: int | None = (
        None  # augmented views of each sample, shown in turn; a new one in every pass where not given
    )
    view_seed: int = 0  # of views that are shown in turn, the same for all seeds; new views follow each run's seed
    seeds: tuple[int, ...] = (0, 1, 2)  # one run each: initial weights, order, augmentation, dropout
    num_labelled: int | None = None  # labels kept in the training set, stratified; the others become unlabelled
    validation_fraction: float = 0.1  # held out from train where no validation split is given
    split_seed: int = 0  # of the held-out split and of the labels kept

    def __post_init__(self) -> None:
        augmentations_from(self.augmentations)
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or any(seed < 0 for seed in self.seeds):
            raise InvalidValue(
                "seeds must be different whole numbers of at least 0.",
                received=list(self.seeds),
                expected="like 0, 1, 2",
            )
        if self.num_labelled is not None and self.num_labelled < 1:
            raise InvalidValue("num_labelled must be above 0.", received=self.num_labelled, expected=">= 1")
        if self.num_views is not None and (self.num_views < 1 or not self.augmentations):
            raise InvalidValue(
                "num_views must be above 0, and needs augmentations to view.",
                received=f"num_views {self.num_views}, augmentations {list(self.augmentations)}",
                expected="num_views >= 1 with augmentations, or neither",
            )
        require_fraction("validation_fraction", self.validation_fraction, below_one=True)

    def describe(self) -> dict[str, Any]:
        """Return every setting with its value, JSON-able."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True)
class TaughtSettings(TrainSettings):
    """What jobs with teachers share: how teachers are made and pooled, and how their answers are kept."""

    teacher_weights: tuple[float, ...] | None = None  # one for each teacher; equal where not given
    pooling: str = "arithmetic"  # of several teachers: "arithmetic" or "geometric"
    teacher_recipe: Recipe | None = None  # of teachers that are trained here; the student's where not given
    teacher_augmentations: tuple[str, ...] | None = None  # likewise
    teacher_seed: int = 0  # teacher k is trained from seed teacher_seed + k
    codec: str = "dense16"  # of the soft targets that the job stores: "auto", "dense16", "dense8", "sparse", "lowrank"

    def __post_init__(self) -> None:
        TrainSettings.__post_init__(self)
        augmentations_from(self.teacher_augmentations or ())
        if self.pooling not in POOLINGS:
            raise unknown_name("pooling", self.pooling, POOLINGS)


@dataclass(frozen=True, kw_only=True)
class DistillSettings(TaughtSettings):
    """Settings of a distillation job."""

    temperature: float = 4.0  # T of the soft targets
    hard_weight: float = 0.1  # of the labels' cross-entropy at T = 1
    soft_weight: float = 0.9  # of T² KL(teacher || student)

    def __post_init__(self) -> None:
        TaughtSettings.__post_init__(self)
        self.objective()

    def objective(self) -> Distillation:
        """Return what the distilled student minimises."""
        return Distillation(temperature=self.temperature, hard_weight=self.hard_weight, soft_weight=self.soft_weight)


@dataclass(frozen=True, kw_only=True)
class MutualSettings(TaughtSettings):
    """Settings of a job of mutual learning."""

    temperature: float = 1.0  # T of the peers' and the teacher's soft targets
    hard_weight: float = 1.0  # of the labels' cross-entropy at T = 1
    soft_weight: float = 1.0  # of T² KL(peer || network), mean over the peers
    beside_weight: float = 0.0  # of T² KL(teacher || network), a frozen teacher's beside the peers
    targets: str = "each"  # "each" peer for itself, or their "mean"
    update: str = "alternating"  # or "simultaneous"

    def __post_init__(self) -> None:
        TaughtSettings.__post_init__(self)
        self.objective()
        if self.update not in UPDATES:
            raise unknown_name("update", self.update, UPDATES)

    def objective(self) -> MutualLearning:
        """Return what every network of the cohort minimises."""
        return MutualLearning(
            temperature=self.temperature,
            hard_weight=self.hard_weight,
            soft_weight=self.soft_weight,
            teacher_weight=self.beside_weight,
            targets=self.targets,
        )


@dataclass(frozen=True, kw_only=True)
class SelfSettings(TrainSettings):
    """Settings of a job of self-distillation."""

    exits: tuple[str, ...]  # paths of modules in the student
    deepest: str | None = None  # path of the features that the exits' imitate; the last feature map where not given
    temperature: float = 3.0  # T of the deepest exit's soft targets
    hard_weight: float = 0.7  # of the labels at each exit but the last
    soft_weight: float = 0.3  # of T² KL(last exit || exit)
    hint_weight: float = 0.03  # of the squared distance from the deepest features, mean over elements
    tolerance: float = 0.005  # accuracy on validation that answers on the way may cost, as a fraction of samples

    def __post_init__(self) -> None:
        TrainSettings.__post_init__(self)
        self.objective()
        require_fraction("tolerance", self.tolerance)

    def objective(self) -> SelfDistillation:
        """Return what the self-distilled network minimises."""
        return SelfDistillation(
            temperature=self.temperature,
            hard_weight=self.hard_weight,
            soft_weight=self.soft_weight,
            hint_weight=self.hint_weight,
        )
