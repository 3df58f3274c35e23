"""A sealed list of a folder's files with the SHA-256 of each, beside the folder: whether they are as they were."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from limbeck.errors import RecordError
from limbeck.records.files import hash_file, partial_path, write_text
from limbeck.records.sealing import read_sealed_json, sealed_text

FORMAT, VERSION = "limbeck-files", 1
SUFFIX = ".files.json"


def listing_of(folder: Path) -> Path:
    """Return the path of a folder's list.

    Example:
        >>> listing_of(Path("cache/unpacked/pets")).name
        'pets.files.json'
    """
    return folder.with_name(folder.name + SUFFIX)


def list_files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below a folder, by its path from there, in order."""
    return {name: hash_file(folder / name) for name in sorted(_names(folder))}


def write_listing(folder: Path, files: Mapping[str, str]) -> None:
    """Write the list of a folder, which may get its name later.

    Raises:
        OutputError: it cannot be written.
    """
    content = {"format": FORMAT, "version": VERSION, "files": [[name, digest] for name, digest in files.items()]}
    write_text(listing_of(folder), sealed_text(content))


def check_listing(folder: Path) -> str | None:
    """Return what is wrong with a folder: a file that changed, is missing or is not listed; None where all is well.

    Raises:
        RecordError: no list, or a damaged one.
        OSError: a file that cannot be read.
    """
    content = read_sealed_json(listing_of(folder), format_name=FORMAT, version=VERSION)
    listed, there = dict(content["files"]), _names(folder)
    if missing := listed.keys() - there:
        return f"{min(missing)} is missing"
    if foreign := there - listed.keys():
        return f"{min(foreign)} is no file of it"
    return next((f"{name} was changed" for name, digest in listed.items() if hash_file(folder / name) != digest), None)


def wrong_with(folder: Path) -> str | None:
    """Return what :func:`check_listing` does; "" for a folder of an earlier release, which has no list."""
    if not listing_of(folder).exists():
        return ""
    try:
        return check_listing(folder)
    except (RecordError, OSError) as error:
        return getattr(error, "fact", None) or str(error)


def discard(folder: Path) -> None:
    """Remove a folder, out of its place at once."""
    away = partial_path(folder)
    with contextlib.suppress(OSError):
        os.rename(folder, away)
        shutil.rmtree(away, ignore_errors=True)


def _names(folder: Path) -> set[str]:
    names = (Path(inner, file) for inner, _, files in os.walk(folder) for file in files)
    return {name.relative_to(folder).as_posix() for name in names}
