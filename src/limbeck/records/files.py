"""Folders and files that are written whole or not at all, under names that no other process writes to."""

from __future__ import annotations

import contextlib
import errno
import functools
import glob
import hashlib
import os
import platform
import re
import shutil
import sys
import time
import uuid
from pathlib import Path

from limbeck.errors import OutputError, RecordError

PARTIAL = re.compile(r"\.partial-([0-9a-f]{8})-([0-9]+)-[0-9a-f]{8}$")
FOREIGN_SECONDS = 7 * 24 * 3600  # a partial of another machine that nobody has touched for so long is left over
_READ_BYTES = 8 << 20
_STEM_BYTES = 200  # of 255 that a name may have


def make_folder(path: Path, *, remedy: str = "choose another --out folder") -> Path:
    """Make a folder and those above it where they are missing; return it.

    Raises:
        OutputError: it cannot be made, or not be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK):
            raise PermissionError(None, "no permission to write")
    except OSError as error:
        raise OutputError(
            f"Cannot write into the folder {path}.",
            received=error.strerror,
            expected="a writable place",
            remedy=remedy,
        ) from error
    return path


def write_text(path: Path, text: str) -> None:
    """Write a whole file or nothing: to a neighbour first, then renamed into place.

    Raises:
        OutputError: the folder cannot be written (read-only, full, missing).
    """
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Like :func:`write_text`, for bytes."""
    partial = partial_path(path)
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise OutputError(
            f"Cannot write {path}.",
            received=error.strerror or str(error),
            expected="a writable folder with free space",
            remedy=remedy_of(error),
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def read_text(path: Path) -> str:
    """Return the text of a file that a job wrote.

    Raises:
        RecordError: it cannot be read, or is no text in UTF-8 any more.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"{path} cannot be read.", received=str(error)) from error


def remedy_of(error: OSError) -> str:
    """Return what helps where a file cannot be written.

    Example:
        >>> remedy_of(OSError(errno.ENAMETOOLONG, "File name too long"))
        'choose a shorter name'
    """
    if error.errno == errno.ENAMETOOLONG:
        return "choose a shorter name"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "make room, or choose another --out folder; what is written stays, and the same command goes on"
    return "choose another --out folder"


def hash_file(path: Path) -> str:
    """Return the SHA-256 (hex) of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def partial_path(path: Path) -> Path:
    """Return the name that this call alone writes a file or folder under, until it is renamed to ``path``.

    It tells the machine and the process, so that :func:`remove_stale` knows what nobody writes any more.
    """
    return path.with_name(f"{_stem(path.name)}.partial-{_machine()}-{os.getpid()}-{uuid.uuid4().hex[:8]}")


def is_stale(path: Path) -> bool:
    """Return whether a name is one of :func:`partial_path` whose process is gone.

    Processes of other machines cannot be seen: theirs are stale when nobody has touched them for a week.

    Example:
        >>> is_stale(partial_path(Path("record.json"))), is_stale(Path("record.json"))
        (False, False)
    """
    if not (found := PARTIAL.search(path.name)):
        return False
    if found[1] == _machine() and sys.platform != "win32":
        return not process_is_alive(int(found[2]))
    try:
        return time.time() - path.lstat().st_mtime > FOREIGN_SECONDS
    except OSError:
        return False


def remove_stale(folder: Path, name: str | None = None) -> None:
    """Remove what processes that are gone have left half-written; what others write is left alone.

    Args:
        folder: looked through with all that is in it.
        name: of one file or folder right in it, of which alone it is removed.
    """
    pattern = "**/*" if name is None else glob.escape(_stem(name))
    for path in list(folder.glob(f"{pattern}.partial-*")):
        if not is_stale(path):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def process_is_alive(pid: int) -> bool:
    """Return whether a process of this machine is there; True where that cannot be told."""
    if sys.platform == "win32":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _stem(name: str) -> str:
    """Return as much of a name as leaves room for what is appended to it."""
    return os.fsdecode(os.fsencode(name)[:_STEM_BYTES]) if len(os.fsencode(name)) > _STEM_BYTES else name


@functools.cache
def _machine() -> str:
    """Return eight digits of the machine's name and, on Linux, of the namespace that counts its processes."""
    with contextlib.suppress(OSError):
        namespace = os.readlink("/proc/self/ns/pid")
        return hashlib.sha256(f"{platform.node()} {namespace}".encode()).hexdigest()[:8]
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]
