"""Teachers: ``(ids, inputs, view) -> SoftTargets``, in eval mode, frozen, without autograd, unchanged by a run."""

from limbeck.teachers.collecting import CollectionProgress, collect, prepare_collection, verify_answers
from limbeck.teachers.ensemble import POOLINGS, EnsembleTeacher, PooledTargets, check_weights
from limbeck.teachers.feature_teacher import FeatureTeacher
from limbeck.teachers.from_store import StoreTeacher, store_teacher
from limbeck.teachers.module import ModuleTeacher
from limbeck.teachers.shift_averaged import ShiftAveragedTeacher
from limbeck.teachers.specialists import SpecialistsTeacher
from limbeck.teachers.stored import LogitsTeacher, collect_logits
from limbeck.teachers.teacher import Teacher, as_teacher

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
    "prepare_collection",
    "store_teacher",
    "verify_answers",
]
