"""The keys of configuration files: a job's settings, and what Python passes as objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from limbeck.settings.jobs import DistillSettings, MutualSettings, SelfSettings, SingleSettings, TrainSettings
from limbeck.settings.search_settings import SearchSettings
from limbeck.settings.setting import Count, Positive, Setting


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """Fixed mean and standard deviation, for each channel or one for all."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012  # pydantic reads it from the class
    mean: Annotated[Sequence[float], Setting("Mean of each channel.", "data", flag="")]
    std: Annotated[Sequence[Positive], Setting("Standard deviation of each channel.", "data", flag="")]


STUDENT_HELP = (
    "Student to train: mlp:widths=30x30, resnet20, timm:NAME, hf:FOLDER, on:KEY:SPEC, fused:SPEC+SPEC or "
    "package.module:factory."
)
TEACHER_HELP = (
    "Teacher, repeated for an ensemble: a network to train, SPEC@WEIGHTS, a saved network's folder, timm:NAME, "
    "hf:NAME, onnx:FILE, export:FILE.pt2, sklearn:FILE.skops."
)
Student = Annotated[str, Setting(STUDENT_HELP, "student")]
Teachers = Annotated[Sequence[str], Setting(TEACHER_HELP, "teacher", flag="--teacher", unset="none")]
LabelColumn = Annotated[str | None, Setting("Column of the labels in a table.", "data", unset="label")]
ImageSize = Annotated[Count | None, Setting("Pixels a side to resize images to.", "data", unset="their own")]
Threads = Annotated[Count | None, Setting("CPU threads.", "machine", flag="--threads", unset="torch's choice")]
METHOD_HELP = "Method: teacher; mutual: students that learn from each other; self: from its own deepest exit."
MethodSetting = Setting(METHOD_HELP, "training")


NumSegments = Annotated[
    Count, Setting("Segments of a clip, of each of which a network sees one frame.", "data", flag="--segments")
]
SegmentChoices = Annotated[
    Count, Setting("Frames kept of each segment of a clip; --augment segments draws among them.", "data")
]
BFrames = Annotated[
    Literal["skip", "use", "refuse"], Setting("Whether B-frames of clips are left out, used or refused.", "data")
]
SkipBroken = Annotated[bool, Setting("Leave clips out that cannot be read; they are counted and listed.", "data")]
ClipSplit = Annotated[Count, Setting("Number of the published split of UCF-101 or HMDB-51.", "data")]


@dataclass(frozen=True, kw_only=True)
class SourceSettings:
    """What a configuration file names and Python passes as objects."""

    data: Annotated[
        str,
        Setting(
            "Data set: digits, mnist, cifar10, an image folder or an archive of one, .npz, .csv, .parquet, hf:PATH, "
            "shards:PATTERN, parquet:PATTERN, arrow:PATTERN, clips:FOLDER.",
            "data",
        ),
    ] = "digits"
    label_column: LabelColumn = None
    exif_orientation: Annotated[bool, Setting("Turn the images of a folder as their EXIF data say.", "data")] = False
    image_size: ImageSize = None
    num_segments: NumSegments = 3
    segment_choices: SegmentChoices = 3
    b_frames: BFrames = "skip"
    skip_broken: SkipBroken = False
    clip_split: ClipSplit = 1
    normalise: Annotated[
        bool | Normalisation,
        Setting("Normalise inputs by the training set's mean and deviation, or given ones.", "data", flag=""),
    ] = True
    student: Student = "mlp:widths=100x100"
    num_threads: Threads = None


@dataclass(frozen=True, kw_only=True)
class JobConfig(TrainSettings, SourceSettings):
    """Keys that every configuration has."""


@dataclass(frozen=True, kw_only=True)
class TeacherConfig(JobConfig):
    """Keys of the methods that can have teachers."""

    teachers: Teachers = ()


@dataclass(frozen=True, kw_only=True)
class TrainJobConfig(SingleSettings, JobConfig):
    """Keys of ``limbeck train``; every one is optional."""


@dataclass(frozen=True, kw_only=True)
class DistillConfig(DistillSettings, TeacherConfig):
    """Keys of ``limbeck distill``; every one is optional."""

    method: Annotated[Literal["teacher"], MethodSetting] = "teacher"
    student: Annotated[str | Sequence[str], Setting(STUDENT_HELP + " Several with --fuse.", "student")] = (
        "mlp:widths=100x100"  # type: ignore[assignment]
    )
    teachers: Teachers = ("mlp:widths=400x400",)


@dataclass(frozen=True, kw_only=True)
class SearchConfig(SearchSettings, TeacherConfig):
    """Keys of ``limbeck search``; every one is optional."""

    teachers: Teachers = ("mlp:widths=400x400",)
    student: Annotated[
        Sequence[str],
        Setting("Candidate, repeated for more; a range doubles: mlp:widths=8..128.", "student", unset="a family"),
    ] = ()  # type: ignore[assignment]


@dataclass(frozen=True, kw_only=True)
class MutualConfig(MutualSettings, TeacherConfig):
    """Keys of ``limbeck distill --method mutual``; every one is optional."""

    method: Annotated[Literal["mutual"], MethodSetting] = "mutual"
    student: Annotated[Sequence[str], Setting(STUDENT_HELP + " One for each peer.", "student")] = (  # type: ignore[assignment]
        "mlp:widths=100x100",
        "mlp:widths=100x100",
    )


@dataclass(frozen=True, kw_only=True)
class SelfConfig(SelfSettings, JobConfig):
    """Keys of ``limbeck distill --method self``; all but ``exits`` are optional."""

    method: Annotated[Literal["self"], MethodSetting] = "self"


METHODS: dict[str, type[DistillConfig] | type[MutualConfig] | type[SelfConfig]] = {
    "teacher": DistillConfig,
    "mutual": MutualConfig,
    "self": SelfConfig,
}
