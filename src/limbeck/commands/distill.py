"""``limbeck distill``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from limbeck.commands.networks import student_source, teacher_source
from limbeck.commands.settings import described, free_folder, normalise_for, prepare, shared_arguments
from limbeck.config import DistillConfig, recipe_from
from limbeck.distillation import RunResult, distill, dump_config
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
    """Distil as the flags and the file say; return the result and the folder that it was written to."""
    config, splits = prepare(DistillConfig, file=file, flags=flags, assignments=assignments)
    normalise = normalise_for(config, splits)
    student = student_source(config.student, from_command_line="student" in flags)
    teachers = [
        teacher_source(text, from_command_line="teachers" in flags, train=splits.train, normalise=normalise)
        for text in ([] if config.store is not None and "teachers" not in flags else config.teachers)
    ]
    recipe = recipe_from(config.recipe) or Recipe()
    teacher_recipe = recipe_from(config.teacher_recipe, base=config.recipe)
    recipes = {"recipe": asdict(recipe), "teacher_recipe": asdict(teacher_recipe) if teacher_recipe else None}
    resolved = described(config, normalise, recipes)
    folder = out or free_folder(f"distill-{Path(config.data).name}", dump_config(resolved))
    result = distill(
        student,
        teachers,
        **shared_arguments(config, splits, normalise),
        store=config.store,
        codec=config.codec,
        temperature=config.temperature,
        hard_weight=config.hard_weight,
        soft_weight=config.soft_weight,
        teacher_weights=config.teacher_weights,
        pooling=config.pooling,
        teacher_recipe=teacher_recipe,
        teacher_augmentations=config.teacher_augmentations,
        teacher_seed=config.teacher_seed,
        out=folder,
        overwrite=overwrite,
        progress=progress,
        command=command,
        config=resolved,
    )
    return result, folder
