"""Folders and files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from limbeck.errors import OutputError


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
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise OutputError(
            f"Cannot write {path}.",
            received=error.strerror or str(error),
            expected="a writable folder with free space",
            remedy="choose another --out folder or make room",
        ) from error
