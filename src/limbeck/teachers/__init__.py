"""Teachers: ``(ids, inputs) -> SoftTargets``, always in eval mode, frozen, without autograd, unchanged by a run."""

from limbeck.teachers.ensemble import POOLINGS, EnsembleTeacher, PooledTargets, check_weights
from limbeck.teachers.module import ModuleTeacher
from limbeck.teachers.stored import LogitsTeacher, collect_logits
from limbeck.teachers.teacher import Teacher, as_teacher

__all__ = [
    "POOLINGS",
    "EnsembleTeacher",
    "LogitsTeacher",
    "ModuleTeacher",
    "PooledTargets",
    "Teacher",
    "as_teacher",
    "check_weights",
    "collect_logits",
]
