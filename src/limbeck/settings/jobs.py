"""The settings of every job: what ``limbeck.distill`` and its kin take in Python, and configuration files with them."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le

from limbeck.errors import InvalidValue
from limbeck.settings.checking import check
from limbeck.settings.setting import (
    Count,
    FractionBelowOne,
    NotNegative,
    NotNegativeCount,
    SeedNumber,
    Setting,
    as_plain,
    fields_of,
)
from limbeck.settings.train_config import TrainConfig

Weighting = Literal["equal", "accuracy", "fitted"]
Pooling = Literal["arithmetic", "geometric"]
PeerTargets = Literal["each", "mean"]
Update = Literal["alternating", "simultaneous"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
TrackerName = Literal["tensorboard", "wandb", "mlflow", "trackio"]
Sharding = Literal["none", "full"]
ProgressName = Literal["auto", "bar", "plain", "silent"]
POOLINGS: tuple[Pooling, ...] = typing.get_args(Pooling)
UPDATES: tuple[Update, ...] = typing.get_args(Update)
PRECISIONS: tuple[Precision, ...] = typing.get_args(Precision)

Temperature = Annotated[float, Gt(0), Le(1_000_000), Setting("Temperature T of the soft targets.", "loss", short="-T")]
Seeds = Annotated[
    int | Sequence[int],
    Setting("Number of runs (seeds 0, 1, ...), or the seeds themselves: 0,3,7.", "training", separator=","),
]
HardWeight = Annotated[float, Ge(0), Setting("Weight of the labels' loss.", "loss")]
SoftWeight = Annotated[float, Ge(0), Setting("Weight of the soft targets' loss.", "loss")]
Device = Annotated[str, Setting("Device: auto, cpu, cuda, cuda:1, mps.", "machine")]
ForwardPrecision = Annotated[Precision, Setting("Precision of forward passes; weights stay float32.", "machine")]


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Where a job runs and what it writes."""

    device: Device = "auto"
    num_workers: Annotated[
        NotNegativeCount | None,
        Setting(
            "Processes that read and make batches; the batches are the same for any number.",
            "machine",
            flag="--workers",
            unset="0, or the DataLoader's",
        ),
    ] = None
    precision: ForwardPrecision = "auto"
    compile: Annotated[
        bool, Setting("Take training's steps through torch.compile: the same up to rounding.", "machine")
    ] = False
    student_sharding: Annotated[
        Sharding, Setting("Share students' weights and optimiser state out among ranks (FSDP2), or not.", "machine")
    ] = "none"
    log: Annotated[
        Sequence[TrackerName],
        Setting("Tracker that gets every epoch, beside events.jsonl; repeat for more.", "output", unset="none"),
    ] = ()
    out: Annotated[
        str | Path | None,
        Setting("Folder to write; a stopped run in it goes on.", "output", unset="runs/...", is_key=False),
    ] = None
    overwrite: Annotated[bool, Setting("Remove the run that is in the folder.", "output", is_key=False)] = False


@dataclass(frozen=True, kw_only=True)
class TrainSettings(RunSettings):
    """Settings that every job has.

    Raises:
        InvalidValue: a number outside its range.
    """

    recipe: Annotated[TrainConfig, Setting("How the student is trained, with and without a teacher.", "training")] = (
        field(default_factory=TrainConfig)
    )
    augmentations: Annotated[
        Sequence[str],
        Setting(
            "Augmentation of the student's inputs: jitter:2, crop:4:reflect, flip, mixup:0.2; repeat for more.",
            "data",
            flag="--augment",
            unset="none",
        ),
    ] = ()
    num_views: Annotated[
        Count | None,
        Setting(
            "Number of augmented views of each sample, shown in turn.",
            "data",
            flag="--views",
            unset="a new one each pass",
        ),
    ] = None
    view_seed: Annotated[SeedNumber, Setting("Seed of views that are shown in turn.", "data")] = 0
    seeds: Seeds = 3
    num_labelled: Annotated[
        Count | None,
        Setting(
            "Labels to keep, stratified; the other training samples become unlabelled.",
            "data",
            flag="--labels",
            unset="all",
        ),
    ] = None
    validation_fraction: Annotated[
        FractionBelowOne, Setting("Fraction of train held out where there is no validation split.", "data")
    ] = 0.1
    split_seed: Annotated[SeedNumber, Setting("Seed of the held-out split and of the labels kept.", "data")] = 0

    def __post_init__(self) -> None:
        check(self)
        numbers = self.seed_numbers
        if not numbers or len(set(numbers)) < len(numbers) or min(numbers) < 0:
            raise InvalidValue(
                "seeds must be different whole numbers of at least 0, or how many to run.",
                received=self.seeds,
                expected="like 3, or 0,1,2",
            )
        if self.num_views is not None and not self.has_augmentation:
            raise InvalidValue(
                "num_views needs augmentations to view.",
                received=f"num_views {self.num_views}, no augmentations",
                expected="num_views with augmentations, or neither",
            )

    @property
    def has_augmentation(self) -> bool:
        """Whether one view of a sample differs from the next."""
        return bool(self.augmentations)

    @property
    def seed_numbers(self) -> tuple[int, ...]:
        """The seeds that are meant: 3 stands for 0, 1, 2."""
        return tuple(range(self.seeds)) if isinstance(self.seeds, int) else tuple(self.seeds)

    def describe(self) -> dict[str, Any]:
        """Return every setting that the result depends on, JSON-able; sections as they differ from nothing: whole."""
        described: dict[str, Any] = {}
        for name, (_, _, setting) in fields_of(type(self)).items():
            if setting.is_key and setting.group != "machine":
                described[name] = as_plain(getattr(self, name))
        return described | {"seeds": self.seed_numbers}


@dataclass(frozen=True, kw_only=True)
class SingleSettings(TrainSettings):
    """Settings of ``limbeck.train``: one network on labels."""

    seeds: Seeds = 1


@dataclass(frozen=True, kw_only=True)
class TeacherSettings(TrainSettings):
    """Settings of the jobs that can have teachers: how teachers are made, pooled and stored."""

    teacher_weights: Annotated[
        Sequence[float] | None,
        Setting("Weight of each teacher in the pool, in order.", "teacher", separator=",", unset="equal"),
    ] = None
    teacher_weighting: Annotated[
        Weighting,
        Setting(
            "Weights where none are given, on validation: equal, by accuracy, or fitted by likelihood.",
            "teacher",
        ),
    ] = "equal"
    pooling: Annotated[Pooling, Setting("Mean that pools several teachers' distributions.", "teacher")] = "arithmetic"
    teacher_recipe: Annotated[
        TrainConfig | None, Setting("How teachers are trained here.", "training", unset="the student's")
    ] = None
    teacher_augmentations: Annotated[
        Sequence[str] | None,
        Setting("Augmentation while a teacher is trained.", "teacher", flag="--teacher-augment", unset="the student's"),
    ] = None
    teacher_seed: Annotated[
        SeedNumber, Setting("Seed of the first teacher trained; the next has the next.", "teacher")
    ] = 0
    teacher_class_names: Annotated[
        Sequence[str] | None,
        Setting(
            "Class names of trained teachers in the order of their outputs, or a text file of one a line, where they "
            "know other classes than the data, or another order: classes are matched by name.",
            "teacher",
            separator=",",
            unset="as the teacher says, else the data's",
        ),
    ] = None
    class_map: Annotated[
        Mapping[str, str] | Sequence[str] | None,
        Setting(
            "A teacher's class and the data's, TEACHER=DATA, where names differ; several may go to one, and add up.",
            "teacher",
            unset="by name",
        ),
    ] = None
    allow_missing_classes: Annotated[
        bool,
        Setting("Let a class of the data be none of the teacher's: its probability is 0.", "teacher"),
    ] = False
    codec: Annotated[
        str, Setting("Codec of stored soft targets: auto, dense16, dense8, sparse, lowrank.", "teacher")
    ] = "dense16"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.class_pairs  # noqa: B018  # checks them

    @property
    def maps_classes(self) -> bool:
        """Whether trained teachers are said to know other classes than the data, or another order of them."""
        return self.teacher_class_names is not None or self.class_map is not None

    @property
    def class_pairs(self) -> dict[str, str]:
        """The class map, a teacher's class to the data's.

        Raises:
            InvalidValue: a text that is not TEACHER=DATA.
        """
        given = self.class_map or {}
        if isinstance(given, Mapping):
            return dict(given)
        pairs = [text.partition("=") for text in given]
        wrong = next((text for text, (one, sign, other) in zip(given, pairs, strict=True) if not (one and other)), None)
        if wrong is not None:
            raise InvalidValue("class_map has a wrong value.", received=wrong, expected="TEACHER=DATA: tabby=cat")
        return {one.strip(): other.strip() for one, _, other in pairs}


@dataclass(frozen=True, kw_only=True)
class DistillSettings(TeacherSettings):
    """Settings of ``limbeck.distill``: a student from teachers."""

    objective: Annotated[
        str | None,
        Setting(
            "Objective of the student, NAME or NAME:KEY=NUMBER,...: soft_targets, logit_matching, decoupled (DKD), "
            "correlation (DIST), standardised, binary.",
            "loss",
            unset="soft_targets; binary for independent labels",
        ),
    ] = None
    temperature: Temperature = 4.0
    hard_weight: HardWeight = 0.1
    soft_weight: SoftWeight = 0.9
    fuse: Annotated[
        bool, Setting("Fuse several students into one network: a weighted mean of their outputs.", "student")
    ] = False
    fuse_weights: Annotated[
        Weighting, Setting("Weights of fused students, on validation: fitted, by accuracy, or equal.", "student")
    ] = "fitted"
    fuse_pooling: Annotated[
        Pooling, Setting("Mean that fuses students: of logits (geometric), or of distributions.", "student")
    ] = "geometric"
    store: Annotated[
        str | Path | None,
        Setting("Soft targets that limbeck cache collected; teachers may be left out.", "teacher", unset="none"),
    ] = None


@dataclass(frozen=True, kw_only=True)
class MutualSettings(TeacherSettings):
    """Settings of ``limbeck.distill_mutual``: students that learn from each other."""

    temperature: Temperature = 1.0
    hard_weight: HardWeight = 1.0
    soft_weight: SoftWeight = 1.0
    teacher_weight: Annotated[
        NotNegative | None,
        Setting("Weight of a frozen teacher's soft targets beside the peers'.", "loss", unset="1 with a teacher"),
    ] = None
    targets: Annotated[PeerTargets, Setting("Learn from each peer, or from the peers' mean.", "loss")] = "each"
    update: Annotated[Update, Setting("Whether peers are updated in turn or at once.", "training")] = "alternating"


@dataclass(frozen=True, kw_only=True)
class SelfSettings(TrainSettings):
    """Settings of ``limbeck.distill_self``: a network from its own deepest exit."""

    exits: Annotated[
        Sequence[str],
        Setting("Modules whose outputs get an exit: layer1,layer2.", "student", separator=",", unset="required"),
    ] = ()
    deepest: Annotated[
        str | None,
        Setting("Module whose features the exits imitate.", "student", unset="the last feature map"),
    ] = None
    temperature: Temperature = 3.0
    hard_weight: HardWeight = 0.7
    soft_weight: SoftWeight = 0.3
    hint_weight: Annotated[float, Ge(0), Setting("Weight of the deepest features' hint loss.", "loss")] = 0.03
    tolerance: Annotated[
        float,
        Ge(0),
        Le(1),
        Setting("Validation accuracy that early exit may cost, as a fraction.", "student"),
    ] = 0.005
