"""``limbeck distill``: from teachers, from peers, or from the network's own deepest exit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limbeck.commands.networks import named_teachers, student_source
from limbeck.commands.settings import layers_of, prepare, with_teacher_epochs
from limbeck.config import method_of
from limbeck.distillation import RunResult, distill, distill_mutual, distill_self
from limbeck.errors import ConfigError
from limbeck.settings import DistillConfig, JobConfig, MutualConfig, SelfConfig


def run(
    *,
    file: Path | None,
    flags: dict[str, Any],
    assignments: Sequence[str],
    out: Path | None,
    overwrite: bool,
    progress: str,
    command: str,
) -> tuple[RunResult, Path]:
    """Distil as the flags and the file say; return the result and the folder that it was written to."""
    kind = method_of(layers_of(file=file, flags=flags, assignments=assignments))
    flags = _flags_for(kind, flags)
    prepared = prepare(kind, file=file, flags=flags, assignments=assignments)
    config = prepared.config
    stem = "distill" if kind is DistillConfig else config.method
    arguments = prepared.arguments(stem=stem, out=out, overwrite=overwrite, progress=progress, command=command)
    from_command_line = "student" in flags
    if isinstance(config, MutualConfig):
        students = [student_source(text, from_command_line=from_command_line) for text in config.student]
        result = distill_mutual(students, teachers=named_teachers(config.teachers, flags, prepared), **arguments)
    elif isinstance(config, SelfConfig):
        result = distill_self(student_source(config.student, from_command_line=from_command_line), **arguments)
    else:
        names = () if config.store is not None and "teachers" not in flags else config.teachers
        texts = [config.student] if isinstance(config.student, str) else config.student
        students = [student_source(text, from_command_line=from_command_line) for text in texts]
        result = distill(
            students[0] if len(students) == 1 else students, named_teachers(names, flags, prepared), **arguments
        )
    return result, arguments["out"]


def _flags_for(kind: type[JobConfig], flags: dict[str, Any]) -> dict[str, Any]:
    """Return the flags as the method takes them: one student or several, and ``--epochs`` for teachers, too."""
    flags = dict(flags)
    if "student" in flags and kind is not MutualConfig and len(flags["student"]) == 1:
        flags["student"] = flags["student"][0]
        if kind is DistillConfig and "fuse" not in flags:
            flags["fuse"] = False  # whatever a preset says: one student is not fused
    elif "student" in flags and kind is SelfConfig:
        raise ConfigError(
            "This method trains one student.",
            received=", ".join(flags["student"]),
            expected="--student once",
            remedy="--method mutual trains several that learn from each other, --fuse several on the same teachers",
        )
    return flags if kind is SelfConfig else with_teacher_epochs(flags)
