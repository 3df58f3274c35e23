"""Configurations: YAML, checked against the declared settings, with the line of every mistake. They name no code."""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from limbeck.errors import ConfigError, near_names, unknown_name
from limbeck.settings import (
    METHODS,
    DistillConfig,
    JobConfig,
    MutualConfig,
    Normalisation,
    SearchConfig,
    SelfConfig,
    TrainConfig,
    TrainJobConfig,
)
from limbeck.settings.checking import expectation, model_of
from limbeck.settings.setting import alternatives, fields_of, section_of
from limbeck.settings.yaml_text import read_text, read_yaml

Location = tuple[str | int, ...]
Config = TypeVar("Config", bound=JobConfig)


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
    values, root = read_yaml(text, source=source)
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
    return read_layer(read_text(path), source=str(path))


def resolve(kind: type[Config], layers: Sequence[Layer]) -> Config:
    """Check every layer on its own and lay the later ones over the earlier ones, key by key, into sections too.

    Raises:
        ConfigError: an unknown key or a wrong value; says which layer, line and near names.
        LimbeckError: values that do not go together.
    """
    merged: dict[str, Any] = {}
    model: type[BaseModel] = model_of(cast(type, kind))
    for layer in layers:
        try:
            model.model_validate(layer.values)
        except ValidationError as error:
            raise _explain(kind, layer, error) from error
        merged = _lay_over(merged, layer.values)
    made: Config = _made(kind, model.model_validate(merged))
    return made


def preset_values(kind: type[JobConfig], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a data set's preset, made for distillation from teachers, that hold for a kind of job.

    A method that is not from teachers alone keeps none of the loss's settings; a cohort has two of the student. Of
    several students a job that trains one keeps the first.
    """
    known = fields_of(kind if kind in (DistillConfig, SearchConfig) else TrainJobConfig)
    found = {key: value for key, value in values.items() if key in known}
    if kind is SearchConfig:
        found.pop("student", None)  # one network, where a search has a family
    several = isinstance(found.get("student"), list)
    if kind is MutualConfig and "student" in found and not several:
        found["student"] = 2 * [found["student"]]
    elif several and kind not in (MutualConfig, DistillConfig):
        found["student"] = found["student"][0]
    return found


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of ``limbeck distill``'s configuration: that of one method or another."""
    models: Any = [model_of(cast(type, kind)) for kind in METHODS.values()]
    return TypeAdapter[Any](functools.reduce(operator.or_, models)).json_schema()


def method_of(layers: Sequence[Layer]) -> type[DistillConfig] | type[MutualConfig] | type[SelfConfig]:
    """Return the kind of configuration of the method that the last layer with one names; the teachers' by default.

    Raises:
        UnknownName: no such method.
    """
    named = [layer.values["method"] for layer in layers if "method" in layer.values]
    method = named[-1] if named else "teacher"
    if not isinstance(method, str) or method not in METHODS:
        raise unknown_name("method", str(method), list(METHODS))
    return METHODS[method]


def _made(kind: type[Any], values: BaseModel) -> Any:
    """Return the dataclass of checked values; what was not given keeps the dataclass's default."""
    given: dict[str, Any] = {}
    for name, (annotation, _, _) in fields_of(kind).items():
        if name in values.model_fields_set:
            value, section = getattr(values, name), section_of(annotation)
            if section is None or value is not None:
                given[name] = value if section is None else _made(section, value)
            elif type(None) in alternatives(annotation):
                given[name] = None
    if isinstance(given.get("recipe"), TrainConfig) and given.get("teacher_recipe") is not None:
        own = values.teacher_recipe.model_dump(exclude_unset=True)  # type: ignore[attr-defined]
        given["teacher_recipe"] = dataclasses.replace(given["recipe"], **own)
    return kind(**given)


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


def _explain(kind: type[JobConfig], layer: Layer, error: ValidationError) -> ConfigError:
    """Return the error for the first key that is wrong; of several types for the nearest."""
    findings = [finding for finding in error.errors() if finding["loc"][:1] == error.errors()[0]["loc"][:1]]
    finding = max(findings, key=lambda one: len(one["loc"])) if isinstance(findings[0]["input"], dict) else findings[0]
    location = tuple(finding["loc"])
    known_location = location
    while known_location and known_location not in layer.lines:
        known_location = known_location[:-1]
    line = layer.lines.get(known_location)
    where = f"{layer.source}, line {line}" if line else layer.source
    if finding["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return _unknown_key(kind, location, where)
    name = ".".join(str(part) for part in (known_location or _own_path(kind, location)))
    expected = " or ".join(dict.fromkeys(expectation(one) for one in findings if one["input"] is finding["input"]))
    return ConfigError(f"{where}: {name} has a wrong value.", received=f"{finding['input']!r:.100}", expected=expected)


def _unknown_key(kind: type[JobConfig], location: Location, where: str) -> ConfigError:
    key, section = str(location[-1]), _own_path(kind, location[:-1])
    known = _keys_at(kind, section)
    near = near_names(key, known)
    return ConfigError(
        f"{where}: there is no key {key!r}" + (f" in {section[0]}." if section else "."),
        received=key,
        expected="one of " + ", ".join(known),
        remedy=f"did you mean {' or '.join(near)}?" if near else _other_methods(key, location),
    )


def _own_path(kind: type[JobConfig], location: Location) -> Location:
    """Return the part of pydantic's location that keys of the configuration make; it adds the names of types."""
    if not location or location[0] not in fields_of(kind):
        return ()
    section = section_of(fields_of(kind)[str(location[0])][0])
    inner = location[1:2] if section and location[1:] and location[1] in fields_of(section) else ()
    return (*location[:1], *inner, *(part for part in location[1:] if isinstance(part, int)))


def _other_methods(key: str, location: Location) -> str | None:
    """Return which methods know a key of the top level that this one does not."""
    others = [name for name, kind in METHODS.items() if len(location) == 1 and key in fields_of(kind)]
    return f"it belongs to method {' and '.join(others)}" if others else None


def _keys_at(kind: type[JobConfig], location: Location) -> list[str]:
    if not location:
        return list(model_of(cast(type, kind)).model_fields)
    section = section_of(fields_of(kind)[str(location[0])][0])
    return list(fields_of(section or Normalisation))
