"""Dataclasses of plain values to sealed JSON and back: what comes back is whole and equal, or refused by name."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from limbeck.errors import LimbeckError, RecordError
from limbeck.records.sealing import SEAL, check_seal, parse_finite, sealed_text

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_AROUND = ("format", "version", SEAL)  # keys of the file that are no field

T = TypeVar("T")


def encode_record(record: Any, *, format_name: str, version: int) -> str:
    """Return a dataclass of plain values as JSON text, its format name and version first, its seal last.

    The seal is :func:`limbeck.records.sealing.seal_of` everything else.

    Args:
        record: a dataclass.
        format_name: written first.
        version: likewise.
    Raises:
        RecordError: a number that is not finite, or a value that JSON has no form for.
    """
    content = {"format": format_name, "version": version, **dataclasses.asdict(record)}
    try:
        return sealed_text(content)
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

    A record without a seal, as earlier releases wrote it, is read; :func:`is_sealed` tells.

    Args:
        kind: the dataclass.
        text: JSON.
        what: the record is, for errors.
        format_name: that it must have.
        version: likewise.
        source: named in errors, usually the file's path.
    Raises:
        RecordError: not JSON, another format or version, content that is not what was sealed, a number that is not
            finite, or a field missing, unknown or of the wrong type; ``what`` and ``source`` are named in it.
    """
    content = parse_finite(text, source=source)
    if not isinstance(content, dict) or content.get("format") != format_name:
        raise RecordError(f"{source} is not a {what}.", expected=f'a JSON object with "format": "{format_name}"')
    if content.get("version") != version:
        raise RecordError(
            f"{source} has another version.",
            received=content.get("version"),
            expected=version,
            remedy="read it with the release of limbeck that wrote it",
        )
    check_seal(content, source=source)
    return decode_plain(kind, {key: value for key, value in content.items() if key not in _AROUND}, source)


def decode_plain(kind: type[T], value: Any, source: str) -> T:
    """Return an instance of a dataclass from the plain values that ``dataclasses.asdict`` and JSON made of it.

    Args:
        kind: the dataclass.
        value: dictionaries, lists, texts and numbers.
        source: named in errors.
    Raises:
        RecordError: a field missing, unknown or of the wrong type.
        LimbeckError: what the dataclass itself refuses.
    """
    from pydantic import ValidationError

    try:
        text = json.dumps([value], ensure_ascii=False)
        decoded: T = _adapter(kind).validate_json(text)[0]  # type: ignore[arg-type]  # a class is hashable
    except ValidationError as error:
        raise _explained(error.errors(include_url=False), kind, source) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise RecordError(f"{source} holds a value that JSON has no form for.", received=str(error)) from error
    return decoded


def is_sealed(text: str, *, source: str) -> bool:
    """Return whether a record's text has a seal; :func:`decode_record` checks it.

    Raises:
        RecordError: not JSON.
    """
    content = parse_finite(text, source=source)
    return isinstance(content, dict) and SEAL in content


def format_of(text: str, *, source: str) -> str | None:
    """Return the format name of a record's text; None where it names none.

    Raises:
        RecordError: not JSON.
    """
    content = parse_finite(text, source=source)
    name = content.get("format") if isinstance(content, dict) else None
    return name if isinstance(name, str) else None


@functools.cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    """A list of one, since pydantic takes no configuration for a dataclass itself, but hands it down to one."""
    from pydantic import ConfigDict, TypeAdapter

    return TypeAdapter(list[kind], config=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))  # type: ignore[valid-type]


def _explained(findings: Sequence[Any], kind: type, source: str) -> LimbeckError:
    """Return the error of the first finding, with all fields that are missing or unknown beside it."""
    finding = findings[0]
    if isinstance(refusal := finding.get("ctx", {}).get("error"), LimbeckError):
        return refusal
    if not finding["loc"]:  # text that is no Unicode, or lists in lists in lists
        return RecordError(f"{source} cannot be read.", received=finding["msg"], expected="text of plain values")
    *above, last = finding["loc"][1:] or (None,)
    where = source + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in above)
    beside = [one["loc"] for one in findings if one["type"] == finding["type"] and one["loc"][1:-1] == (*above,)]
    names = ", ".join(sorted(str(loc[-1]) for loc in beside))
    if finding["type"] == "missing" and isinstance(last, str):
        return RecordError(f"{where} misses {names}.", expected="a whole " + (kind.__name__ if not above else "object"))
    if finding["type"] == "unexpected_keyword_argument":
        return RecordError(
            f"{where} has unknown fields: {names}.",
            expected=f"the fields of {kind.__name__}" if not above else "no more than the fields there",
        )
    if last is not None and finding["type"] != "missing":
        where += f"[{last}]" if isinstance(last, int) else f".{last}"
    fact = "is not an object" if finding["type"] == "dataclass_type" else "has a value of the wrong type"
    expected = finding["msg"].removeprefix("Input should be ")
    return RecordError(f"{where} {fact}.", received=f"{finding['input']!r:.80}", expected=expected)
