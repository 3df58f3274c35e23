"""``limbeck distill``: from teachers, from peers, or from the network's own deepest exit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from limbeck.commands.networks import student_source, teacher_source
from limbeck.commands.settings import (
    described,
    free_folder,
    layers_of,
    normalise_for,
    prepare,
    shared_arguments,
)
from limbeck.config import DistillConfig, MutualConfig, SelfConfig, TaughtConfig, TrainConfig, method_of, recipe_from
from limbeck.data import Normalise, Splits
from limbeck.distillation import NetworkSource, RunResult, distill, distill_mutual, distill_self, dump_config
from limbeck.errors import ConfigError
from limbeck.teachers import Teacher
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
    kind = method_of(layers_of(file=file, flags=flags, assignments=assignments))
    flags = _flags_for(kind, flags)
    config, splits = prepare(kind, file=file, flags=flags, assignments=assignments)
    normalise = normalise_for(config, splits)
    recipes: dict[str, Any] = {"recipe": asdict(recipe_from(config.recipe) or Recipe())}
    if isinstance(config, TaughtConfig):
        teacher_recipe = _teacher_recipe(config)
        recipes["teacher_recipe"] = asdict(teacher_recipe) if teacher_recipe else None
    resolved = described(config, normalise, recipes)
    stem = "distill" if config.method == "teacher" else config.method
    folder = out or free_folder(f"{stem}-{Path(config.data).name}", dump_config(resolved))
    arguments = shared_arguments(config, splits, normalise) | {
        "out": folder,
        "overwrite": overwrite,
        "progress": progress,
        "command": command,
        "config": resolved,
    }
    if isinstance(config, MutualConfig):
        return _mutual(config, flags, splits, normalise, arguments), folder
    if isinstance(config, SelfConfig):
        return _self(config, flags, arguments), folder
    return _from_teachers(config, flags, splits, normalise, arguments), folder


def _flags_for(kind: type[TrainConfig], flags: dict[str, Any]) -> dict[str, Any]:
    """Return the flags as the method takes them: one student or several, and ``--epochs`` for teachers, too."""
    flags = dict(flags)
    if "student" in flags and not issubclass(kind, MutualConfig):
        if len(flags["student"]) > 1:
            raise ConfigError(
                "This method trains one student.",
                received=", ".join(flags["student"]),
                expected="--student once",
                remedy="--method mutual trains several that learn from each other",
            )
        flags["student"] = flags["student"][0]
    epochs = flags.get("recipe", {}).get("num_epochs")
    if epochs is not None and issubclass(kind, TaughtConfig):
        flags["teacher_recipe"] = {"num_epochs": epochs}
    return flags


def _from_teachers(
    config: DistillConfig, flags: dict[str, Any], splits: Splits, normalise: Normalise | None, arguments: dict[str, Any]
) -> RunResult:
    return distill(
        student_source(config.student, from_command_line="student" in flags),
        [] if config.store is not None and "teachers" not in flags else _teachers(config, flags, splits, normalise),
        **arguments,
        **_taught(config),
        store=config.store,
        temperature=config.temperature,
        hard_weight=config.hard_weight,
        soft_weight=config.soft_weight,
    )


def _mutual(
    config: MutualConfig, flags: dict[str, Any], splits: Splits, normalise: Normalise | None, arguments: dict[str, Any]
) -> RunResult:
    students = [config.student] if isinstance(config.student, str) else config.student
    return distill_mutual(
        [student_source(text, from_command_line="student" in flags) for text in students],
        teachers=_teachers(config, flags, splits, normalise),
        **arguments,
        **_taught(config),
        temperature=config.temperature,
        hard_weight=config.hard_weight,
        soft_weight=config.soft_weight,
        beside_weight=config.beside_weight,
        targets=config.targets,
        update=config.update,
    )


def _self(config: SelfConfig, flags: dict[str, Any], arguments: dict[str, Any]) -> RunResult:
    return distill_self(
        student_source(config.student, from_command_line="student" in flags),
        **arguments,
        exits=config.exits,
        deepest=config.deepest,
        temperature=config.temperature,
        hard_weight=config.hard_weight,
        soft_weight=config.soft_weight,
        hint_weight=config.hint_weight,
        tolerance=config.tolerance,
    )


def _teachers(
    config: TaughtConfig, flags: dict[str, Any], splits: Splits, normalise: Normalise | None
) -> list[Teacher | NetworkSource]:
    return [
        teacher_source(text, from_command_line="teachers" in flags, train=splits.train, normalise=normalise)
        for text in config.teachers
    ]


def _taught(config: TaughtConfig) -> dict[str, Any]:
    """Return the arguments of the jobs that can have teachers."""
    return {
        "codec": config.codec,
        "teacher_weights": config.teacher_weights,
        "pooling": config.pooling,
        "teacher_recipe": _teacher_recipe(config),
        "teacher_augmentations": config.teacher_augmentations,
        "teacher_seed": config.teacher_seed,
    }


def _teacher_recipe(config: TaughtConfig) -> Recipe | None:
    return recipe_from(config.teacher_recipe, base=config.recipe)
