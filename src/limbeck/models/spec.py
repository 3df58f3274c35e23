"""The text that names a network of the zoo: ``mlp:widths=800x800,hidden_dropout=0.5``."""

from __future__ import annotations

import inspect
import math
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from limbeck.errors import InvalidValue, UnknownName, near_names, unknown_name
from limbeck.models.zoo import ZOO

Argument = int | float | str | None | tuple[int, ...]

_GRAMMAR = "NAME or NAME:key=value,key=value, such as mlp:widths=800x800,hidden_dropout=0.5"
_TASK = ("input_shape", "num_classes")  # come from the data, never from a spec
_UNIONS = (types.UnionType, typing.Union)  # Python 3.10 turns "float | None" into the second
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")


@dataclass(frozen=True)
class ModelSpec:
    """A network of the zoo and the settings that differ from its defaults.

    ``str(spec)`` is text that :meth:`parse` reads back to an equal spec.

    Args:
        name: one of :data:`limbeck.models.ZOO`.
        arguments: the builder's keyword arguments without ``input_shape`` and ``num_classes``. Values may be written
            as in the text form ("800x800") or in Python's (a list of widths).
    Raises:
        UnknownName: no such network, or no such setting of it; the near ones are listed.
        InvalidValue: a value of the wrong type.
    Example:
        >>> spec = ModelSpec.parse("mlp:widths=800x800,hidden_dropout=0.5")
        >>> spec.arguments
        {'widths': (800, 800), 'hidden_dropout': 0.5}
        >>> str(spec)
        'mlp:widths=800x800,hidden_dropout=0.5'
    """

    name: str
    arguments: Mapping[str, Argument] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        kinds = settings_of(self.name)
        for key in self.arguments:
            if key not in kinds:
                raise _unknown_setting(self.name, key, kinds)
        arguments = {key: _argument(kinds[key], value, f"{self.name}'s {key}") for key, value in self.arguments.items()}
        object.__setattr__(self, "arguments", arguments)

    @classmethod
    def parse(cls, text: str) -> ModelSpec:
        """Read ``NAME`` or ``NAME:key=value,key=value``.

        Widths are joined by x, as in ``widths=800x800`` (``none`` for no layer); ``none`` also stands for no limit.

        Raises:
            UnknownName: no such network or setting.
            InvalidValue: the text does not follow the grammar, a key comes twice, or a value is of the wrong type.
        """
        name, colon, rest = text.strip().partition(":")
        arguments: dict[str, str] = {}
        for part in rest.split(",") if colon else ():
            key, equals, value = (piece.strip() for piece in part.partition("="))
            if not (key and equals and value):
                raise InvalidValue(
                    f"{part.strip()!r} in the model spec is not key=value.", received=text, expected=_GRAMMAR
                )
            if key in arguments:
                raise InvalidValue(f"{key} is set twice in the model spec.", received=text, remedy="keep one of them")
            arguments[key] = value
        return cls(name.strip(), arguments)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> ModelSpec:
        """Read a mapping such as a YAML file gives: ``{name: mlp, widths: [800, 800]}``.

        Raises:
            UnknownName: no such network or setting.
            InvalidValue: no name, or a value of the wrong type.
        Example:
            >>> str(ModelSpec.from_mapping({"name": "convnet", "channels": [16, 32]}))
            'convnet:channels=16x32'
        """
        name = mapping.get("name")
        if not isinstance(name, str):
            raise InvalidValue(
                "The model has no name.",
                received=dict(mapping),
                expected="a mapping such as {name: mlp, widths: [800, 800]}",
                remedy="add name: with one of " + ", ".join(sorted(ZOO)),
            )
        return cls(name, {key: value for key, value in mapping.items() if key != "name"})

    def __str__(self) -> str:
        settings = ",".join(f"{key}={_text(value)}" for key, value in self.arguments.items())
        return f"{self.name}:{settings}" if settings else self.name


def settings_of(name: str) -> dict[str, Any]:
    """Return the settings of a network of the zoo, each with its type.

    Raises:
        UnknownName: no such network.
    Example:
        >>> list(settings_of("convnet"))
        ['channels', 'dropout']
    """
    if name not in ZOO:
        if "/" in name:
            raise UnknownName(
                f"There is no folder {name}.",
                received=name,
                expected="a folder that a network was saved in, or one of the zoo: " + ", ".join(sorted(ZOO)),
                remedy="see that the path is right; limbeck train --out FOLDER trains and saves a network",
            )
        error = unknown_name("model", name, ZOO)
        error.remedy = f"{error.remedy or 'choose one of these'}; a model of your own is package.module:factory"
        raise error
    hints = typing.get_type_hints(ZOO[name])
    return {key: hints[key] for key in inspect.signature(ZOO[name]).parameters if key not in _TASK}


def _unknown_setting(name: str, key: str, known: Mapping[str, Any]) -> UnknownName:
    if key in _TASK:
        return UnknownName(
            f"{key} is no setting of {name}.", received=key, remedy=f"leave it out: {key} comes from the data"
        )
    near = near_names(str(key), known)
    return UnknownName(
        f"{name} has no setting named {key!r}.",
        received=key,
        expected="one of " + ", ".join(sorted(known)),
        remedy=f"did you mean {' or '.join(near)}?" if near else None,
    )


def _argument(kind: Any, value: Any, what: str) -> Argument:
    """Return ``value`` as ``kind`` has it; text is read as in a spec."""
    try:
        return _convert(kind, value)
    except (ValueError, OverflowError) as error:
        raise InvalidValue(
            f"{what} has a value of the wrong type.", received=repr(value), expected=_description(kind)
        ) from error


def _convert(kind: Any, value: Any) -> Argument:
    origin, choices = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal and value in choices:
        return str(value)
    if origin in _UNIONS:
        if value is None or value == "none":
            return None
        return _convert(choices[0], value)
    if origin is tuple:
        if isinstance(value, str):
            value = [] if value == "none" else value.split("x")
        elements = value if isinstance(value, (list, tuple)) else [value]
        return tuple(_integer(element) for element in elements)
    if kind is int:
        return _integer(value)
    if kind is float and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        number = float(value)
        if math.isfinite(number):
            return number
    raise ValueError(value)


def _integer(value: Any) -> int:
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(value)


def _text(value: Argument) -> str:
    if value is None or value == ():
        return "none"
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _description(kind: Any) -> str:
    origin, choices = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return "one of " + ", ".join(choices)
    if origin in _UNIONS:
        return _description(choices[0]) + ", or none"
    if origin is tuple:
        return "whole numbers: 800x800 in a spec, [800, 800] in YAML, none for no layer"
    return {int: "a whole number", float: "a finite number"}[kind]
