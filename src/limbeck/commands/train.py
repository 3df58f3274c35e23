"""``limbeck train``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from limbeck.commands.networks import student_source
from limbeck.commands.settings import described, free_folder, normalise_for, prepare, shared_arguments
from limbeck.config import TrainConfig, recipe_from
from limbeck.distillation import RunResult, dump_config, train
from limbeck.training import Recipe


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
    config, splits = prepare(TrainConfig, file=file, flags=flags, assignments=assignments)
    normalise = normalise_for(config, splits)
    recipe = recipe_from(config.recipe) or Recipe()
    resolved = described(config, normalise, {"recipe": asdict(recipe)})
    folder = out or free_folder(f"train-{Path(config.data).name}", dump_config(resolved))
    result = train(
        student_source(config.student, from_command_line="student" in flags),
        **shared_arguments(config, splits, normalise),
        out=folder,
        overwrite=overwrite,
        progress=progress,
        command=command,
        config=resolved,
    )
    return result, folder
