"""One process at a time in a folder: locks of the operating system, which vanish with the process that has them."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import ExitStack
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.errors import OutputError
from limbeck.records.files import make_folder, process_is_alive

if TYPE_CHECKING:
    from filelock import BaseFileLock  # which takes a moment to import

LOCK_FILE = ".limbeck.lock"
ORPHAN_SECONDS = 15.0  # children of a process that was killed may hold its lock for so long
_POLL_SECONDS = 0.05
_SCOPE: ContextVar[ExitStack | None] = ContextVar("limbeck_lock_scope", default=None)


class FolderInUse(OutputError):
    """Another process is at work on the folder."""


@dataclass(eq=False)
class FolderLock:
    """A lock that other processes see, for as long as this one has it or lives.

    Args:
        path: of the lock's file, which tells who has it.
        guards: what it guards, named in the message.
        text: what the file says when nobody has the lock.
        is_removed: whether the file goes with the lock; only where nobody waits for it.
    """

    path: Path
    guards: Path
    text: str = ""
    is_removed: bool = False
    _lock: BaseFileLock | None = field(default=None, init=False, repr=False)

    def acquire(self, *, wait: bool = False) -> None:
        """Take the lock; ``wait`` for another process that has it.

        Within :func:`lock_scope` it is released at the end of that, at the latest.

        Raises:
            FolderInUse: another process has it; it is named.
            OutputError: the file cannot be written.
        """
        self._lock = self._taken(wait=wait)
        self._say({"pid": os.getpid(), "host": platform.node(), "since": _now()})
        if (scope := _SCOPE.get()) is not None:
            scope.callback(self.release)

    def release(self) -> None:
        """Give the lock back; nothing happens where it is not had."""
        if self._lock is not None:
            if self.is_removed:
                with contextlib.suppress(OSError):
                    self.path.unlink(missing_ok=True)
            else:
                self._say(None)
            self._lock.release(force=True)
            self._lock = None

    def check_free(self) -> None:
        """Raise FolderInUse where another process has the lock; write nothing."""
        if self.path.is_file() and os.access(self.path, os.W_OK):
            self._taken(wait=False).release(force=True)

    def __enter__(self) -> FolderLock:
        self.acquire()
        return self

    def __exit__(self, *exception: Any) -> None:
        self.release()

    def _taken(self, *, wait: bool) -> BaseFileLock:
        from filelock import FileLock

        lock = FileLock(self.path, thread_local=False)
        deadline = time.monotonic() + ORPHAN_SECONDS
        while not self._is_taken(lock, wait=wait):
            if not _is_gone(owner := self.owner()) or time.monotonic() > deadline:
                raise self._in_use(owner)
            time.sleep(_POLL_SECONDS)
        return lock

    def _is_taken(self, lock: BaseFileLock, *, wait: bool) -> bool:
        from filelock import Timeout

        try:
            lock.acquire(timeout=-1 if wait else 0, poll_interval=_POLL_SECONDS)
        except Timeout:
            return False
        except (OSError, NotImplementedError) as error:
            raise OutputError(
                f"Cannot lock {self.guards}.",
                received=getattr(error, "strerror", None) or str(error),
                expected="a writable folder on a file system that has locks",
                remedy="choose another folder",
            ) from error
        return True

    def owner(self) -> dict[str, Any]:
        """Return who has the lock, as its file tells: "pid", "host", "since"; empty where it tells nothing."""
        try:
            found = json.loads(self.path.read_text(encoding="utf-8").removeprefix(self.text))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _in_use(self, owner: dict[str, Any]) -> FolderInUse:
        who = f"process {owner.get('pid')} on {owner.get('host')}, since {owner.get('since')}"
        return FolderInUse(
            f"Another process is at work on {self.guards}.",
            received=who if owner else "a process that does not tell who it is",
            expected="one process at a time",
            remedy="wait for it or stop it, or choose another folder",
        )

    def _say(self, owner: dict[str, Any] | None) -> None:
        """Write who has the lock into its file, in place: a rename would make it another file."""
        from filelock import SoftFileLock

        if isinstance(self._lock, SoftFileLock):  # where the file itself is the lock
            return
        with contextlib.suppress(OSError):
            self.path.write_text(self.text + ("" if owner is None else json.dumps(owner) + "\n"), encoding="utf-8")


def folder_lock(folder: Path) -> FolderLock:
    """Return the lock of a folder that is there: a hidden file in it, which goes with the lock."""
    return FolderLock(folder / LOCK_FILE, guards=folder, is_removed=True)


@contextlib.contextmanager
def waiting_lock(folder: Path) -> Iterator[None]:
    """Lock a folder while the block runs, and wait for another process that has it; make the folder.

    The hidden file stays, since others may wait for it.

    Raises:
        OutputError: the folder cannot be made or written.
    """
    lock = FolderLock(make_folder(folder) / LOCK_FILE, guards=folder)
    lock.acquire(wait=True)
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def lock_scope() -> Iterator[None]:
    """Release at the end of the block whatever lock was taken in it, also when it ends with an error."""
    with ExitStack() as stack:
        token = _SCOPE.set(stack)
        try:
            yield
        finally:
            _SCOPE.reset(token)


def _is_gone(owner: dict[str, Any]) -> bool:
    pid = owner.get("pid")
    return owner.get("host") == platform.node() and isinstance(pid, int) and not process_is_alive(pid)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
