"""Limbeck distils trained classifiers into one small network, with evidence that it was worth it.

Names load on first use, so that importing the package costs nothing and ``limbeck --help`` answers at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from limbeck.version import __version__

_HOMES = {
    "Distillation": "limbeck.objectives",
    "EnsembleTeacher": "limbeck.teachers",
    "HardLabels": "limbeck.objectives",
    "LimbeckError": "limbeck.errors",
    "LogitsTeacher": "limbeck.teachers",
    "ModuleTeacher": "limbeck.teachers",
    "Recipe": "limbeck.training",
    "SpecialistsTeacher": "limbeck.teachers",
    "Views": "limbeck.data",
    "add_class_bias": "limbeck.calibration",
    "best_class_bias": "limbeck.calibration",
    "correct_class_bias": "limbeck.calibration",
    "distill": "limbeck.distillation",
    "distill_mutual": "limbeck.distillation",
    "distill_self": "limbeck.distillation",
    "estimate_priors": "limbeck.calibration",
    "fit": "limbeck.training",
    "load_data": "limbeck.data",
    "load_model": "limbeck.models",
    "read_record": "limbeck.reports",
    "train": "limbeck.distillation",
    "write_report": "limbeck.reports",
}

__all__ = [
    "Distillation",
    "EnsembleTeacher",
    "HardLabels",
    "LimbeckError",
    "LogitsTeacher",
    "ModuleTeacher",
    "Recipe",
    "SpecialistsTeacher",
    "Views",
    "__version__",
    "add_class_bias",
    "best_class_bias",
    "correct_class_bias",
    "distill",
    "distill_mutual",
    "distill_self",
    "estimate_priors",
    "fit",
    "load_data",
    "load_model",
    "read_record",
    "train",
    "write_report",
]

if TYPE_CHECKING:
    from limbeck.calibration import add_class_bias, best_class_bias, correct_class_bias, estimate_priors
    from limbeck.data import Views, load_data
    from limbeck.distillation import distill, distill_mutual, distill_self, train
    from limbeck.errors import LimbeckError
    from limbeck.models import load_model
    from limbeck.objectives import Distillation, HardLabels
    from limbeck.reports import read_record, write_report
    from limbeck.teachers import EnsembleTeacher, LogitsTeacher, ModuleTeacher, SpecialistsTeacher
    from limbeck.training import Recipe, fit


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'limbeck' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
