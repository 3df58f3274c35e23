"""The contract of a teacher."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from limbeck.data import Samples, Views
from limbeck.targets import SoftTargets


class Teacher(ABC):
    """Something that gives soft targets for a batch.

    A teacher owes its caller: eval mode, no gradient, no change of any weight or buffer, and a fingerprint that tells
    one teacher from another. :meth:`check_unchanged` proves the third; the training loop calls it when it ends.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """What people call it: an architecture, a file, "ensemble of 3"."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """SHA-256 in hexadecimal over everything that decides its answers."""

    @property
    @abstractmethod
    def answers_any_view(self) -> bool:
        """Whether it looks at the inputs. Answers that are looked up by id hold for the views they were made for."""

    @property
    @abstractmethod
    def num_views(self) -> int | None:
        """How many augmented views it answers, 0 .. n - 1, in turn; None where there is no such limit."""

    @property
    @abstractmethod
    def num_classes(self) -> int | None:
        """How many classes it knows; None until it has answered once."""

    @property
    @abstractmethod
    def modules(self) -> tuple[torch.nn.Module, ...]:
        """The networks inside, so that a caller can move them, count them, or see that it does not train them."""

    @abstractmethod
    def __call__(self, ids: Tensor, inputs: Tensor, *, view: int | None = None) -> SoftTargets:
        """Return the soft targets of a batch.

        Args:
            ids: shape (batch,), int64, stable sample ids.
            inputs: shape (batch, ...), the very pixels that the student sees.
            view: which view of the samples they show; None for the clean one.
        Raises:
            TeacherError: the teacher broke its contract (awake, trainable, changed), or has no answer for an id.
        """

    @abstractmethod
    def check_fits(self, samples: Samples, views: Views) -> None:
        """Raise TeacherError or StoreError unless it can answer for these samples in these views."""

    @abstractmethod
    def check_unchanged(self) -> None:
        """Raise TeacherError if a weight or buffer differs from what it was at the beginning."""


def as_teacher(teacher: object) -> Teacher:
    """Return a teacher for a Teacher, a module, or a matrix of logits by sample id 0, 1, 2, ...

    Raises:
        TeacherError: anything else.
    """
    from limbeck.errors import TeacherError
    from limbeck.teachers.module import ModuleTeacher
    from limbeck.teachers.stored import LogitsTeacher

    if isinstance(teacher, Teacher):
        return teacher
    if isinstance(teacher, torch.nn.Module):
        return ModuleTeacher(teacher)
    if isinstance(teacher, Tensor):
        return LogitsTeacher(teacher)
    raise TeacherError(
        "This is no teacher.",
        received=type(teacher).__name__,
        expected="a torch.nn.Module, a tensor of logits (samples, classes), or a limbeck Teacher",
    )
