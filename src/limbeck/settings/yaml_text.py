"""YAML that a stranger may have written: bounded before anything is built, and every mistake one message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from limbeck.errors import ConfigError

MAX_CHARACTERS, MAX_VALUES, MAX_DEPTH = 1 << 20, 10_000, 20  # of a configuration


def read_yaml(
    text: str, *, source: str, max_characters: int = MAX_CHARACTERS, max_values: int = MAX_VALUES
) -> tuple[Any, yaml.Node | None]:
    """Return what YAML says, as plain values, and its nodes, which know their lines.

    Raises:
        ConfigError: no YAML, a value that cannot be read, or more than a file of settings has.
    Example:
        >>> read_yaml("seeds: 3", source="job.yaml")[0]
        {'seeds': 3}
    """
    try:
        _check_bounds(text, source, max_characters, max_values)
        return yaml.safe_load(text), yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{source}, line {mark.line + 1}" if mark else source
        raise ConfigError(
            f"{where}: this is not YAML.", received=getattr(error, "problem", None) or str(error)
        ) from error
    except (ValueError, TypeError, OverflowError) as error:  # of a scalar: a date that is none, an integer too long
        raise ConfigError(
            f"{source} holds a value that cannot be read.",
            received=f"{error}"[:200],
            remedy="put quotes around a text that looks like a number or a date",
        ) from error


def read_text(path: Path, *, what: str = "configuration", max_characters: int = MAX_CHARACTERS) -> str:
    """Return a file's text; one that is far too long is not read to its end.

    Raises:
        ConfigError: missing, unreadable, no plain file, or too long.
    """
    try:
        if path.exists() and not path.is_file():
            raise OSError(None, "a folder" if path.is_dir() else "a pipe or device, not a file")
        with open(path, "rb") as file:
            content = file.read(4 * max_characters + 1)  # a character has four bytes at most
        text = content.decode("utf-8")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        received = error.strerror if isinstance(error, OSError) else "bytes that are not UTF-8"
        raise ConfigError(f"Cannot read the {what} {path}.", received=received) from error
    if len(text) > max_characters:
        raise _too_long(str(path), len(text), max_characters)
    return text


def _too_long(source: str, length: int, limit: int) -> ConfigError:
    return ConfigError(
        f"{source} is too long for a configuration.",
        received=f"{length:,} characters",
        expected=f"at most {limit:,}",
    )


def _check_bounds(text: str, source: str, max_characters: int, max_values: int) -> None:
    """Raise ConfigError for what no configuration is: megabytes, thousands of values, depth, values by reference.

    Aliases of aliases multiply: a few lines of them become gigabytes when they are built.
    """
    if len(text) > max_characters:
        raise _too_long(source, len(text), max_characters)
    depth = count = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.AliasEvent):
            raise ConfigError(
                f"{source}, line {line}: a configuration has no aliases.",
                received=f"*{event.anchor}",
                expected="the value itself",
            )
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        count += isinstance(event, yaml.NodeEvent)
        if depth > MAX_DEPTH or count > max_values:
            raise ConfigError(
                f"{source}, line {line}: too much for a configuration.",
                received=f"more than {max_values:,} values" if count > max_values else f"depth {depth}",
                expected=f"at most {max_values:,} values, {MAX_DEPTH} deep",
            )
