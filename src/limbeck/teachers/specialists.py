"""A generalist and its specialists as one teacher: each image goes to those that know something of it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from limbeck.data import Samples, Views
from limbeck.errors import InvalidValue, TeacherError, unknown_name
from limbeck.inputs import Inputs
from limbeck.pooling import METHODS, class_set_numbers, combine_specialists, require_num_top_classes
from limbeck.pooling.class_sets import ClassSets
from limbeck.targets import DenseTargets, SoftTargets
from limbeck.teachers.dispatch import as_teacher
from limbeck.teachers.teacher import Teacher


class SpecialistsTeacher(Teacher):
    r"""The combination of a generalist with the specialists that an image concerns: equation 5 of the paper.

    .. math:: z = \log q, \qquad q = \arg\min_q KL(p^g \| q) + \sum_{k \in A} KL(p^k \| q)

    The parts run at temperature 1, as in the paper; the logits log q then serve at any temperature, as a network's
    do, and are stored like a network's. Every specialist runs on every batch, whether or not an image concerns it; the
    combination leaves out those that are not active. An image whose two most probable classes all but tie may concern
    other specialists in another batch size or precision.

    Args:
        generalist: a teacher, a module, or logits by sample id; of all classes.
        specialists: of the same kinds; each gives (batch, len(S_k) + 1) logits, its classes in the order of its set,
            the dustbin last.
        class_sets: S_k of each specialist: class numbers, or names where ``class_names`` is given.
        class_names: of all classes, in the generalist's order; a data set of other names is refused.
        dustbin_offsets: added to the dustbin logits, one for each specialist, in nats
            (:func:`limbeck.calibration.dustbin_offset`); 0 where they are corrected already.
        num_top_classes: n: a specialist is active where its set holds one of the generalist's n most probable classes.
        method: as :func:`limbeck.pooling.combine_specialists` takes it, like the two that follow.
        tolerance: nats above the minimum.
        max_iterations: before an image is an error.
        name: shown in records.
    Raises:
        TeacherError: no specialists, a thing that is no teacher, or not one set (and offset) for each.
        InvalidValue: an offset that is not finite, or sets that are wrong whatever the generalist's classes; what
            depends on their number is checked on the first batch where no names are given.
        UnknownName: a class name or method that is not known.
    References:
        Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 5.5.
    """

    def __init__(
        self,
        generalist: Teacher | nn.Module | Tensor,
        specialists: Sequence[Teacher | nn.Module | Tensor],
        *,
        class_sets: ClassSets,
        class_names: Sequence[str] | None = None,
        dustbin_offsets: Sequence[float] | None = None,
        num_top_classes: int = 1,
        method: Literal["fixed_point", "gradient"] = "fixed_point",
        tolerance: float = 1e-9,
        max_iterations: int = 1000,
        name: str | None = None,
    ) -> None:
        self.generalist = as_teacher(generalist)
        self.specialists = tuple(as_teacher(specialist) for specialist in specialists)
        count = len(self.specialists)
        offsets = [0.0] * count if dustbin_offsets is None else [float(offset) for offset in dustbin_offsets]
        if not count or len(class_sets) != count or len(offsets) != count:
            raise TeacherError(
                "Each specialist needs its class set, and its dustbin's offset where offsets are given.",
                received=f"{count} specialists, {len(class_sets)} class sets, {len(offsets)} offsets",
                expected="at least one specialist, and as many sets and offsets",
            )
        if not all(math.isfinite(offset) for offset in offsets):
            raise InvalidValue("dustbin_offsets must be finite.", received=offsets, expected="nats")
        if method not in METHODS:
            raise unknown_name("method", method, METHODS)
        self._class_names = None if class_names is None else tuple(class_names)
        num_classes = self.generalist.num_classes if class_names is None else len(class_names)
        self.class_sets = class_set_numbers(
            class_sets, num_classes=num_classes or 2**31, class_names=class_names
        )  # checked again, with the number of classes, on every batch
        require_num_top_classes(num_top_classes, num_classes=num_classes or 2**31)
        self._offsets = offsets
        self.num_top_classes, self._method = num_top_classes, method
        self._tolerance, self._max_iterations = tolerance, max_iterations
        self._name = name or f"generalist and {count} specialist{'s' if count > 1 else ''}"

    @property
    def name(self) -> str:
        return self._name

    @property
    def fingerprint(self) -> str:
        settings = (self.class_sets, self._offsets, self.num_top_classes, self._method, self._tolerance)
        parts = ["specialists", repr(settings), *(teacher.fingerprint for teacher in self.parts)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @property
    def parts(self) -> tuple[Teacher, ...]:
        return (self.generalist, *self.specialists)

    @property
    def num_classes(self) -> int | None:
        return self.generalist.num_classes if self._class_names is None else len(self._class_names)

    def __call__(self, ids: Tensor, inputs: Inputs, *, view: int | None = None) -> SoftTargets:
        general, *special = (teacher(ids, inputs, view=view).logits_at(1.0) for teacher in self.parts)
        if self._class_names is not None and general.shape[1] != len(self._class_names):
            raise TeacherError(
                "The generalist knows other classes than were named.",
                received=f"{general.shape[1]} classes",
                expected=f"{len(self._class_names)} classes",
            )
        log_q = combine_specialists(
            general,
            [_raise_dustbin(logits, offset) for logits, offset in zip(special, self._offsets, strict=True)],
            self.class_sets,
            num_top_classes=self.num_top_classes,
            method=self._method,
            tolerance=self._tolerance,
            max_iterations=self._max_iterations,
        )
        return DenseTargets(log_q)

    def check_fits(self, samples: Samples, views: Views) -> None:
        """Raise TeacherError or StoreError unless all parts can run, and the classes are those that were named."""
        for teacher in self.parts:
            teacher.check_fits(samples, views)
        known = tuple(samples.class_names or ())
        if self._class_names is not None and known and known != self._class_names:
            raise TeacherError(
                f"The classes of {self.name} are not the data's.",
                received=", ".join(known[:10]),
                expected=", ".join(self._class_names[:10]),
                remedy="give the data's class names, in the data's order",
            )


def _raise_dustbin(logits: Tensor, offset: float) -> Tensor:
    if not offset:
        return logits
    raised = logits.float() if logits.dtype.itemsize < 4 else logits.clone()
    raised[:, -1] += offset
    return raised
