"""One network to be trained, and the hash of everything that decides its weights."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from torch import nn

from limbeck.data import Samples, Views
from limbeck.distillation.sources import Network, NetworkSource, network_from
from limbeck.errors import InvalidValue
from limbeck.jobs import job_key
from limbeck.models import fingerprint
from limbeck.models.constraints import max_norm_of
from limbeck.objectives import Objective
from limbeck.teachers import Teacher
from limbeck.training import Recipe, count_batches, training_identity

MEANING = "1"  # of an identity: raised when the same settings come to mean another training
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, eq=False, kw_only=True)
class Task:
    """One network to be trained: its name and architecture, the arguments of ``fit``, and the identity of it all.

    ``student`` holds the initial weights when the task is made; ``identity`` is read then, before training moves them.

    Raises:
        InvalidValue: a name that is no folder's, or an objective that does not say what it is.
    """

    name: str
    network: Network
    student: nn.Module
    samples: Samples
    objective: Objective
    recipe: Recipe
    seed: int
    views: Views
    num_views: int | None
    teacher: Teacher | None
    validation: Samples | None
    steps_per_epoch: int
    precision: str
    way: str  # "alone", "stacked" (equal up to the rounding of sums) or "cohort"
    company: str = ""  # of a cohort's member: which one it is, its peers, and the order of their updates
    identity: dict[str, str] = field(init=False)

    @staticmethod
    def make(
        name: str,
        source: NetworkSource,
        *,
        samples: Samples,
        objective: Objective,
        recipe: Recipe,
        seed: int,
        views: Views | None,
        num_views: int | None,
        teacher: Teacher | None,
        validation: Samples | None,
        steps_per_epoch: int | None,
        precision: str,
        way: str,
        weights_seed: int | None = None,
    ) -> Task:
        """Build the network from its seed and resolve what ``fit`` would resolve.

        Its initial weights are a function of ``weights_seed``; of ``seed`` where there is none.
        """
        weights_seed = seed if weights_seed is None else weights_seed
        network = network_from(source)
        teacher = teacher if objective.needs_teacher else None
        return Task(
            name=name,
            network=network,
            student=network.build(input_shape=samples.input_shape, num_classes=samples.num_classes, seed=weights_seed),
            samples=samples,
            objective=objective,
            recipe=recipe,
            seed=seed,
            views=views or Views(),
            num_views=num_views if num_views is not None or teacher is None else teacher.num_views,
            teacher=teacher,
            validation=validation,
            steps_per_epoch=steps_per_epoch or count_batches(len(samples), recipe.batch_size),
            precision=precision,
            way=way,
        )

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise InvalidValue(
                "This name cannot name a folder.", received=self.name, expected="letters, digits, _ . and -"
            )
        object.__setattr__(self, "identity", self._identity())

    @property
    def key(self) -> str:
        """Hash of the identity, in hexadecimal."""
        return job_key(self.identity)

    def in_company(self, *, member: int, peers: Sequence[Task], update: str) -> Task:
        """Return the task of one member of a cohort; its identity holds those of all members, in order."""
        keys = [peer.key for peer in peers]
        return replace(self, company=json.dumps({"member": member, "of": keys, "update": update}))

    def _identity(self) -> dict[str, str]:
        if " at 0x" in repr(self.objective):
            raise InvalidValue(
                f"{type(self.objective).__name__} does not tell its settings, so its networks cannot be found again.",
                received=repr(self.objective),
                expected="a frozen dataclass, or a __repr__ with every setting",
            )
        limits = {name: max_norm_of(child) for name, child in self.student.named_modules() if max_norm_of(child)}
        decided = training_identity(
            self.student,
            self.samples,
            self.objective,
            recipe=self.recipe,
            teacher=self.teacher,
            validation=self.validation,
            views=self.views,
            num_views=self.num_views,
            seed=self.seed,
            num_steps=self.recipe.num_epochs * self.steps_per_epoch,
            precision=self.precision,
        )
        own = {"meaning": MEANING, "way": self.way, "spec": self.network.name}
        if self.company:
            own["company"] = self.company
        steps = str(self.steps_per_epoch)
        return {
            **own,
            "start": fingerprint(self.student),
            "limits": json.dumps(limits),
            "steps per epoch": steps,
            **decided,
        }
