"""Teachers: ``(ids, inputs) -> SoftTargets``, always in eval mode, frozen, without autograd, unchanged by a run."""

from limbeck.teachers.ensemble import EnsembleTeacher, PooledTargets
from limbeck.teachers.module import ModuleTeacher
from limbeck.teachers.stored import LogitsTeacher, collect_logits
from limbeck.teachers.teacher import Teacher, as_teacher

__all__ = [
    "EnsembleTeacher",
    "LogitsTeacher",
    "ModuleTeacher",
    "PooledTargets",
    "Teacher",
    "as_teacher",
    "collect_logits",
]
