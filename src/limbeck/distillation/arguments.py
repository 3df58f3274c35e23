"""The arguments of a job in Python: its declared settings, with the networks and data that a file only names."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ParamSpec, TypeVar

from limbeck.data import augmentations_from
from limbeck.distillation.job_arguments import JobArguments
from limbeck.distillation.prepared_teachers import TeacherSource
from limbeck.distillation.sources import NetworkSource
from limbeck.errors import near_names
from limbeck.objectives import MutualLearning, Objective, SelfDistillation, named_objective
from limbeck.records import lock_scope
from limbeck.settings import (
    DistillSettings,
    Doc,
    MutualSettings,
    SelfSettings,
    SingleSettings,
    TeacherSettings,
    with_arguments,
)
from limbeck.targets import check_codec_name

Parameters = ParamSpec("Parameters")
Arguments = TypeVar("Arguments")
Result = TypeVar("Result")

Student = Annotated[
    NetworkSource,
    Doc(
        "A module (copied for each seed, which then start from its weights), a callable that builds one, or a name "
        'such as "mlp:widths=30x30".'
    ),
]
TrainData = Annotated[
    Any,
    Doc(
        "Training set: an (inputs, labels) pair of arrays or tensors, a torch data set, Samples, or the Splits of "
        "``load_data``. Label -1 means unlabelled."
    ),
]
Teachers = Annotated[
    TeacherSource | Sequence[TeacherSource],
    Doc(
        "One or several. A module, a Teacher or a tensor of logits (by sample id) is used as it is and frozen; a "
        "callable or a name of the zoo is trained here on the labels."
    ),
]


@dataclass(frozen=True)
class TrainJob(SingleSettings, JobArguments):
    """Arguments of ``limbeck.train``."""

    network: Student
    train: TrainData

    def __post_init__(self) -> None:
        SingleSettings.__post_init__(self)
        augmentations_from(self.augmentations)


@dataclass(frozen=True)
class DistillJob(DistillSettings, JobArguments):
    """Arguments of ``limbeck.distill``."""

    student: Annotated[
        NetworkSource | Sequence[NetworkSource],
        Doc(
            "A module (copied for each seed, which then start from its weights), a callable that builds one, or a name "
            'such as "mlp:widths=30x30" or "on:motion:convnet"; several with fuse=True.'
        ),
    ]
    teachers: Teachers = ()
    train: TrainData = None
    objective: Annotated[
        Objective | str | None,
        Doc(
            'What the student minimises: an Objective, or a name such as "decoupled:others_weight=2"; soft targets and '
            "labels by the weights below where not given, label by label where labels are independent."
        ),
    ] = field(default=None, kw_only=True)  # type: ignore[assignment]  # a file names it, Python may pass it

    def __post_init__(self) -> None:
        DistillSettings.__post_init__(self)
        _check_taught(self)
        self.objective_of("single_label")

    def objective_of(self, task: str) -> Objective:
        """Return what the distilled student minimises on labels of a kind."""
        if isinstance(self.objective, Objective):
            return self.objective
        name = self.objective or ("binary" if task == "multi_label" else "soft_targets")
        weights = {
            "temperature": self.temperature,
            "hard_weight": self.hard_weight,
            "soft_weight": self.soft_weight,
        }
        return named_objective(name, settings=weights)

    def describe(self) -> dict[str, Any]:
        """Return every setting that the result depends on, JSON-able."""
        given = self.objective
        return DistillSettings.describe(self) | {"objective": repr(given) if isinstance(given, Objective) else given}


@dataclass(frozen=True)
class MutualJob(MutualSettings, JobArguments):
    """Arguments of ``limbeck.distill_mutual``."""

    students: Annotated[
        Sequence[NetworkSource], Doc("Two or more networks, as ``distill`` takes its student, equal or not.")
    ]
    train: TrainData
    teachers: Teachers = ()

    def __post_init__(self) -> None:
        MutualSettings.__post_init__(self)
        _check_taught(self)
        self.objective()

    @property
    def has_teachers(self) -> bool:
        """Whether frozen teachers stand beside the peers."""
        return not isinstance(self.teachers, Sequence) or isinstance(self.teachers, str) or len(self.teachers) > 0

    @property
    def weight_of_teachers(self) -> float:
        """The weight of their soft targets: 1 where none is given, 0 without any."""
        return float(self.has_teachers) if self.teacher_weight is None else self.teacher_weight

    def objective(self) -> MutualLearning:
        """Return what every network of the cohort minimises."""
        return MutualLearning(
            temperature=self.temperature,
            hard_weight=self.hard_weight,
            soft_weight=self.soft_weight,
            teacher_weight=self.weight_of_teachers,
            targets=self.targets,
        )


@dataclass(frozen=True)
class SelfJob(SelfSettings, JobArguments):
    """Arguments of ``limbeck.distill_self``."""

    student: Student
    train: TrainData

    def __post_init__(self) -> None:
        SelfSettings.__post_init__(self)
        augmentations_from(self.augmentations)
        self.objective()

    def objective(self) -> SelfDistillation:
        """Return what the self-distilled network minimises."""
        return SelfDistillation(
            temperature=self.temperature,
            hard_weight=self.hard_weight,
            soft_weight=self.soft_weight,
            hint_weight=self.hint_weight,
        )


def job(
    declaration: Callable[Parameters, Arguments],
) -> Callable[[Callable[[Arguments], Result]], Callable[Parameters, Result]]:
    """Give a function of one job object the job's fields as its parameters, typed and documented.

    Args:
        declaration: the dataclass of the job.
    Returns:
        A decorator. What it returns has the dataclass's signature, a section ``Args`` in its docstring, and gives back
        the locks of folders that it took, however it ends.
    """

    def decorate(run: Callable[[Arguments], Result]) -> Callable[Parameters, Result]:
        signature = inspect.signature(declaration)
        returned = inspect.signature(run, eval_str=True).return_annotation

        @functools.wraps(run)
        def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            unknown = [name for name in kwargs if name not in signature.parameters]
            if unknown:
                near = near_names(unknown[0], signature.parameters)
                hint = f"; did you mean {' or '.join(near)}?" if near else ""
                raise TypeError(f"{run.__name__}() has no argument {unknown[0]!r}{hint}")
            with lock_scope():
                return run(declaration(*args, **kwargs))

        call.__signature__ = signature.replace(return_annotation=returned)  # type: ignore[attr-defined]
        call.__annotations__ = {}
        call.__doc__ = with_arguments(run.__doc__, declaration)  # type: ignore[arg-type]
        return call

    return decorate


def _check_taught(settings: TeacherSettings) -> None:
    check_codec_name(settings.codec)
    augmentations_from(settings.augmentations)
    augmentations_from(settings.teacher_augmentations or ())
