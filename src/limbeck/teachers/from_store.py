"""A store of soft targets as a teacher."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from torch import Tensor

from limbeck.data import Samples, Views
from limbeck.inputs import Inputs, device_of
from limbeck.targets import SoftTargets, TargetStore
from limbeck.targets.matching import check_class_names, check_samples, check_views
from limbeck.teachers.ensemble import EnsembleTeacher
from limbeck.teachers.teacher import Teacher


class StoreTeacher(Teacher):
    """What one teacher said, looked up by sample id and view.

    Args:
        store: open.
        member: which of the store's teachers.
    """

    def __init__(self, store: TargetStore, *, member: int = 0) -> None:
        self.store = store
        self.member = member
        self._record = store.manifest.plan.members[member]

    @property
    def name(self) -> str:
        return f"{self._record.name} (stored)"

    @property
    def fingerprint(self) -> str:
        parts = ("stored", self._record.fingerprint, self.store.manifest.plan_sha256, str(self.member))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @property
    def reads_inputs(self) -> bool:
        return False

    @property
    def runs(self) -> bool:
        return False

    @property
    def num_views(self) -> int | None:
        return self.store.num_views

    @property
    def class_names(self) -> tuple[str, ...] | None:
        return tuple(self.store.manifest.plan.class_names) or None

    @property
    def num_classes(self) -> int:
        return self.store.manifest.plan.num_classes

    def __call__(self, ids: Tensor, inputs: Inputs, *, view: int | None = None) -> SoftTargets:
        device = device_of(inputs)
        return self.store.targets(ids, view=view, member=self.member, device=None if device.type == "cpu" else device)

    def check_fits(self, samples: Samples, views: Views) -> None:
        """Raise StoreError unless the store is of these samples, views and classes."""
        plan = self.store.manifest.plan
        check_samples(plan, samples)
        check_views(plan, views)
        check_class_names(plan, samples.class_names or None)


def store_teacher(
    store: TargetStore, *, weights: Sequence[float] | None = None, pooling: str = "arithmetic"
) -> Teacher:
    """Return a store as one teacher; several members are pooled as they are read.

    Args:
        store: open.
        weights: mu_k >= 0, one for each member; equal where not given.
        pooling: "arithmetic" mean of the distributions at the temperature, or "geometric" mean of the logits.
    Raises:
        TeacherError, InvalidValue, UnknownName: as :class:`EnsembleTeacher`.
    """
    return pool_stored(
        [StoreTeacher(store, member=member) for member in range(store.num_members)], weights=weights, pooling=pooling
    )


def pool_stored(
    members: Sequence[Teacher],
    *,
    weights: Sequence[float] | None = None,
    pooling: str = "arithmetic",
    independent: bool = False,
) -> Teacher:
    """Return a store's members as one teacher, as :func:`store_teacher` does; of independent labels if so said.

    Args:
        members: one per teacher of the store.
        weights: one per member; equal where None.
        pooling: "arithmetic" or "geometric".
        independent: whether labels are independent.
    """
    if len(members) == 1 and weights is None:
        return members[0]
    return EnsembleTeacher(members, weights=weights, pooling=pooling, independent=independent)
