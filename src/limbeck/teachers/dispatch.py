"""From what people have to a teacher."""

from __future__ import annotations

from torch import Tensor, nn

from limbeck.errors import TeacherError
from limbeck.teachers.module import ModuleTeacher
from limbeck.teachers.stored import LogitsTeacher
from limbeck.teachers.teacher import Teacher


def as_teacher(teacher: object) -> Teacher:
    """Return a teacher for a Teacher, a module, or a matrix of logits by sample id 0, 1, 2, ...

    Raises:
        TeacherError: anything else.
    """
    if isinstance(teacher, Teacher):
        return teacher
    if isinstance(teacher, nn.Module):
        return ModuleTeacher(teacher)
    if isinstance(teacher, Tensor):
        return LogitsTeacher(teacher)
    raise TeacherError(
        "This is no teacher.",
        received=type(teacher).__name__,
        expected="a torch.nn.Module, a tensor of logits (samples, classes), or a limbeck Teacher",
    )
