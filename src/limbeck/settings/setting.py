"""What a setting is: declared once, as an annotated field of a dataclass.

``temperature: Annotated[float, Gt(0), Setting("Temperature T of the soft targets.", group="loss")] = 4.0`` is the
whole declaration. From it come the flag, the key of a configuration file, the JSON schema, the message for a wrong
value, the row in the docs' table and the argument in Python. Nothing here imports torch or pydantic.
"""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union

from annotated_types import Ge, Gt, Le, Lt

Group = Literal["data", "teacher", "student", "loss", "training", "output", "machine"]
GROUPS: tuple[Group, ...] = typing.get_args(Group)
Kind = TypeVar("Kind")
_SECTION = re.compile(r"^ {4}(?:Returns|Raises|Example|References):$", re.MULTILINE)

Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
Fraction = Annotated[float, Ge(0), Le(1)]
FractionBelowOne = Annotated[float, Ge(0), Lt(1)]
Count = Annotated[int, Ge(1)]
NotNegativeCount = Annotated[int, Ge(0)]
SeedNumber = Annotated[int, Ge(0)]


@dataclass(frozen=True)
class Setting:
    """What a setting's type and default do not say.

    Args:
        help: one line: what it is.
        group: where it stands in ``--help`` and in the docs.
        flag: the flag where its name is not the field's; "" for none.
        short: a one-letter flag.
        unset: what holds where it is None or empty, for ``--help`` and the docs.
        separator: splits one flag's text into several values, beside repeating the flag.
        is_key: whether configuration files have it; flags of one run alone, like ``--out``, are no keys.
    """

    help: str
    group: Group
    flag: str | None = None
    short: str | None = None
    unset: str = ""
    separator: str | None = None
    is_key: bool = True


@dataclass(frozen=True)
class Argument:
    """What a command takes by place, without a flag."""

    help: str


@dataclass(frozen=True)
class Doc:
    """Documents an argument that only Python has."""

    help: str


@dataclass(frozen=True)
class Declared:
    """A setting of a class.

    Args:
        path: the key, within its section where it has one: ("recipe", "num_epochs").
        annotation: its type with constraints, without the Setting.
        default: its default; ``dataclasses.MISSING`` for none.
        setting: its declaration.
    """

    path: tuple[str, ...]
    annotation: Any
    default: Any
    setting: Setting

    @property
    def name(self) -> str:
        """The field's name."""
        return self.path[-1]

    @property
    def key(self) -> str:
        """The key with its section, as ``--set`` takes it."""
        return ".".join(self.path)

    @property
    def flag(self) -> str | None:
        """The long flag; None for none."""
        if self.setting.flag == "":
            return None
        return self.setting.flag or "--" + self.name.replace("_", "-")

    @property
    def is_switch(self) -> bool:
        """Whether its flag takes no value and only switches it on."""
        return self.item is bool and self.default is False

    @cached_property
    def choices(self) -> tuple[str, ...]:
        """The values that it can have where they are listed."""
        return choices_of(self.annotation)

    @cached_property
    def is_repeated(self) -> bool:
        """Whether it holds several values."""
        return any(is_sequence(part) for part in alternatives(self.annotation))

    @cached_property
    def item(self) -> type:
        """The type of its value, or of each of several: int, float, bool, Path or str."""
        found = [part for part in _parts(self.annotation) if part in (int, float, bool, Path)]
        return found[0] if found and not self.choices else str

    @cached_property
    def range_text(self) -> str:
        """The range of a number in words, e.g. "> 0" or ">= 0, < 1"."""
        signs = {Gt: (">", "gt"), Ge: (">=", "ge"), Lt: ("<", "lt"), Le: ("<=", "le")}
        bounds = (bound for part in _parts(self.annotation) for bound in getattr(part, "__metadata__", ()))
        texts = [f"{signs[type(b)][0]} {getattr(b, signs[type(b)][1])}" for b in bounds if type(b) in signs]
        return ", ".join(texts)

    @property
    def default_text(self) -> str:
        """The default in words; "" where there is nothing to say."""
        if self.default is dataclasses.MISSING:
            return "required"
        return self.setting.unset if self.default in (None, (), "") else as_text(self.default)


def as_text(value: Any) -> str:
    """Return a setting's value as a flag would take it.

    Example:
        >>> as_text(4.0), as_text(("flip", "jitter:2")), as_text(True)
        ('4', 'flip jitter:2', 'on')
    """
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str) or not isinstance(value, Sequence):
        return str(value)
    return " ".join(as_text(part) for part in value)


def as_plain(value: Any) -> Any:
    """Return a setting's value as JSON and YAML can hold it.

    Example:
        >>> as_plain(Path("runs/store"))
        'runs/store'
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return str(value) if isinstance(value, Path) else value


@cache
def declared(kind: type) -> tuple[Declared, ...]:
    """Return the settings of a dataclass in order, those of its sections (dataclasses within it) in their place."""
    return tuple(_declared(kind, ()))


def _declared(kind: type, path: tuple[str, ...]) -> Iterator[Declared]:
    for name, (annotation, default, setting) in fields_of(kind).items():
        section = section_of(annotation)
        if section is None:
            yield Declared((*path, name), annotation, default, setting)
        else:
            yield from _declared(section, (*path, name))


def documented(kind: type) -> Iterator[tuple[str, str]]:
    """Yield each argument of a dataclass's constructor, in order, with its help, choices and range."""
    hints = typing.get_type_hints(kind, include_extras=True)
    settings = {one.path[0]: one for one in declared(kind) if len(one.path) == 1}
    for field in sorted((one for one in dataclasses.fields(kind) if one.init), key=lambda one: bool(one.kw_only)):
        for part in getattr(hints[field.name], "__metadata__", ()):
            if isinstance(part, Setting | Doc):
                sentences = [part.help]
                if (one := settings.get(field.name)) is not None:
                    sentences += [f"One of {', '.join(one.choices)}."] if one.choices else []
                    sentences += [f"{one.range_text}."] if one.range_text else []
                yield field.name, " ".join(sentences)


def with_arguments(doc: str | None, kind: type) -> str:
    """Return a docstring with a section ``Args`` that documents a dataclass's fields, before its first other section.

    Args:
        doc: as it stands in the source, its sections indented by four spaces.
        kind: the dataclass of the arguments.
    """
    text = doc or ""
    section = _SECTION.search(text)
    place = section.start() if section else len(text)
    lines = "".join(f"        {name}: {said}\n" for name, said in documented(kind))
    return f"{text[:place]}    Args:\n{lines}{text[place:]}"


def arguments_documented(kind: type[Kind]) -> type[Kind]:
    """Give a dataclass of settings a docstring that documents them; a decorator."""
    kind.__doc__ = with_arguments(kind.__doc__, kind)
    return kind


def section_of(annotation: Any) -> type[Any] | None:
    """Return the dataclass that an annotation is, or may be beside None."""
    found = [part for part in alternatives(annotation) if part is not type(None)]
    is_section = len(found) == 1 and isinstance(found[0], type) and dataclasses.is_dataclass(found[0])
    return found[0] if is_section else None


def fields_of(kind: type) -> dict[str, tuple[Any, Any, Setting]]:
    """Return each declared field of a dataclass with its type, default and Setting; sections stay whole."""
    return _fields_of(kind)


@cache
def _fields_of(kind: type) -> dict[str, tuple[Any, Any, Setting]]:
    hints = typing.get_type_hints(kind, include_extras=True)
    found = {}
    for field in dataclasses.fields(kind):
        bare, setting = split(hints[field.name])
        if setting is not None:
            default = field.default_factory() if callable(field.default_factory) else field.default
            found[field.name] = (bare, default, setting)
    return found


def split(hint: Any) -> tuple[Any, Setting | None]:
    """Return an annotation without its Setting, and the Setting; None where there is none."""
    if typing.get_origin(hint) is not Annotated:
        return hint, None
    setting = next((part for part in hint.__metadata__ if isinstance(part, Setting)), None)
    others = tuple(part for part in hint.__metadata__ if not isinstance(part, Setting))
    return (Annotated[(hint.__origin__, *others)] if others else hint.__origin__), setting


def _parts(annotation: Any) -> Iterator[Any]:
    """Yield an annotation and everything that it is made of, but a mapping's keys."""
    yield annotation
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        yield from _parts(annotation.__origin__)
    elif origin in (Union, types.UnionType) or is_sequence(annotation):
        for part in typing.get_args(annotation):
            yield from _parts(part)


def alternatives(annotation: Any) -> tuple[Any, ...]:
    """Return the types that a value may have, each without its constraints.

    Example:
        >>> alternatives(Annotated[int, Ge(1)] | None)
        (<class 'int'>, <class 'NoneType'>)
    """
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return alternatives(annotation.__origin__)
    if origin in (Union, types.UnionType):
        return tuple(one for part in typing.get_args(annotation) for one in alternatives(part))
    return (annotation,)


def choices_of(annotation: Any) -> tuple[str, ...]:
    """Return the values that an annotation lists, its own or those of its items; empty where it lists none.

    Example:
        >>> choices_of(Sequence[typing.Literal["a", "b"]])
        ('a', 'b')
    """
    return next((typing.get_args(part) for part in _parts(annotation) if _is_choice(part)), ())


def is_sequence(annotation: Any) -> bool:
    """Return whether an annotation is a sequence of something, such as ``Sequence[str]``."""
    origin = typing.get_origin(annotation)
    return isinstance(origin, type) and issubclass(origin, Sequence)


def _is_choice(annotation: Any) -> bool:
    return typing.get_origin(annotation) is Literal
