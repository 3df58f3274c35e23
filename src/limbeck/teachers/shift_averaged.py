"""A teacher that looks at an image from several places and gives the mean."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from limbeck.errors import InvalidValue, ShapeMismatch, TeacherError, unknown_name
from limbeck.inputs import Inputs, describe
from limbeck.pooling import geometric_mean
from limbeck.settings.jobs import POOLINGS
from limbeck.targets import DenseTargets, SoftTargets
from limbeck.teachers.ensemble import EnsembleTeacher, PooledTargets
from limbeck.teachers.teacher import Teacher


class ShiftAveragedTeacher(Teacher):
    r"""The mean of a teacher's outputs for an image moved by up to r pixels in any direction.

    .. math:: z(x) = \frac{1}{(2r + 1)^2} \sum_{i, j = -r}^{r} z(x \text{ moved by } i, j)

    (geometric, or the mean of the distributions at the temperature). A teacher that was trained on moved images is to
    ignore how they are moved, and does not quite: what is left of it in its logits is noise to a student that sees an
    image in one place. The mean is a smoother function, which a student meets more closely on images that it never saw
    (``docs/log.md``).

    Args:
        teacher: one that looks at its inputs.
        max_shift_pixels: r >= 1; the teacher is asked (2r + 1)² times.
        pooling: "geometric" (mean of logits) or "arithmetic".
        fill: what comes in from outside, in the units of the inputs: black, unless they are normalised.
    Raises:
        InvalidValue: a shift below 1.
        UnknownName: another pooling.
        TeacherError: a teacher that looks outputs up by id.
    """

    def __init__(
        self,
        teacher: Teacher,
        *,
        max_shift_pixels: int,
        pooling: Literal["geometric", "arithmetic"] = "geometric",
        fill: float = 0.0,
    ) -> None:
        if max_shift_pixels < 1 or int(max_shift_pixels) != max_shift_pixels:
            raise InvalidValue(
                "max_shift_pixels must be a whole number above 0.", received=max_shift_pixels, expected=">= 1"
            )
        if pooling not in POOLINGS:
            raise unknown_name("pooling", pooling, POOLINGS)
        if not teacher.reads_inputs:
            raise TeacherError(
                "Only a teacher that looks at its inputs can be asked about moved ones.",
                received=f"{teacher.name}, which looks outputs up by sample id",
                expected="a live teacher",
            )
        self.teacher = teacher
        self._reach, self._fill = int(max_shift_pixels), float(fill)
        self._pooling: Literal["geometric", "arithmetic"] = pooling

    @property
    def name(self) -> str:
        return f"{self.teacher.name}, averaged over shifts of up to {self._reach} px"

    @property
    def fingerprint(self) -> str:
        settings = (self._reach, self._pooling, self._fill)
        return hashlib.sha256(f"shift-averaged\n{settings!r}\n{self.teacher.fingerprint}".encode()).hexdigest()

    @property
    def parts(self) -> tuple[Teacher, ...]:
        return (self.teacher,)

    @property
    def members(self) -> tuple[Teacher, ...]:
        """Itself where it is a mean of logits; otherwise the teacher at every place."""
        if self._mean_of_logits:
            return (self,)
        return tuple(_Shifted(member, *place) for place in self._places for member in self.teacher.members)

    def pooled(self, members: Sequence[Teacher]) -> Teacher:
        if self._mean_of_logits:
            (member,) = members
            return member
        count = len(self.teacher.members)
        each = [self.teacher.pooled(members[k : k + count]) for k in range(0, len(members), count)]
        return EnsembleTeacher(each, pooling=self._pooling, name=self.name, fingerprint=self.fingerprint)

    @property
    def _mean_of_logits(self) -> bool:
        return self._pooling == "geometric" and len(self.teacher.members) == 1

    @property
    def _places(self) -> list[tuple[int, int, int, float]]:
        starts = range(2 * self._reach + 1)
        return [(self._reach, top, left, self._fill) for top in starts for left in starts]

    def __call__(self, ids: Tensor, inputs: Inputs, *, view: int | None = None) -> SoftTargets:
        outputs = [_Shifted(self.teacher, *place)(ids, inputs, view=view) for place in self._places]
        if self._mean_of_logits and all(isinstance(output, DenseTargets) for output in outputs):
            return DenseTargets(geometric_mean([output.logits_at(1.0) for output in outputs]))
        return PooledTargets(tuple(outputs), None, self._pooling)


class _Shifted(Teacher):
    """A teacher that is shown every image ``reach - top`` pixels further down and ``reach - left`` to the right."""

    def __init__(self, teacher: Teacher, reach: int, top: int, left: int, fill: float) -> None:
        self._teacher, self._reach, self._top, self._left, self._fill = teacher, reach, top, left, fill

    @property
    def name(self) -> str:
        return f"{self._teacher.name}, moved by {self._reach - self._top}, {self._reach - self._left} px"

    @property
    def fingerprint(self) -> str:
        moved = (self._reach - self._top, self._reach - self._left, self._fill)
        return hashlib.sha256(f"shifted\n{moved!r}\n{self._teacher.fingerprint}".encode()).hexdigest()

    @property
    def parts(self) -> tuple[Teacher, ...]:
        return (self._teacher,)

    def __call__(self, ids: Tensor, inputs: Inputs, *, view: int | None = None) -> SoftTargets:
        if not isinstance(inputs, Tensor) or inputs.dim() != 4:
            raise ShapeMismatch(
                "Only images can be moved.",
                received=f"inputs {describe(inputs)}",
                expected="(batch, channels, height, width)",
            )
        height, width = inputs.shape[-2:]
        framed = F.pad(inputs, (self._reach,) * 4, value=self._fill)
        window = framed[..., self._top : self._top + height, self._left : self._left + width]
        return self._teacher(ids, window.contiguous(), view=view)
