"""Every number and choice of a job that is not data or a network, validated, JSON-able."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from limbeck.data import augmentations_from
from limbeck.errors import InvalidValue, require_fraction, unknown_name
from limbeck.objectives import Distillation
from limbeck.teachers import POOLINGS
from limbeck.training import Recipe


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
class DistillSettings(TrainSettings):
    """Settings of a distillation job."""

    temperature: float = 4.0  # T of the soft targets
    hard_weight: float = 0.1  # of the labels' cross-entropy at T = 1
    soft_weight: float = 0.9  # of T² KL(teacher || student)
    teacher_weights: tuple[float, ...] | None = None  # one for each teacher; equal where not given
    pooling: str = "arithmetic"  # of several teachers: "arithmetic" or "geometric"
    teacher_recipe: Recipe | None = None  # of teachers that are trained here; the student's where not given
    teacher_augmentations: tuple[str, ...] | None = None  # likewise
    teacher_seed: int = 0  # teacher k is trained from seed teacher_seed + k
    codec: str = "dense16"  # of the soft targets that the job stores: "auto", "dense16", "dense8", "sparse", "lowrank"

    def __post_init__(self) -> None:
        TrainSettings.__post_init__(self)
        self.objective()
        augmentations_from(self.teacher_augmentations or ())
        if self.pooling not in POOLINGS:
            raise unknown_name("pooling", self.pooling, POOLINGS)

    def objective(self) -> Distillation:
        """Return what the distilled student minimises."""
        return Distillation(temperature=self.temperature, hard_weight=self.hard_weight, soft_weight=self.soft_weight)
