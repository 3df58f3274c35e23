"""Configurations: YAML, checked by pydantic, with the line of every mistake. They never name code to run."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, TypeAdapter, ValidationError, create_model

from limbeck.errors import ConfigError, near_names, unknown_name
from limbeck.training import Recipe

Location = tuple[str | int, ...]
Texts = typing.Annotated[list[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]


def _recipe_model() -> type[BaseModel]:
    """Return the pydantic twin of Recipe, every key optional: what is missing comes from the layer below."""
    hints = typing.get_type_hints(Recipe)
    fields: dict[str, Any] = {f.name: (hints[f.name] | None, None) for f in dataclasses.fields(Recipe)}
    return create_model("RecipeConfig", __config__=ConfigDict(extra="forbid"), **fields)


RecipeConfig = _recipe_model()


class NormaliseConfig(BaseModel):
    """Fixed mean and standard deviation, for each channel or one for all."""

    model_config = ConfigDict(extra="forbid")

    mean: list[float]
    std: list[float]


class TrainConfig(BaseModel):
    """Keys of ``limbeck train``; every one is optional."""

    model_config = ConfigDict(extra="forbid")

    data: str = "digits"
    image_size: int | None = None
    num_labelled: int | None = None
    validation_fraction: float = 0.1
    split_seed: int = 0
    normalise: bool | NormaliseConfig = True  # true: by the training set's mean and deviation
    augmentations: Texts = []
    num_views: int | None = None
    view_seed: int = 0
    recipe: RecipeConfig = RecipeConfig()  # type: ignore[valid-type]
    seeds: int | list[int] = 3
    device: str = "auto"
    precision: str = "auto"
    num_threads: int | None = None
    student: str = "mlp:widths=100x100"

    @classmethod
    def of_preset(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Return the keys of a data set's preset, made for distillation from teachers, that hold for every method."""
        return {key: value for key, value in values.items() if key in TrainConfig.model_fields}


class TaughtConfig(TrainConfig):
    """Keys of the methods that can have teachers."""

    teachers: Texts = []
    codec: str = "dense16"
    teacher_weights: list[float] | None = None
    pooling: str = "arithmetic"
    teacher_recipe: RecipeConfig | None = None  # type: ignore[valid-type]
    teacher_augmentations: list[str] | None = None
    teacher_seed: int = 0


class DistillConfig(TaughtConfig):
    """Keys of ``limbeck distill``; every one is optional."""

    method: typing.Literal["teacher"] = "teacher"
    teachers: Texts = ["mlp:widths=400x400"]
    store: str | None = None
    temperature: float = 4.0
    hard_weight: float = 0.1
    soft_weight: float = 0.9

    @classmethod
    def of_preset(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Return the preset's keys: all are for this method."""
        return {key: value for key, value in values.items() if key in cls.model_fields}


class MutualConfig(TaughtConfig):
    """Keys of ``limbeck distill --method mutual``; every one is optional."""

    method: typing.Literal["mutual"] = "mutual"
    student: str | list[str] = ["mlp:widths=100x100", "mlp:widths=100x100"]  # type: ignore[assignment]
    temperature: float = 1.0
    hard_weight: float = 1.0
    soft_weight: float = 1.0
    beside_weight: float | None = None  # of teachers beside the peers; 1 where there are any
    targets: str = "each"
    update: str = "alternating"

    @classmethod
    def of_preset(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Return the preset's keys that hold for every method, with two of its student."""
        known = super().of_preset(values)
        return known | ({"student": 2 * [known["student"]]} if "student" in known else {})


class SelfConfig(TrainConfig):
    """Keys of ``limbeck distill --method self``; all but ``exits`` are optional."""

    method: typing.Literal["self"] = "self"
    exits: Texts = []
    deepest: str | None = None
    temperature: float = 3.0
    hard_weight: float = 0.7
    soft_weight: float = 0.3
    hint_weight: float = 0.03
    tolerance: float = 0.005


METHODS: dict[str, type[DistillConfig] | type[MutualConfig] | type[SelfConfig]] = {
    "teacher": DistillConfig,
    "mutual": MutualConfig,
    "self": SelfConfig,
}
Config = typing.TypeVar("Config", bound=TrainConfig)


@dataclasses.dataclass(frozen=True)
class Layer:
    """One layer of settings: where it comes from, its values, and the line of each key where it was a file."""

    source: str
    values: dict[str, Any]
    lines: Mapping[Location, int] = dataclasses.field(default_factory=dict)


def read_layer(text: str, *, source: str) -> Layer:
    """Parse YAML into a layer.

    Raises:
        ConfigError: no YAML, not a mapping, or a key twice.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{source}, line {mark.line + 1}" if mark else source
        raise ConfigError(
            f"{where}: this is not YAML.", received=getattr(error, "problem", None) or str(error)
        ) from error
    if values is None:
        return Layer(source, {})
    if not isinstance(values, dict):
        raise ConfigError(f"{source} is not a mapping.", received=type(values).__name__, expected="lines of key: value")
    lines: dict[Location, int] = {}
    _collect_lines(root, (), lines, source)
    return Layer(source, values, lines)


def read_file(path: Path) -> Layer:
    """Read a configuration file.

    Raises:
        ConfigError: missing or unreadable.
    """
    try:
        return read_layer(path.read_text(encoding="utf-8"), source=str(path))
    except (OSError, UnicodeDecodeError) as error:
        received = error.strerror if isinstance(error, OSError) else "bytes that are not UTF-8"
        raise ConfigError(f"Cannot read the configuration {path}.", received=received) from error


def resolve(kind: type[Config], layers: Sequence[Layer]) -> Config:
    """Check every layer on its own and lay the later ones over the earlier ones, key by key, into recipes too.

    Raises:
        ConfigError: an unknown key or a wrong value; says which layer, line and near names.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        try:
            kind.model_validate(layer.values)
        except ValidationError as error:
            raise _explain(kind, layer, error) from error
        merged = _lay_over(merged, layer.values)
    return kind.model_validate(merged)


def recipe_from(config: BaseModel | None, *, base: BaseModel | None = None) -> Recipe | None:
    """Return the Recipe of a recipe section; None for none.

    Args:
        config: the section; its keys are laid over those of ``base``.
        base: the section that missing keys come from, before Recipe's defaults.
    Raises:
        InvalidValue: a number outside its range.
    """
    if config is None:
        return None
    given: dict[str, Any] = {}
    for section in (base, config):
        if section is not None:
            given |= {key: value for key, value in section.model_dump().items() if key in section.model_fields_set}
    if given.get("step_milestones") is not None:
        given["step_milestones"] = tuple(given["step_milestones"])
    optional = {"clip_norm", "ema_decay", "patience_epochs"}
    return Recipe(**{key: value for key, value in given.items() if value is not None or key in optional})


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of ``limbeck distill``'s configuration: that of one method or another."""
    return TypeAdapter(DistillConfig | MutualConfig | SelfConfig).json_schema()


def method_of(layers: Sequence[Layer]) -> type[DistillConfig] | type[MutualConfig] | type[SelfConfig]:
    """Return the kind of configuration of the method that the last layer with one names; the teachers' by default.

    Raises:
        UnknownName: no such method.
    """
    named = [layer.values["method"] for layer in layers if "method" in layer.values]
    method = named[-1] if named else "teacher"
    if method not in METHODS:
        raise unknown_name("method", str(method), list(METHODS))
    return METHODS[method]


def _lay_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _lay_over(merged[key], value)
        else:
            merged[key] = value
    return merged


def _collect_lines(node: yaml.Node | None, path: Location, lines: dict[Location, int], source: str) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            location = (*path, key.value)
            if location in lines:
                raise ConfigError(f"{source}, line {key.start_mark.line + 1}: the key {key.value!r} stands twice.")
            lines[location] = key.start_mark.line + 1
            _collect_lines(value, location, lines, source)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*path, index)] = item.start_mark.line + 1
            _collect_lines(item, (*path, index), lines, source)


def _explain(kind: type[BaseModel], layer: Layer, error: ValidationError) -> ConfigError:
    """Return the error for pydantic's first finding."""
    finding = error.errors()[0]
    location = tuple(part for part in finding["loc"])
    known_location = location
    while known_location and known_location not in layer.lines:
        known_location = known_location[:-1]
    line = layer.lines.get(known_location)
    where = f"{layer.source}, line {line}" if line else layer.source
    name = ".".join(str(part) for part in (known_location or location))
    if finding["type"] == "extra_forbidden":
        key = str(location[-1])
        known = _keys_at(kind, location[:-1])
        near = near_names(key, known)
        return ConfigError(
            f"{where}: there is no key {key!r}" + (f" in {location[0]}." if len(location) > 1 else "."),
            received=key,
            expected="one of " + ", ".join(known),
            remedy=f"did you mean {' or '.join(near)}?" if near else _other_methods(key, location),
        )
    return ConfigError(
        f"{where}: {name} has a wrong value.", received=f"{finding['input']!r:.100}", expected=finding["msg"]
    )


def _other_methods(key: str, location: Location) -> str | None:
    """Return which methods know a key of the top level that this one does not."""
    others = [name for name, kind in METHODS.items() if len(location) == 1 and key in kind.model_fields]
    return f"it belongs to method {' and '.join(others)}" if others else None


def _keys_at(kind: type[BaseModel], location: Location) -> list[str]:
    if location and location[0] in ("recipe", "teacher_recipe"):
        return list(RecipeConfig.model_fields)
    if location and location[0] == "normalise":
        return list(NormaliseConfig.model_fields)
    return list(kind.model_fields)
