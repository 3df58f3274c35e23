"""Optuna's journal in a file whose every line carries a checksum: what was tried is true, or refused."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any

from limbeck.errors import OutputError, RecordError
from limbeck.records import check_seal, parse_finite, seal_of


class SealedJournal:
    """A back end of Optuna's ``JournalStorage``: one JSON object a line, with the SHA-256 of its canonical form.

    Optuna's own back end reads the file, too. Lines of an earlier release have no checksum. A last line that was cut
    when its process was killed counts for nothing. The run's folder is locked, so one process writes.

    Args:
        path: of the file, made where it is missing.
    Raises:
        RecordError: a line that was changed.
        OutputError: a file that cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._logs = list(_read(path)) if path.exists() else []
        self._waiting: list[str] | None = None
        self._append([])

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Write what is appended within at its end, all in one piece; nothing of it where it is left early."""
        self._waiting = []
        try:
            yield
            self._append(self._waiting)
        finally:
            self._waiting = None

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Yield what was appended, from a number on."""
        yield from self._logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append, and bring it to the disk, within :meth:`together` at the end of that."""
        plain = [json.loads(json.dumps(log)) for log in logs]
        lines = [json.dumps({**log, "sha256": seal_of(log)}, separators=(",", ":")) for log in plain]
        if self._waiting is None:
            self._append(lines)
        else:
            self._waiting += lines
        self._logs += plain

    def _append(self, lines: list[str]) -> None:
        try:
            with open(self._path, "ab", buffering=0) as file:
                if file.tell() and not (content := self._path.read_bytes()).endswith(b"\n"):
                    file.truncate(content.rfind(b"\n") + 1)
                _write_whole(file, "".join(f"{line}\n" for line in lines).encode())
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(
                f"Cannot write {self._path}.", received=error.strerror, expected="a writable folder with free space"
            ) from error


def _write_whole(file: FileIO, content: bytes) -> None:
    """Write all of it, or take back what there was room for."""
    start = file.seek(0, os.SEEK_END)
    if file.write(content) != len(content):
        file.truncate(start)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def check_journal(path: Path) -> int:
    """Return how many lines of a journal are whole.

    Raises:
        RecordError: a line that was changed.
    """
    return len(list(_read(path)))


def _read(path: Path) -> Iterator[dict[str, Any]]:
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    sealed = False  # lines of an earlier release stand before all others
    for number, line in enumerate(whole.splitlines(), start=1):
        source = f"line {number} of {path}"
        log = parse_finite(line.decode("utf-8", "replace"), source=source)
        if not isinstance(log, dict) or (sealed and "sha256" not in log):
            raise RecordError(f"{source} was changed after it was written.", remedy="search into another folder")
        check_seal(log, source=source)
        sealed = log.pop("sha256", None) is not None
        yield log
