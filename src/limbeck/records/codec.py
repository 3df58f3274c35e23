"""Dataclasses of plain values to JSON and back: what comes back is whole and equal, or refused by name."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import sys
import types
import typing
from typing import Any, TypeVar

from limbeck.errors import RecordError

LARGEST = sys.float_info.max

T = TypeVar("T")


def encode_record(record: Any, *, format_name: str, version: int) -> str:
    """Return a dataclass of plain values as JSON text, its format name and version first.

    Raises:
        RecordError: a number that is not finite, or a value that JSON has no form for.
    """
    content = {"format": format_name, "version": version, **dataclasses.asdict(record)}
    try:
        return json.dumps(content, indent=1, allow_nan=False) + "\n"
    except ValueError as error:
        raise RecordError(
            "The record holds a number that is not finite.", remedy="see the run's events.jsonl"
        ) from error
    except TypeError as error:
        raise RecordError(
            "The record holds a value that JSON has no form for.",
            received=str(error),
            expected="settings made of text, numbers, true, false, null, lists and objects",
        ) from error


def decode_record(kind: type[T], text: str, *, what: str, format_name: str, version: int, source: str) -> T:
    """Return the dataclass that :func:`encode_record` wrote under this format name and version.

    Raises:
        RecordError: see :func:`from_json`; ``what`` and ``source`` are named in it.
    """
    content = _parse(text, source)
    if not isinstance(content, dict) or content.get("format") != format_name:
        raise RecordError(f"{source} is not a {what}.", expected=f'a JSON object with "format": "{format_name}"')
    if content.get("version") != version:
        raise RecordError(
            f"{source} has another version.",
            received=content.get("version"),
            expected=version,
            remedy="read it with the release of limbeck that wrote it",
        )
    return _decode_dataclass(kind, {k: v for k, v in content.items() if k not in ("format", "version")}, source)


def format_of(text: str, *, source: str) -> str | None:
    """Return the format name of a record's text; None where it names none.

    Raises:
        RecordError: not JSON.
    """
    content = _parse(text, source)
    name = content.get("format") if isinstance(content, dict) else None
    return name if isinstance(name, str) else None


def _parse(text: str, source: str) -> Any:
    try:
        return json.loads(text, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{source} is not JSON.", received=str(error)) from error


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is not a finite number")
    return number


def decode_plain(kind: type[T], value: Any, source: str) -> T:
    """Return an instance of a dataclass from the plain values that ``dataclasses.asdict`` and JSON made of it.

    Raises:
        RecordError: a field missing, unknown or of the wrong type.
    """
    return _decode_dataclass(kind, value, source)


def _decode(kind: Any, value: Any, where: str) -> Any:
    """Build ``kind`` (a dataclass, list, tuple, dict, union or plain type) from decoded JSON."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _decode_dataclass(kind, value, where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if origin is list and isinstance(value, list):
        return [_decode(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value)]
    if origin is tuple and isinstance(value, list) and arguments[1:] == (...,):
        return tuple(_decode(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is tuple and isinstance(value, list) and len(value) == len(arguments):
        return tuple(
            _decode(arg, item, f"{where}[{i}]") for i, (arg, item) in enumerate(zip(arguments, value, strict=True))
        )
    if origin is dict and isinstance(value, dict):
        return {key: _decode(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if origin is types.UnionType:
        if value is None and type(None) in arguments:
            return None
        return _decode(next(a for a in arguments if a is not type(None)), value, where)
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= LARGEST:
        return float(value)
    if (
        origin is None
        and isinstance(kind, type)
        and isinstance(value, kind)
        and not (kind is int and isinstance(value, bool))
    ):
        return value
    expected = getattr(kind, "__name__", str(kind))
    raise RecordError(f"{where} has a value of the wrong type.", received=f"{value!r:.80}", expected=expected)


@functools.cache
def _type_hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)  # compiles every annotation: most of the time of reading a small file


def _decode_dataclass(kind: type[T], value: Any, where: str) -> T:
    if not isinstance(value, dict):
        raise RecordError(f"{where} is not an object.", received=f"{value!r:.80}", expected=kind.__name__)
    hints = _type_hints(kind)  # type: ignore[arg-type]  # a class is hashable
    required = {
        f.name
        for f in dataclasses.fields(kind)  # type: ignore[arg-type]
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    if missing := sorted(required - value.keys()):
        raise RecordError(f"{where} misses {', '.join(missing)}.", expected=f"a whole {kind.__name__}")
    if unknown := sorted(value.keys() - hints.keys()):
        raise RecordError(
            f"{where} has unknown fields: {', '.join(unknown)}.", expected=f"the fields of {kind.__name__}"
        )
    return kind(**{name: _decode(hints[name], item, f"{where}.{name}") for name, item in value.items()})
