"""From what people have to a teacher."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from limbeck.errors import TeacherError
from limbeck.models.fixed import FixedNetwork
from limbeck.teachers.estimator import estimator_teacher, is_estimator, load_estimator
from limbeck.teachers.exported import exported_teacher, load_exported
from limbeck.teachers.function import FunctionTeacher
from limbeck.teachers.module import ModuleTeacher
from limbeck.teachers.onnx_file import onnx_teacher
from limbeck.teachers.stored import LogitsTeacher
from limbeck.teachers.teacher import Teacher

_FILES: dict[str, Callable[..., Teacher]] = {".onnx": onnx_teacher, ".pt2": load_exported, ".skops": load_estimator}


def as_teacher(teacher: object, **options: Any) -> Teacher:
    """Return a teacher for whatever classifies.

    ============================================  ==========================================================
    a ``Teacher``                                 itself
    ``nn.Module``, TorchScript, compiled          :class:`ModuleTeacher`
    ``torch.export`` program, ``Path("x.pt2")``   :class:`ModuleTeacher`
    ``Path("x.onnx")``                            run by onnxruntime
    ``predict_proba``, ``Path("x.skops")``        an estimator of probabilities, on raw samples
    a tensor or array (samples, classes)          :class:`LogitsTeacher`, by ``ids=`` or by 0, 1, 2, ...
    a function, with ``outputs=``                 :class:`FunctionTeacher`; needs ``name=`` and ``version=``
    ============================================  ==========================================================

    Args:
        teacher: one of these.
        options: as the class takes them: ``name``, ``logits``, ``outputs``, ``smoothing``, ``device``, ``dtype``,
            ``batch_size``, ``transform``, ``ids``, ``version``, ``raw``, ``class_names``.
    Raises:
        TeacherError: anything else, or options that this kind does not take.
    Example:
        >>> as_teacher(nn.Linear(4, 3), outputs="logits").name
        'Linear'
    """
    make = _maker(teacher, options)
    if make is None:
        raise TeacherError(
            "This is no teacher.",
            received=type(teacher).__name__,
            expected="a torch.nn.Module, an exported program, an estimator with predict_proba, a file (.onnx, .pt2, "
            ".skops), a tensor or array (samples, classes), a function with outputs=, or a limbeck Teacher",
            remedy="wrap it in a function: as_teacher(function, outputs=..., name=..., version=...)",
        )
    try:
        return make(teacher, **options)
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        raise TeacherError(
            f"A teacher of the kind {type(teacher).__name__} does not take these options.",
            received=", ".join(options),
            expected=f"those of {getattr(make, '__name__', make)}",
            remedy=str(error).split("() ")[-1],
        ) from error


def is_teacher(thing: object) -> bool:
    """Return whether :func:`as_teacher` takes it without options."""
    return _maker(thing, {}) is not None


def _maker(thing: object, options: dict[str, Any]) -> Callable[..., Teacher] | None:
    if isinstance(thing, Teacher):
        return _itself
    if isinstance(thing, nn.Module):
        return ModuleTeacher if hasattr(thing, "training") else _frozen_script
    if isinstance(thing, torch.export.ExportedProgram):
        return exported_teacher
    if isinstance(thing, (Tensor, np.ndarray)):
        return _matrix
    if isinstance(thing, Path):
        return _FILES.get(thing.suffix)
    if isinstance(thing, type):
        return None
    if is_estimator(thing):
        return estimator_teacher
    return FunctionTeacher if callable(thing) and "outputs" in options else None


def _frozen_script(script: nn.Module, *, name: str | None = None, **options: Any) -> ModuleTeacher:
    return ModuleTeacher(FixedNetwork(script), name=name or "frozen script", **options)


def _itself(teacher: Teacher, **options: Any) -> Teacher:
    if options:
        raise TeacherError(
            f"{teacher.name} is a teacher already.",
            received="options " + ", ".join(options),
            remedy="give the options where it is made",
        )
    return teacher


def _matrix(matrix: Tensor | np.ndarray[Any, Any], *, ids: Any = None, **options: Any) -> LogitsTeacher:
    logits = torch.as_tensor(matrix)
    return LogitsTeacher(
        logits if logits.is_floating_point() else logits.float(),
        ids=None if ids is None else torch.as_tensor(ids, dtype=torch.int64),
        **options,
    )
