"""``limbeck train``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limbeck.commands.networks import student_source
from limbeck.commands.settings import prepare
from limbeck.distillation import RunResult, train
from limbeck.settings import TrainJobConfig


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
    """Train one network on labels; return the result and the folder that it was written to."""
    prepared = prepare(TrainJobConfig, file=file, flags=flags, assignments=assignments)
    arguments = prepared.arguments(stem="train", out=out, overwrite=overwrite, progress=progress, command=command)
    network = student_source(prepared.config.student, from_command_line="student" in flags)
    return train(network, **arguments), arguments["out"]
