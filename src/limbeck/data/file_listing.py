"""The files of a data set's folder, of images or clips: paths, sizes, classes and ids."""

from __future__ import annotations

import dataclasses
import os
import unicodedata
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from limbeck.bounds import require_plain_file
from limbeck.data.path_table import PathTable
from limbeck.data.sample_keys import ids_of_keys
from limbeck.errors import DataError


@dataclass(frozen=True)
class Listing:
    """The files of one split, sorted by class and path.

    Args:
        paths: as they are opened.
        relative_paths: from the split's folder, with / and composed accents.
        num_bytes: size of each file, int64.
        class_folders: those that hold files, in order.
        class_of: place of each file's class there, int32.
        known_ids: see :func:`ids_of`; None where they are not computed yet.
        folders: every folder that was looked into, from the split's folder, "" for itself.
        folder_times: when each was last changed, nanoseconds, int64.
    """

    paths: PathTable
    relative_paths: PathTable
    num_bytes: np.ndarray[Any, Any]
    class_folders: tuple[str, ...]
    class_of: np.ndarray[Any, Any]
    known_ids: Tensor | None = None
    folders: PathTable = dataclasses.field(default_factory=lambda: PathTable(()))
    folder_times: np.ndarray[Any, Any] = dataclasses.field(default_factory=lambda: np.empty(0, dtype=np.int64))


def _visible(name: str) -> bool:
    return not name.startswith(".") and name != "__MACOSX"


def folders_in(root: Path) -> list[Path]:
    with os.scandir(root) as entries:
        return sorted(Path(entry.path) for entry in entries if entry.is_dir() and _visible(entry.name))


class _Collected:
    """What was found so far: numbers and bytes in runs, no object for a file."""

    def __init__(self, folder: str, extensions: tuple[str, ...]) -> None:
        self.folder, self.extensions = folder, extensions
        self.text, self.ends, self.sizes = bytearray(), array("q"), array("q")
        self.folders: list[str] = []
        self.folder_times = array("q")
        self.num_ignored = 0

    def visit(self, relative: str) -> None:
        """Note a folder with its time, taken before it is looked into: what changes later makes the time another."""
        self.folders.append(relative)
        self.folder_times.append(os.stat(os.path.join(self.folder, relative)).st_mtime_ns)

    def add_below(self, relative: str) -> None:
        """Add the files below a folder, its own before those of its folders."""
        self.visit(relative)
        path = os.path.join(self.folder, relative)
        names: list[str] = []
        inner: list[str] = []
        lost: list[str] = []
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir():
                    if _visible(entry.name) and not entry.is_symlink():
                        inner.append(entry.name)
                elif _visible(entry.name) and entry.name.lower().endswith(self.extensions):
                    (names if entry.is_file() else lost).append(entry.name)
                else:
                    self.num_ignored += 1
        if lost:
            require_plain_file(os.path.join(path, min(lost)))
            raise DataError(f"{os.path.join(path, min(lost))} is a link to nothing.", remedy="mend or remove it")
        prefix = os.fsencode(relative) + b"/"
        for name in sorted(names):
            self.text += prefix + os.fsencode(name)
            self.ends.append(len(self.text))
            self.sizes.append(os.stat(os.path.join(path, name)).st_size)
        for name in sorted(inner):
            self.add_below(f"{relative}/{name}")


def list_files(folder: Path, extensions: tuple[str, ...], *, what: str) -> Listing:
    """Return the files below the class folders of a split.

    Args:
        folder: of the split.
        extensions: of the files that count, in lower case.
        what: they are, for messages: "images".
    Raises:
        DataError: there are none.
    """
    found = _Collected(str(folder), extensions)
    found.visit("")
    class_folders, counts = [], []
    for class_folder in folders_in(folder):
        before = len(found.ends)
        found.add_below(class_folder.name)
        if len(found.ends) > before:
            class_folders.append(class_folder.name)
            counts.append(len(found.ends) - before)
    if not counts:
        raise DataError(
            f"{folder} has no {what}.",
            received=f"{found.num_ignored} other file(s) in {len(folders_in(folder))} folder(s)",
            expected="one folder for each class with " + ", ".join(extensions) + " files in it",
        )
    paths = PathTable.of_text(
        np.frombuffer(found.text, np.uint8), np.frombuffer(found.ends, np.int64), root=str(folder)
    )
    return Listing(
        paths,
        composed(paths),
        np.frombuffer(found.sizes, np.int64),
        tuple(class_folders),
        np.repeat(np.arange(len(counts), dtype=np.int32), counts),
        folders=PathTable(found.folders),
        folder_times=np.frombuffer(found.folder_times, np.int64),
    )


def composed(paths: PathTable) -> PathTable:
    """Return paths with composed accents, as one system writes them and another does not."""
    if bool((paths.text < 128).all()):
        return paths
    decoded = (path.decode("utf-8", "surrogateescape") for path in paths.iterate_encoded())
    return PathTable(unicodedata.normalize("NFC", path) for path in decoded)


def ids_of(listing: Listing) -> Tensor:
    """63 bits of the BLAKE2b hash of each relative path."""
    if listing.known_ids is not None:
        return listing.known_ids
    return ids_of_keys(listing.relative_paths, what="files")
