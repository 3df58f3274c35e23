"""Limbeck distils trained classifiers into one small network, with evidence that it was worth it.

Names load on first use, so that importing the package costs nothing and ``limbeck --help`` answers at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from limbeck.version import __version__

_HOMES = {
    "BinaryDistillation": "limbeck.objectives",
    "Distillation": "limbeck.objectives",
    "DistillationLoss": "limbeck.integrations",
    "EnsembleTeacher": "limbeck.teachers",
    "HardLabels": "limbeck.objectives",
    "IndexedDataset": "limbeck.data",
    "LimbeckError": "limbeck.errors",
    "LogitsTeacher": "limbeck.teachers",
    "ModuleTeacher": "limbeck.teachers",
    "TrainConfig": "limbeck.training",
    "Samples": "limbeck.data",
    "SpecialistsTeacher": "limbeck.teachers",
    "TargetStore": "limbeck.targets",
    "Transform": "limbeck.data",
    "Views": "limbeck.data",
    "add_class_bias": "limbeck.calibration",
    "as_samples": "limbeck.data",
    "as_teacher": "limbeck.teachers",
    "best_class_bias": "limbeck.calibration",
    "binary_soft_target_loss": "limbeck.losses",
    "collect": "limbeck.teachers",
    "correct_class_bias": "limbeck.calibration",
    "distill": "limbeck.distillation",
    "distill_mutual": "limbeck.distillation",
    "distill_self": "limbeck.distillation",
    "estimate_priors": "limbeck.calibration",
    "export": "limbeck.exporting",
    "fit": "limbeck.training",
    "load_data": "limbeck.data",
    "load_model": "limbeck.models",
    "read_record": "limbeck.reports",
    "search": "limbeck.searching",
    "soft_target_loss": "limbeck.losses",
    "train": "limbeck.distillation",
    "write_report": "limbeck.reports",
}

__all__ = [
    "BinaryDistillation",
    "Distillation",
    "DistillationLoss",
    "EnsembleTeacher",
    "HardLabels",
    "IndexedDataset",
    "LimbeckError",
    "LogitsTeacher",
    "ModuleTeacher",
    "Samples",
    "SpecialistsTeacher",
    "TargetStore",
    "TrainConfig",
    "Transform",
    "Views",
    "__version__",
    "add_class_bias",
    "as_samples",
    "as_teacher",
    "best_class_bias",
    "binary_soft_target_loss",
    "collect",
    "correct_class_bias",
    "distill",
    "distill_mutual",
    "distill_self",
    "estimate_priors",
    "export",
    "fit",
    "load_data",
    "load_model",
    "read_record",
    "search",
    "soft_target_loss",
    "train",
    "write_report",
]

if TYPE_CHECKING:
    from limbeck.calibration import add_class_bias, best_class_bias, correct_class_bias, estimate_priors
    from limbeck.data import IndexedDataset, Samples, Transform, Views, as_samples, load_data
    from limbeck.distillation import distill, distill_mutual, distill_self, train
    from limbeck.errors import LimbeckError
    from limbeck.exporting import export
    from limbeck.integrations import DistillationLoss
    from limbeck.losses import binary_soft_target_loss, soft_target_loss
    from limbeck.models import load_model
    from limbeck.objectives import BinaryDistillation, Distillation, HardLabels
    from limbeck.reports import read_record, write_report
    from limbeck.searching import search
    from limbeck.targets import TargetStore
    from limbeck.teachers import (
        EnsembleTeacher,
        LogitsTeacher,
        ModuleTeacher,
        SpecialistsTeacher,
        as_teacher,
        collect,
    )
    from limbeck.training import TrainConfig, fit


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'limbeck' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
