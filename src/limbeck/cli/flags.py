"""Commands made from declarations: one flag a setting; its type, choices, help and default come from there."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import click

from limbeck.bounds import DEFAULT_GIB, VARIABLE, set_memory_limit
from limbeck.cli.manual import ManualArgument, ManualCommand, ManualOption
from limbeck.cli.signals import signals_wait
from limbeck.errors import unknown_name
from limbeck.settings import METHODS, Argument, Declared, Setting, declared
from limbeck.settings.jobs import ProgressName
from limbeck.settings.setting import split

TYPES: dict[type, Any] = {int: click.INT, float: click.FLOAT, str: click.STRING, Path: click.Path(path_type=Path)}
METAVARS = {int: "INT", float: "NUMBER", str: "TEXT", Path: "PATH"}
OTHER_SECTIONS = ("teacher_recipe",)  # has no flags of its own: --set teacher_recipe.num_epochs=5


class OneOf(click.Choice[str]):
    """A choice whose wrong value is told as every wrong name is, with the near ones."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return a value that is among the choices."""
        if value not in self.choices:
            what = str(param.name if param else "value").replace("_", " ")
            raise unknown_name(what, str(value), [str(choice) for choice in self.choices])
        return str(value)


ConfigFile = Annotated[Path | None, Argument("YAML file with settings; flags override it.")]
ProgressChoice = Annotated[ProgressName, Setting("How progress is shown.", "output")]
RunnerChoice = Annotated[str, Setting("Where jobs run: serial, processes:N, ray, or ray://HOST:PORT.", "machine")]
Assignments = Annotated[
    Sequence[str],
    Setting(
        "Any key of the configuration, KEY=VALUE: --set recipe.schedule=cosine; repeat for more.",
        "training",
        flag="--set",
    ),
]
AsJson = Annotated[bool, Setting("Print JSON.", "output", flag="--json")]


def command(
    function: Callable[..., None],
    *,
    kinds: Sequence[type] = (),
    only: Sequence[str] | None = None,
    name: str | None = None,
    examples: str | None = None,
    needs_torch: bool = True,
) -> click.Command:
    """Return the command of a function whose parameters are declared settings and arguments.

    Args:
        function: its docstring's first line is the command's help. A parameter ``flags`` gets what was given of the
            settings of ``kinds``, nested as a configuration is; ``run_flags`` gets those that are no keys: ``out``.
        kinds: dataclasses whose settings are flags, too; of several, a flag belongs to those that have it.
        only: names of their settings; all where not given.
        name: the function's where not given.
        examples: shown at the end of ``--help``.
        needs_torch: whether the function imports torch; that is done before it, where no signal is lost.
    """
    parameters = inspect.signature(function, eval_str=True).parameters
    own = [one for parameter in parameters.values() if (one := _declared_by(parameter)) is not None]
    settings = _settings_of(kinds, only)

    def call(**values: Any) -> None:
        if needs_torch:
            with signals_wait():
                import torch  # noqa: F401
        given = {one.name: values.pop(one.name) for one in settings}
        made = {"flags": _nested(settings, given), "run_flags": _run_values(settings, given)}
        function(**values, **{key: value for key, value in made.items() if key in parameters})

    return ManualCommand(
        name or function.__name__,
        callback=call,
        params=[
            *(_argument(parameter) for parameter in parameters.values() if _is_argument(parameter)),
            *(_option(one, (), default=one.default) for one in own),
            *(_option(one, kinds, default=None) for one in settings),
            _memory_limit(),
        ],
        help=first_line(function),
        epilog=examples,
    )


def _memory_limit() -> ManualOption:
    """Return the flag that every command has: what one array, image or network may take."""

    def apply(ctx: click.Context, param: click.Parameter, value: float | None) -> None:
        if value is not None:
            set_memory_limit(value)

    return ManualOption(
        ["--memory-limit"],
        type=click.FLOAT,
        metavar="GIB",
        expose_value=False,
        callback=apply,
        group="machine",
        help=f"Memory that one array, image or network may take.  [> 0; default: {DEFAULT_GIB:g}, or {VARIABLE}]",
    )


def first_line(function: Callable[..., None]) -> str:
    """Return the first line of a function's docstring: a command's help."""
    return (function.__doc__ or "").partition("\n")[0]


def _is_argument(parameter: inspect.Parameter) -> bool:
    return any(isinstance(part, Argument) for part in getattr(parameter.annotation, "__metadata__", ()))


def _argument(parameter: inspect.Parameter) -> ManualArgument:
    declaration = Declared((parameter.name,), parameter.annotation.__origin__, parameter.default, Setting("", "data"))
    return ManualArgument(
        [parameter.name],
        type=TYPES[declaration.item],
        nargs=-1 if declaration.is_repeated else 1,
        required=parameter.default is inspect.Parameter.empty,
        text=next(part.help for part in parameter.annotation.__metadata__ if isinstance(part, Argument)),
    )


def _declared_by(parameter: inspect.Parameter) -> Declared | None:
    """Return the setting that a parameter of a command declares; None for one that is made or an argument."""
    annotation, setting = split(parameter.annotation)
    if setting is None:
        return None
    default = dataclasses.MISSING if parameter.default is inspect.Parameter.empty else parameter.default
    return Declared((parameter.name,), annotation, default, setting)


def _settings_of(kinds: Sequence[type], only: Sequence[str] | None) -> list[Declared]:
    """Return the settings that have a flag, each once; of several kinds one that holds several values goes first."""
    found: dict[str, Declared] = {}
    for kind in kinds:
        for one in declared(kind):
            if one.flag is not None and one.path[0] not in OTHER_SECTIONS and (only is None or one.name in only):
                known = found.get(one.name)
                found[one.name] = one if known is None or (one.is_repeated and not known.is_repeated) else known
    return list(found.values())


def _option(one: Declared, kinds: Sequence[type], *, default: Any) -> ManualOption:
    """Return the flag of a setting. What is not given is None where the default is a configuration's business."""
    same = _same(one, kinds)
    choices = tuple(dict.fromkeys(choice for other in same.values() for choice in other.choices))
    names = [one.name, one.flag or "", *([one.setting.short] if one.setting.short else [])]
    is_required = default is dataclasses.MISSING
    more: dict[str, Any] = {"type": OneOf(choices) if choices else TYPES.get(one.item)}
    if one.item is bool:
        names[1] += "" if one.is_switch else f"/--no-{names[1][2:]}"
        more = {"is_flag": True}
    elif one.is_repeated and one.setting.separator:
        more = {"type": click.STRING, "multiple": True}
    elif one.is_repeated:
        more["multiple"] = True
    if not is_required and not one.is_repeated:
        more["default"] = default  # click takes any default, None as well, for a value that was given
    if one.item is not bool:
        metavar = "|".join(choices) or METAVARS[one.item]
        more["metavar"] = f"{metavar},..." if one.setting.separator else metavar
    return ManualOption(
        names,
        help=_help(one, same, num_kinds=len(kinds)),
        required=is_required,
        group=one.setting.group,
        **more,
    )


def _same(one: Declared, kinds: Sequence[type]) -> dict[str, Declared]:
    """Return the setting as each kind declares it, by the kind's method; of a command's own, as it stands."""
    methods = {kind: method for method, kind in METHODS.items()}
    found = {
        methods.get(kind, kind.__name__): other
        for kind in kinds
        for other in declared(kind)
        if other.name == one.name and other.path[0] not in OTHER_SECTIONS
    }
    return found or {"": one}


def _help(one: Declared, same: dict[str, Declared], *, num_kinds: int) -> str:
    """Return the help with the methods that have the setting, its range and its default."""
    text = one.setting.help
    if num_kinds > len(same):
        text += f" Method {' and '.join(same)}."
    defaults = {name: other.default_text for name, other in same.items()}
    if one.name == "method" or len(set(defaults.values())) == 1:
        default = next(iter(defaults.values()))
    else:
        default = "; ".join(f"{name}: {value}" for name, value in defaults.items() if value)
    facts = [one.range_text, "" if default in ("", "required") else f"default: {default}"]
    shown = "; ".join(fact for fact in facts if fact and not one.is_switch)
    return text + (f"  [{shown}]" if shown else "")


def _nested(settings: Sequence[Declared], given: dict[str, Any]) -> dict[str, Any]:
    """Return the keys that were given, in their sections."""
    flags: dict[str, Any] = {}
    for one in settings:
        value = given[one.name]
        if not one.setting.is_key or value is None or value == ():
            continue
        if one.is_repeated:
            value = one.setting.separator.join(value) if one.setting.separator else list(value)
        section = flags
        for name in one.path[:-1]:
            section = section.setdefault(name, {})
        section[one.name] = value
    return flags


def _run_values(settings: Sequence[Declared], given: dict[str, Any]) -> dict[str, Any]:
    """Return what is no key of a configuration, with defaults."""
    return {
        one.name: one.default if given[one.name] is None else given[one.name]
        for one in settings
        if not one.setting.is_key
    }
