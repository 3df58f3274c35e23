"""Several teachers as one: weighted, pooled at the temperature."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.data import Samples, Views
from limbeck.errors import ShapeMismatch, TeacherError, require_not_negative, unknown_name
from limbeck.inputs import Inputs
from limbeck.losses import tempered_log_softmax
from limbeck.pooling import arithmetic_mean, geometric_mean, mean_of_labels
from limbeck.settings.jobs import POOLINGS, Pooling
from limbeck.targets import SoftTargets
from limbeck.teachers.teacher import Teacher


@dataclass(frozen=True, eq=False)
class PooledTargets(SoftTargets):
    r"""The pooled outputs of several teachers.

    .. math::
        q = \sum_k \mu_k q_k / \sum_k \mu_k \quad\text{(arithmetic, at T)} \qquad
        z = \sum_k \mu_k z_k / \sum_k \mu_k \quad\text{(geometric, on logits)}

    Of independent labels q_k is each label's probability, and the geometric mean that of logits as they stand.

    Args:
        outputs: soft targets of one batch, one for each teacher.
        weights: mu_k >= 0, one for each; None for equal ones.
        pooling: "arithmetic" or "geometric".
        independent: whether the logits are of independent labels, not of classes that exclude each other.
    References:
        Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 1 (both means); Wu, Chiu, Wu 2019 (the weights).
    """

    outputs: tuple[SoftTargets, ...]
    weights: tuple[float, ...] | None
    pooling: Pooling
    independent: bool = False

    def logits_at(self, temperature: float) -> Tensor:
        logits = [member.logits_at(temperature) for member in self.outputs]
        if len({z.shape for z in logits}) > 1:
            raise ShapeMismatch(
                "The teachers know different numbers of classes.",
                received=", ".join(str(z.shape[-1]) for z in logits),
                expected="one number of classes, in one order",
            )
        if self.independent:
            return self._of_labels(logits, temperature)
        if self.pooling == "geometric":
            return geometric_mean(logits, weights=self.weights)
        log_probs = [tempered_log_softmax(z, temperature=temperature) for z in logits]
        return temperature * arithmetic_mean(log_probs, weights=self.weights)

    def _of_labels(self, logits: list[Tensor], temperature: float) -> Tensor:
        if self.pooling == "arithmetic":
            return temperature * mean_of_labels([z / temperature for z in logits], weights=self.weights)
        weights = self.weights or (1.0,) * len(logits)
        mean = sum((weight * z for weight, z in zip(weights, logits, strict=True)), torch.zeros_like(logits[0]))
        return mean / math.fsum(weights)

    def members(self) -> tuple[tuple[float, SoftTargets], ...]:
        """Return the teachers' outputs with the shares of their weights, without those of weight 0."""
        weights = self.weights or (1.0,) * len(self.outputs)
        total = math.fsum(weights)
        return tuple((weight / total, output) for weight, output in zip(weights, self.outputs, strict=True) if weight)


class EnsembleTeacher(Teacher):
    """Several teachers pooled into one.

    Args:
        teachers: at least one; they may be of different kinds.
        weights: mu_k >= 0, one for each teacher, not all 0; equal where not given.
        pooling: "arithmetic" mean of the distributions at the temperature, or "geometric" mean (mean of logits).
        name: shown in records; how many they are where not given.
        fingerprint: of the teacher that these pool to; made of theirs where not given.
        independent: whether they know independent labels, each true or not, and not classes that exclude each other.
    Raises:
        TeacherError: no teachers, or weights of another number.
        InvalidValue: a negative weight, or all weights 0.
        UnknownName: another pooling.
    """

    def __init__(
        self,
        teachers: Sequence[Teacher],
        *,
        weights: Sequence[float] | None = None,
        pooling: str = "arithmetic",
        name: str | None = None,
        fingerprint: str | None = None,
        independent: bool = False,
    ) -> None:
        if not teachers:
            raise TeacherError("An ensemble needs teachers.", received="none", expected="at least one")
        if pooling not in POOLINGS:
            raise unknown_name("pooling", pooling, POOLINGS)
        self.teachers = tuple(teachers)
        self.weights = None if weights is None else tuple(float(weight) for weight in weights)
        self.pooling: Pooling = "arithmetic" if pooling == "arithmetic" else "geometric"
        self._name = name or f"ensemble of {len(self.teachers)} ({self.pooling} mean)"
        self._fingerprint, self.independent = fingerprint, independent
        if self.weights is not None:
            check_weights(self.weights, num_teachers=len(self.teachers))

    @property
    def name(self) -> str:
        return self._name

    @property
    def fingerprint(self) -> str:
        if self._fingerprint is not None:
            return self._fingerprint
        kind = f"{self.pooling} of labels" if self.independent else self.pooling
        parts = [kind, repr(self.weights), *(teacher.fingerprint for teacher in self.teachers)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @property
    def parts(self) -> tuple[Teacher, ...]:
        return self.teachers

    @property
    def members(self) -> tuple[Teacher, ...]:
        return tuple(member for teacher in self.teachers for member in teacher.members)

    def pooled(self, members: Sequence[Teacher]) -> EnsembleTeacher:
        rest, teachers = list(members), []
        for teacher in self.teachers:
            count = len(teacher.members)
            teachers.append(teacher.pooled(rest[:count]))
            rest = rest[count:]
        return EnsembleTeacher(
            teachers,
            weights=self.weights,
            pooling=self.pooling,
            name=self._name,
            fingerprint=self._fingerprint,
            independent=self.independent,
        )

    def check_fits(self, samples: Samples, views: Views) -> None:
        """Raise TeacherError where it pools classes and the data have independent labels, or the other way round."""
        if self.independent != (samples.task == "multi_label"):
            kinds = ("classes that exclude each other", "independent labels")
            raise TeacherError(
                f"The {self._name} pools other labels than the data's.",
                received=kinds[self.independent],
                expected=kinds[not self.independent],
                remedy=f"EnsembleTeacher(..., independent={not self.independent})",
            )
        super().check_fits(samples, views)

    def __call__(self, ids: Tensor, inputs: Inputs, *, view: int | None = None) -> SoftTargets:
        outputs = tuple(teacher(ids, inputs, view=view) for teacher in self.teachers)
        return PooledTargets(outputs, self.weights, self.pooling, self.independent)


def check_weights(weights: Sequence[float], *, num_teachers: int) -> None:
    """Raise unless there is one weight of at least 0 for each teacher, and one above 0.

    Raises:
        TeacherError: weights of another number, or all 0.
        InvalidValue: a negative weight.
    """
    if len(weights) != num_teachers:
        raise TeacherError(
            "Each teacher needs one weight.",
            received=f"{len(weights)} weights for {num_teachers} teachers",
            expected=f"{num_teachers} weights",
        )
    for weight in weights:
        require_not_negative("A teacher's weight", weight)
    if not any(weights):
        raise TeacherError("All teachers' weights are 0.", received=list(weights), expected="at least one above 0")
