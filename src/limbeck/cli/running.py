"""What commands share: a clean stop, the command line as it was given, and how a result is shown."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from limbeck.cli.exit_codes import EXIT_INTERRUPTED
from limbeck.ranks.launched import rank_number

if TYPE_CHECKING:
    from limbeck.records import RunRecord


@contextmanager
def stopping_cleanly(*, kept: str | None = None) -> Iterator[None]:
    """Turn Ctrl-C into one message and exit code 130; ``kept`` is what the same command goes on from in any case."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if rank_number() > 0:  # the first of the ranks tells
            raise SystemExit(EXIT_INTERRUPTED) from None
        print(f"limbeck: {str(interrupt) or 'stopped'}", file=sys.stderr)
        if getattr(interrupt, "checkpoint", None) is not None:
            kept = str(interrupt.checkpoint)  # type: ignore[attr-defined]
        if kept is not None:
            print(f"  kept: {kept}", file=sys.stderr)
            print("  remedy: run the same command again to go on from there", file=sys.stderr)
        raise SystemExit(EXIT_INTERRUPTED) from None


def command_line() -> str:
    """Return the command line as a shell takes it."""
    return shlex.join(["limbeck", *sys.argv[1:]])


def given(flags: dict[str, Any]) -> dict[str, Any]:
    """Leave out the flags that were not given."""
    return {key: value for key, value in flags.items() if value is not None}


def show(record: Any, folder: Path) -> None:
    """Print a record's table and where its report is; of several ranks the first does."""
    if rank_number() > 0:
        return
    from rich.console import Console

    from limbeck.records import RunRecord
    from limbeck.reports import reproduction_table, summary_table

    console = Console()
    with console.capture() as captured:  # rich itself would end the program where nobody reads
        console.print(summary_table(record) if isinstance(record, RunRecord) else reproduction_table(record))
        console.print(f"report: {folder / 'report.html'}", soft_wrap=True, highlight=False)
    click.echo(captured.get(), nl=False)


def show_finished(folder: Path) -> RunRecord:
    """Show the very run that a folder holds already: a script that gives a command until it succeeds is told so."""
    from limbeck.reports import read_record

    record = read_record(folder)
    if rank_number() == 0:
        click.echo(f"{folder} holds this run, finished {record.created}; --overwrite runs it again", err=True)
    show(record, folder)
    return record


def print_result(result: Any, *, as_json: bool, as_text: Callable[[Any], str]) -> None:
    """Print a JSON-able result for a program or for a reader."""
    click.echo(json.dumps(result, indent=1) if as_json else as_text(result))
