"""Teachers: ``(ids, inputs, view) -> SoftTargets``, in eval mode, frozen, without autograd, unchanged by a run."""

from limbeck.teachers.class_map import ClassMap
from limbeck.teachers.collecting import collect, is_nested, prepare_collection, verify_store
from limbeck.teachers.collecting_on_ranks import collect_on_ranks
from limbeck.teachers.collection_progress import CollectionProgress
from limbeck.teachers.dispatch import as_teacher, is_teacher
from limbeck.teachers.ensemble import EnsembleTeacher, PooledTargets, check_weights
from limbeck.teachers.estimator import estimator_teacher, load_estimator
from limbeck.teachers.exported import exported_teacher, load_exported
from limbeck.teachers.feature_teacher import FeatureTeacher
from limbeck.teachers.from_store import StoreTeacher, pool_stored, store_teacher
from limbeck.teachers.function import FunctionTeacher
from limbeck.teachers.mapped import MappedTeacher, classes_of_members, over_classes
from limbeck.teachers.memory import collect_logits, gives_logits
from limbeck.teachers.module import ModuleTeacher
from limbeck.teachers.onnx_file import onnx_teacher
from limbeck.teachers.outputs import SMOOTHING, Outputs
from limbeck.teachers.probe import check_probe
from limbeck.teachers.shift_averaged import ShiftAveragedTeacher
from limbeck.teachers.specialists import SpecialistsTeacher
from limbeck.teachers.stored import LogitsTeacher
from limbeck.teachers.teacher import Teacher

__all__ = [
    "SMOOTHING",
    "ClassMap",
    "CollectionProgress",
    "EnsembleTeacher",
    "FeatureTeacher",
    "FunctionTeacher",
    "LogitsTeacher",
    "MappedTeacher",
    "ModuleTeacher",
    "Outputs",
    "PooledTargets",
    "ShiftAveragedTeacher",
    "SpecialistsTeacher",
    "StoreTeacher",
    "Teacher",
    "as_teacher",
    "check_probe",
    "check_weights",
    "classes_of_members",
    "collect",
    "collect_logits",
    "collect_on_ranks",
    "estimator_teacher",
    "exported_teacher",
    "gives_logits",
    "is_nested",
    "is_teacher",
    "load_estimator",
    "load_exported",
    "onnx_teacher",
    "over_classes",
    "pool_stored",
    "prepare_collection",
    "store_teacher",
    "verify_store",
]
