"""``limbeck reproduce``: from flags to a recipe's settings, and the run."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from limbeck.commands.settings import assignment
from limbeck.errors import ConfigError, near_names
from limbeck.recipes import RECIPES, load_recipe
from limbeck.recipes.running import Reproduction, reproduce
from limbeck.training import set_threads


def run(
    name: str | None,
    *,
    smoke: bool,
    seeds: int | None,
    assignments: Sequence[str],
    out: Path | None,
    networks: Path | None,
    device: str,
    precision: str,
    num_threads: int | None,
    progress: str,
    command: str,
) -> Reproduction:
    """Run a recipe with its settings changed as the flags say."""
    if name is None:
        raise ConfigError(
            "reproduce needs the name of a recipe.",
            expected="one of " + ", ".join(RECIPES),
            remedy="limbeck reproduce --list tells what they are",
        )
    recipe = load_recipe(name)
    settings = recipe.SMOKE if smoke else recipe.Settings()
    if seeds is not None:
        if seeds < 1:
            raise ConfigError("--seeds is a number of runs.", received=seeds, expected=">= 1")
        settings = dataclasses.replace(settings, seeds=tuple(range(seeds)))
    for text in assignments:
        layer = assignment(text)
        settings = changed(settings, layer.values, source=layer.source)
    set_threads(num_threads)
    return reproduce(
        name,
        settings=settings,
        smoke=smoke,
        out=out,
        networks=networks,
        device=device,
        precision=precision,
        progress=progress,
        command=command,
    )


def listing() -> str:
    """Return the recipes, one a line."""
    width = max(map(len, RECIPES))
    return "\n".join(f"{name:<{width}}  {line}" for name, (_, line) in RECIPES.items())


def changed(settings: Any, values: Mapping[str, Any], *, source: str) -> Any:
    """Return a settings dataclass with fields changed, also those of dataclasses within it.

    Args:
        settings: a frozen dataclass.
        values: by field; text with commas becomes a tuple where the field is one.
        source: named in errors.
    Raises:
        ConfigError: an unknown field, or a value of the wrong type.
        InvalidValue, UnknownName: a value that the settings refuse.
    """
    hints = typing.get_type_hints(type(settings))
    given: dict[str, Any] = {}
    for name, value in values.items():
        if name not in hints:
            near = near_names(name, hints)
            raise ConfigError(
                f"{source}: there is no setting {name!r}.",
                received=name,
                expected="one of " + ", ".join(hints),
                remedy=f"did you mean {' or '.join(near)}?" if near else None,
            )
        own = getattr(settings, name)
        if dataclasses.is_dataclass(own) and isinstance(value, dict):
            given[name] = changed(own, value, source=source)
        else:
            given[name] = _converted(hints[name], value, f"{source}: {name}")
    return dataclasses.replace(settings, **given)


def _converted(kind: Any, value: Any, what: str) -> Any:
    if typing.get_origin(kind) is tuple and not isinstance(value, list):
        value = [part.strip() for part in value.split(",")] if isinstance(value, str) else [value]
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        finding = error.errors()[0]
        raise ConfigError(
            f"{what} has a wrong value.", received=f"{finding['input']!r:.100}", expected=finding["msg"]
        ) from error
