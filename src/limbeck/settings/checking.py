"""Checks values against their declarations, with pydantic: the same ranges for Python, files and flags.

Flags are text, and so may a file's values be: "4" stands for 4 there. In Python a text is no number.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, cast

from limbeck.errors import InvalidValue, LimbeckError, UnknownName, unknown_name
from limbeck.settings.setting import GROUPS, Setting, alternatives, choices_of, fields_of, is_sequence, section_of

_EXPECTED = {"sequence_str": "a list", "bool_type": "True or False"}  # by pydantic's kind of finding

if TYPE_CHECKING:
    from pydantic import BaseModel


@cache
def model_of(kind: type) -> type[BaseModel]:
    """Return the pydantic model of a dataclass's keys, each optional, none beside them; sections are models, too."""
    from pydantic import ConfigDict, Field, create_model

    fields: dict[str, Any] = {}
    in_order = sorted(fields_of(kind).items(), key=lambda field: GROUPS.index(field[1][2].group))
    for name, (annotation, default, setting) in in_order:
        if not setting.is_key:
            continue
        section = section_of(annotation)
        if section is not None:
            fields[name] = (model_of(cast(type, section)) | None, Field(default=None, description=setting.help))
        else:
            given = None if default is dataclasses.MISSING else default
            fields[name] = (_lenient(annotation, setting), Field(default=given, description=_description(setting)))
    return create_model(
        kind.__name__,
        __config__=ConfigDict(extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True),
        __doc__=(kind.__doc__ or "").partition("\n")[0],
        **fields,
    )


def check(settings: Any) -> None:
    """Check every declared field of a frozen dataclass; lists become tuples, whole numbers floats where declared.

    Numbers of numpy and torch are taken as such. Nothing else is converted: a text is no number, a number no switch.

    Raises:
        InvalidValue: a value of another type or out of its range.
        UnknownName: a choice that is not there.
    """
    for name, (annotation, _, setting) in fields_of(type(settings)).items():
        value = getattr(settings, name)
        if section_of(annotation) is None:
            object.__setattr__(settings, name, _frozen(checked(name, value, annotation, setting)))


def checked(name: str, value: Any, annotation: Any, setting: Setting) -> Any:
    """Return a value as its annotation has it.

    Raises:
        InvalidValue: a value of another type or out of its range.
        UnknownName: a choice that is not there.
    """
    from pydantic import ValidationError

    try:
        return _adapter(annotation, setting).validate_python(_plain(value), strict=True)
    except ValidationError as error:
        raise explained(name, annotation, error.errors()) from None


def explained(name: str, annotation: Any, findings: Sequence[Any]) -> LimbeckError:
    """Return the error of a value that does not fit its declaration."""
    finding = findings[0]
    if finding["type"] == "literal_error":
        unknown: UnknownName = unknown_name(name.replace("_", " "), str(finding["input"]), choices_of(annotation))
        return unknown
    expected = " or ".join(dict.fromkeys(expectation(one) for one in findings))
    return InvalidValue(f"{name} has a wrong value.", received=f"{finding['input']!r:.100}", expected=expected)


def expectation(finding: Any) -> str:
    """Return what one of pydantic's findings says should have been there."""
    if finding["type"] == "is_instance_of" and finding["ctx"]["class"] == "Sequence":
        return "a list"
    if finding["type"] in _EXPECTED:
        return _EXPECTED[finding["type"]]
    return str(finding["msg"]).removeprefix("Input should be ").removeprefix("Value error, ")


@cache
def _adapter(annotation: Any, setting: Setting) -> Any:
    from pydantic import ConfigDict, TypeAdapter

    return TypeAdapter(
        _lenient(annotation, setting), config=ConfigDict(allow_inf_nan=False, arbitrary_types_allowed=True)
    )


def _lenient(annotation: Any, setting: Setting) -> Any:
    """Return the annotation so that one text stands for a list of one, or of what its separator splits."""
    from pydantic import BeforeValidator

    if not any(is_sequence(part) for part in alternatives(annotation)):
        return annotation

    def split(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if setting.separator is None or setting.separator not in value:
            return value if str in alternatives(annotation) or int in alternatives(annotation) else [value]
        return [part.strip() for part in value.split(setting.separator) if part.strip()]

    return Annotated[annotation, BeforeValidator(split)]


def _plain(value: Any) -> Any:
    """Return numbers of numpy and torch as Python's own, also within a list, and a range as a list."""
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return list(value) if isinstance(value, range) else value


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _description(setting: Setting) -> str:
    return setting.help + (f" Not given: {setting.unset}." if setting.unset else "")
