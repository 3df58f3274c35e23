"""A teacher that looks at an image from several places and answers with the mean."""

from __future__ import annotations

import hashlib
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.data import Samples, Views
from limbeck.errors import InvalidValue, ShapeMismatch, TeacherError, unknown_name
from limbeck.targets import SoftTargets
from limbeck.teachers.ensemble import POOLINGS, PooledTargets
from limbeck.teachers.teacher import Teacher


class ShiftAveragedTeacher(Teacher):
    r"""The mean of a teacher's answers to an image moved by up to r pixels in any direction.

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
        TeacherError: a teacher that answers by id.
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
        if not teacher.answers_any_view:
            raise TeacherError(
                "Only a teacher that looks at its inputs can be asked about moved ones.",
                received=f"{teacher.name}, which answers by sample id",
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
    def answers_any_view(self) -> bool:
        return True

    @property
    def num_views(self) -> int | None:
        return self.teacher.num_views

    @property
    def num_classes(self) -> int | None:
        return self.teacher.num_classes

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        return self.teacher.modules

    def __call__(self, ids: Tensor, inputs: Tensor, *, view: int | None = None) -> SoftTargets:
        if inputs.dim() != 4:
            raise ShapeMismatch(
                "Only images can be moved.",
                received=f"inputs of shape {tuple(inputs.shape)}",
                expected="(batch, channels, height, width)",
            )
        height, width = inputs.shape[-2:]
        framed = F.pad(inputs, (self._reach,) * 4, value=self._fill)
        starts = range(2 * self._reach + 1)
        answers = [
            self.teacher(ids, framed[..., top : top + height, left : left + width].contiguous(), view=view)
            for top in starts
            for left in starts
        ]
        return PooledTargets(tuple(answers), None, self._pooling)

    def check_fits(self, samples: Samples, views: Views) -> None:
        self.teacher.check_fits(samples, views)

    def check_unchanged(self) -> None:
        self.teacher.check_unchanged()
