"""Several commands in one forked child, one after the other: what does not end well there is tried alone."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from children import Outcome, command, print_into, run
from processes import peak_kib

TOGETHER_SECONDS = 120.0  # for all that one child does; what it did not get to is done alone
Check = Callable[[], tuple[str, str]]


def run_here(arguments: Sequence[str], folder: Path) -> Outcome:
    """Run a command of limbeck in this process, which is a child for several; its folder becomes the working folder."""
    printed = folder.with_name(".printed-here")
    os.chdir(folder)
    print_into(printed)
    start, busy, peak = time.perf_counter(), time.process_time(), peak_kib()
    try:
        code = command(arguments)
    except BaseException as error:
        os.write(2, f"Traceback: {type(error).__name__}: {error}".encode())
        code = 70
    sys.stdout.flush()
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    return Outcome(code, printed.read_text(errors="replace"), seconds, busy, (peak_kib() - peak) / 1024)


def run_together(checks: Sequence[Check], folder: Path) -> list[tuple[str, str]]:
    """Make checks one after the other in one forked child; return what those say that it got to.

    Args:
        checks: each returns how an attempt ended, and what was wrong with it.
        folder: that the child begins in.
    """
    told = folder / ".told"

    def make_all() -> None:
        with open(told, "w") as file:
            for check in checks:
                print(json.dumps(check()), file=file, flush=True)

    run([], folder, target=make_all, timeout=TOGETHER_SECONDS)
    lines = told.read_text().splitlines()
    told.unlink()
    return [(ending, complaint) for ending, complaint in map(json.loads, lines)]
