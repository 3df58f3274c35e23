"""One network to be trained, and the hash of everything that decides its weights."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypedDict

from torch import nn

from limbeck.data import BalancedOrder, Samples, Views
from limbeck.distillation.sources import Network, NetworkSource, network_from
from limbeck.errors import InvalidValue
from limbeck.jobs import job_key
from limbeck.models import FullSoftmaxSpecialist, fingerprint
from limbeck.models.constraints import max_norm_of
from limbeck.objectives import Objective
from limbeck.teachers import Teacher, as_teacher
from limbeck.training import TrainConfig, count_batches, training_identity

if TYPE_CHECKING:
    from typing_extensions import Required, Unpack

MEANING = "1"  # of an identity: raised when the same settings come to mean another training
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class SharedTraining(TypedDict, total=False):
    """What networks that are trained together share; all but samples and recipe may be left out."""

    samples: Required[Samples]  # what is learned from
    recipe: Required[TrainConfig]
    views: Views | None  # normalisation and augmentation; neither where not given. Their seed is theirs
    num_views: int | None  # show views 0 .. n - 1 in turn; new ones in every pass where not given
    teacher: Teacher | None  # of objectives that need one
    validation: Samples | None  # chooses the epoch; the last one's weights are taken where there is none
    steps_per_epoch: int | None  # one pass over the samples where not given


class Training(SharedTraining, total=False):
    """What one network learns and how."""

    objective: Required[Objective]  # what it minimises
    seed: Required[int]  # of initial weights, order and dropout
    weights_seed: int | None  # of the initial weights alone, where they are to be another's, such as a peer's


class StudentOptions(TypedDict, total=False):
    """How networks of a job are trained, beside what all networks of a job share."""

    recipe: Required[TrainConfig]
    augmentations: Required[Sequence[str]]
    num_views: int | None  # as of a training
    view_seed: int  # of views that come again


class JobTraining(StudentOptions, total=False):
    """What one of them learns."""

    samples: Required[Samples]
    objective: Required[Objective]
    seed: Required[int]
    teacher: Teacher | None
    start_seed: int | None  # of the initial weights, where it is another one than the run's


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainingTask:
    """One network to be trained: its name and architecture, the arguments of ``fit``, and the identity of it all.

    ``student`` holds the initial weights until it is trained, in place. A task whose ``student`` can be pickled may
    be trained in another process.

    Args:
        name: role in the saved model, and of the network in records.
        spec: of the architecture.
        teacher: a frozen module or a Teacher; None where the objective needs none.
        way: "alone", "stacked" (equal up to the rounding of sums) or "cohort".
        cohort: of a cohort's member: which one it is, its peers, and the order of their updates.
        title: names its folder and its progress; "NAME-seedSEED" where not given.
        class_names: of what is saved; those of the samples where not given.
        extra: more facts for ``model.json``, which decide the weights, or follow from what does.

    Raises:
        InvalidValue: a name that is no folder's.
    """

    name: str
    spec: str
    student: nn.Module
    samples: Samples
    objective: Objective
    recipe: TrainConfig
    seed: int
    views: Views
    num_views: int | None
    teacher: Teacher | nn.Module | None
    validation: Samples | None
    steps_per_epoch: int
    precision: str
    way: str = "alone"
    cohort: str = ""
    order: BalancedOrder | None = None
    title: str = ""
    class_names: tuple[str, ...] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def make(
        name: str,
        source: NetworkSource | Network,
        *,
        precision: str,
        way: str = "alone",
        **training: Unpack[Training],
    ) -> TrainingTask:
        """Build the network from its seed and resolve what ``fit`` would resolve."""
        samples, recipe, seed = training["samples"], training["recipe"], training["seed"]
        network = source if isinstance(source, Network) else network_from(source)
        teacher = training.get("teacher") if training["objective"].needs_teacher else None
        num_views, weights_seed = training.get("num_views"), training.get("weights_seed")
        start = seed if weights_seed is None else weights_seed
        return TrainingTask(
            name=name,
            spec=network.name,
            student=network.build_for(samples, seed=start),
            samples=samples,
            objective=training["objective"],
            recipe=recipe,
            seed=seed,
            views=training.get("views") or Views(),
            num_views=num_views if num_views is not None or teacher is None else teacher.num_views,
            teacher=teacher,
            validation=training.get("validation"),
            steps_per_epoch=training.get("steps_per_epoch") or count_batches(len(samples), recipe.batch_size),
            precision=precision,
            way=way,
        )

    @property
    def frozen_teacher(self) -> Teacher | None:
        """The teacher as ``fit`` takes it; a module is frozen."""
        return None if self.teacher is None else as_teacher(self.teacher)

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", self.title or f"{self.name}-seed{self.seed}")
        if not NAME.fullmatch(self.title):
            raise InvalidValue(
                "This name cannot name a folder.", received=self.name, expected="letters, digits, _ . and -"
            )

    @property
    def key(self) -> str:
        """Hash of the identity, in hexadecimal."""
        return job_key(self.identity)

    @property
    def saved_part(self) -> nn.Module:
        """What is saved of the student: the network of all classes, where a specialist keeps the full softmax."""
        return self.student.network if isinstance(self.student, FullSoftmaxSpecialist) else self.student

    def in_cohort(self, *, member: int, peers: Sequence[TrainingTask], update: str) -> TrainingTask:
        """Return the task of one member of a cohort; its identity holds those of all members, in order."""
        keys = [peer.key for peer in peers]
        return replace(self, cohort=json.dumps({"member": member, "of": keys, "update": update}))

    @cached_property
    def identity(self) -> dict[str, str]:
        """Everything that decides the weights, as text; read once, before training moves those of ``student``.

        Raises:
            InvalidValue: an objective that does not say what it is.
        """
        if " at 0x" in repr(self.objective):
            raise InvalidValue(
                f"{type(self.objective).__name__} does not tell its settings, so its networks cannot be found again.",
                received=repr(self.objective),
                expected="a frozen dataclass, or a __repr__ with every setting",
            )
        limits = {name: max_norm_of(child) for name, child in self.student.named_modules() if max_norm_of(child)}
        own = {
            "meaning": MEANING,
            "way": self.way,
            "spec": self.spec,
            "company": self.cohort,
            "class names": "" if self.class_names is None else json.dumps(self.class_names),
            "extra": json.dumps(self.extra) if self.extra else "",
            "start": fingerprint(self.student),
            "limits": json.dumps(limits),
            "steps per epoch": str(self.steps_per_epoch),
        }
        decided = training_identity(
            self.student,
            self.samples,
            self.objective,
            recipe=self.recipe,
            teacher=self.frozen_teacher,
            validation=self.validation,
            views=self.views,
            num_views=self.num_views,
            seed=self.seed,
            num_steps=self.recipe.num_epochs * self.steps_per_epoch,
            precision=self.precision,
            order=self.order,
        )
        return {name: text for name, text in own.items() if text} | decided
