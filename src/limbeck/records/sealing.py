"""Sealed JSON: an object that carries the SHA-256 of its canonical form, checked when it is read."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from limbeck.errors import RecordError
from limbeck.records.files import read_text

SEAL = "sha256"


def seal_of(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of an object's content without its seal: as compact JSON with sorted keys.

    So indentation and the order of keys do not matter, and every digit does.

    Example:
        >>> content = {"format": "limbeck-run-record", "value": 0.25}
        >>> seal_of(content)[:12], seal_of({**content, "sha256": "any"}) == seal_of(content)
        ('17ce0c175453', True)
    """
    kept = {key: value for key, value in content.items() if key != SEAL}
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def sealed_text(content: Mapping[str, Any]) -> str:
    """Return an object of plain values as JSON text, its seal last.

    What no Unicode text can hold, such as a stray byte of a file's name in a command, becomes "?".

    Raises:
        ValueError: a number that is not finite.
        TypeError: a value that JSON has no form for.
    """
    text = json.dumps(dict(content), allow_nan=False, ensure_ascii=False)
    plain = json.loads(text.encode("utf-8", "replace"))  # what a reader will find: keys are text, tuples lists
    return json.dumps({**plain, SEAL: seal_of(plain)}, indent=1) + "\n"


def parse_finite(text: str, *, source: str) -> Any:
    """Return the value of JSON text.

    Raises:
        RecordError: not JSON, or a number that is not finite.
    """
    try:
        return json.loads(text, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{source} is not JSON.", received=str(error)) from error


def check_seal(content: Mapping[str, Any], *, source: str) -> None:
    """Raise RecordError where an object has a seal, and it is another content's."""
    if SEAL in content and content[SEAL] != (found := seal_of(content)):
        raise RecordError(
            f"{source} was changed after it was written.",
            received=f"content with SHA-256 {found}",
            expected=f"SHA-256 {content[SEAL]}",
            remedy="take it from a backup, or make it again",
        )


def read_sealed_json(
    path: Path, *, format_name: str, version: int, unsealed: Collection[str] | None = None
) -> dict[str, Any]:
    """Return a sealed object of a file that :func:`sealed_text` made, without format, version and seal.

    Args:
        path: of the file.
        format_name: that it must have.
        version: likewise.
        unsealed: the keys of what earlier releases wrote without a seal; such a file is returned as it is.
    Raises:
        RecordError: a file that cannot be read, is not whole, was changed, or is of another format or version.
    """
    content = parse_finite(read_text(path), source=str(path))
    if isinstance(content, dict) and unsealed is not None and content.keys() == set(unsealed):
        return content
    if not isinstance(content, dict) or SEAL not in content:
        raise RecordError(f"{path} has no checksum.", expected=f'a JSON object that ends with "{SEAL}"')
    check_seal(content, source=str(path))
    found = (content.pop("format", None), content.pop("version", None))
    if found != (format_name, version):
        raise RecordError(
            f"{path} has another format or version.",
            received=f"{found[0]} version {found[1]}",
            expected=f"{format_name} version {version}",
        )
    del content[SEAL]
    return content


def tell_remade(what: Path | str, *, why: str = "damaged") -> None:
    """Tell in one line that something kept is made again: a warning of the logger "limbeck", on stderr by default."""
    logging.getLogger("limbeck").warning("%s was %s: it is made again", what, why)


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is not a finite number")
    return number
