"""How ``--help`` reads: flags by group in plain text, which is there at once, and worked examples at the end."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from typing import Any

import click

from limbeck.errors import unknown_name
from limbeck.settings import GROUPS

MAX_WIDTH = 118
HEADINGS: dict[str, str] = {group: group.capitalize() for group in GROUPS}


class ManualOption(click.Option):
    """A flag that knows the group that it is shown in."""

    def __init__(self, *arguments: Any, group: str, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.group = group


class ManualArgument(click.Argument):
    """A positional argument that knows its help."""

    def __init__(self, *arguments: Any, text: str, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.text = text


class ManualCommand(click.Command):
    """A command whose flags are shown by group, in the order of ``GROUPS``."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write arguments, then a section for each group of flags."""
        formatter.width = max(min(shutil.get_terminal_size((MAX_WIDTH, 24)).columns, MAX_WIDTH), 60)
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if isinstance(parameter, ManualArgument):
                sections.setdefault("Arguments", []).append((parameter.make_metavar(ctx), parameter.text))
            elif (record := parameter.get_help_record(ctx)) is not None:
                sections.setdefault(HEADINGS.get(getattr(parameter, "group", "other"), "Other"), []).append(record)
        order = ["Arguments", *HEADINGS.values(), "Other"]
        for heading in sorted(sections, key=order.index):
            with formatter.section(heading):
                formatter.write_dl(sections[heading], col_max=34)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples as they stand, line for line."""
        write_as_it_stands(self.epilog, formatter)


class ManualGroup(click.Group):
    """A group of commands that are made when they are asked for; its epilog is shown line for line.

    Args:
        makers: makes each command, by name, in the order in which they are shown.
        helps: one line for each, shown without making it.
    """

    def __init__(
        self, name: str, makers: Mapping[str, Callable[[], click.Command]], helps: Mapping[str, str], **settings: Any
    ) -> None:
        super().__init__(name, **settings)
        self._makers, self._helps = makers, helps

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command.

        Raises:
            UnknownName: there is none of this name; near ones are listed.
        """
        if cmd_name not in self._makers and not cmd_name.startswith("-"):
            raise unknown_name("command", cmd_name, self._makers)
        if cmd_name not in self.commands and cmd_name in self._makers:
            self.commands[cmd_name] = self._makers[cmd_name]()
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each command with the whole first line of its help, in the order of the table."""
        formatter.width = max(min(shutil.get_terminal_size((MAX_WIDTH, 24)).columns, MAX_WIDTH), 60)
        with formatter.section("Commands"):
            formatter.write_dl(list(self._helps.items()))

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(self._makers)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write how to start, line for line."""
        write_as_it_stands(self.epilog, formatter)


def write_as_it_stands(text: str | None, formatter: click.HelpFormatter) -> None:
    """Write a text without filling its lines."""
    if text:
        formatter.write("\n" + text.strip("\n") + "\n")
