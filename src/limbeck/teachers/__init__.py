"""Teachers: ``(ids, inputs, view) -> SoftTargets``, in eval mode, frozen, without autograd, unchanged by a run."""

from limbeck.teachers.collecting import CollectionProgress, collect, is_nested, prepare_collection, verify_answers
from limbeck.teachers.dispatch import as_teacher
from limbeck.teachers.ensemble import POOLINGS, EnsembleTeacher, PooledTargets, check_weights
from limbeck.teachers.feature_teacher import FeatureTeacher
from limbeck.teachers.from_store import StoreTeacher, store_teacher
from limbeck.teachers.memory import collect_logits, gives_logits
from limbeck.teachers.module import ModuleTeacher
from limbeck.teachers.shift_averaged import ShiftAveragedTeacher
from limbeck.teachers.specialists import SpecialistsTeacher
from limbeck.teachers.stored import LogitsTeacher
from limbeck.teachers.teacher import Teacher

__all__ = [
    "POOLINGS",
    "CollectionProgress",
    "EnsembleTeacher",
    "FeatureTeacher",
    "LogitsTeacher",
    "ModuleTeacher",
    "PooledTargets",
    "ShiftAveragedTeacher",
    "SpecialistsTeacher",
    "StoreTeacher",
    "Teacher",
    "as_teacher",
    "check_weights",
    "collect",
    "collect_logits",
    "gives_logits",
    "is_nested",
    "prepare_collection",
    "store_teacher",
    "verify_answers",
]
