"""Ctrl-C and SIGTERM on the command line."""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does; training has a handler of its own, which ends the step first."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt("stopped by SIGTERM")

    is_free = threading.current_thread() is threading.main_thread() and (
        signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    )
    if is_free:
        signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        if is_free:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def signals_wait() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait while the block runs: what they raise while torch is imported can be lost there."""
    noted: list[int] = []
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (int(signal.SIGINT), int(signal.SIGTERM)):
            before[number] = signal.signal(number, lambda number, frame: noted.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if noted:
            signal.raise_signal(noted[0])


@contextmanager
def ignored_wait() -> Iterator[None]:
    """Hold back what Python tells of errors in ``__del__`` until the block ends, and drop it where Ctrl-C ended it.

    Ctrl-C leaves objects half-made, such as an archive that was just being opened, and these fail when they go.
    """
    held: list[str] = []

    def hold(ignored: Any) -> None:
        frames = traceback.format_exception(ignored.exc_type, ignored.exc_value, ignored.exc_traceback)
        held.append(f"{ignored.err_msg or 'Exception ignored in'}: {ignored.object!r}\n{''.join(frames)}")

    before, sys.unraisablehook = sys.unraisablehook, hold
    try:
        yield
    except KeyboardInterrupt:
        held.clear()
        raise
    finally:
        sys.unraisablehook = before
        if held and sys.stderr is not None:
            with suppress(OSError, ValueError):
                sys.stderr.write("".join(held))
