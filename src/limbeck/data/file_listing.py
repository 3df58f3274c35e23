"""The files of a data set's folder, of images or clips: paths, sizes, classes and ids."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.bounds import require_plain_file
from limbeck.data.path_table import PathTable
from limbeck.errors import DataError


@dataclass(frozen=True)
class Listing:
    """The files of one split, sorted by class and path."""

    paths: PathTable
    relative_paths: PathTable  # from the split's folder, with / and composed accents
    num_bytes: np.ndarray[Any, Any]
    classes: list[str]  # the class folder of each file


def _visible(name: str) -> bool:
    return not name.startswith(".") and name != "__MACOSX"


def folders_in(root: Path) -> list[Path]:
    with os.scandir(root) as entries:
        return sorted(Path(entry.path) for entry in entries if entry.is_dir() and _visible(entry.name))


def list_files(folder: Path, extensions: tuple[str, ...], *, what: str) -> Listing:
    """Return the files below the class folders of a split.

    Args:
        folder: of the split.
        extensions: of the files that count, in lower case.
        what: they are, for messages: "images".
    Raises:
        DataError: there are none.
    """
    relative_paths: list[str] = []
    num_bytes: list[int] = []
    classes: list[str] = []
    ignored = 0
    for class_folder in folders_in(folder):
        before = len(relative_paths)
        ignored += _list_files(str(class_folder), class_folder.name, relative_paths, num_bytes, extensions)
        classes += [class_folder.name] * (len(relative_paths) - before)
    if not relative_paths:
        raise DataError(
            f"{folder} has no {what}.",
            received=f"{ignored} other file(s) in {len(folders_in(folder))} folder(s)",
            expected="one folder for each class with " + ", ".join(extensions) + " files in it",
        )
    paths = PathTable(relative_paths, root=str(folder))
    is_composed = all(map(str.isascii, relative_paths))
    composed = paths if is_composed else PathTable(unicodedata.normalize("NFC", path) for path in relative_paths)
    return Listing(paths, composed, np.array(num_bytes, dtype=np.int64), classes)


def _list_files(folder: str, relative: str, paths: list[str], num_bytes: list[int], extensions: tuple[str, ...]) -> int:
    """Add the files below a folder, its own before those of its folders; return how many files are something else."""
    ignored, inner = 0, []
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir():
                if _visible(entry.name) and not entry.is_symlink():
                    inner.append(entry.name)
            elif _visible(entry.name) and entry.name.lower().endswith(extensions):
                if not entry.is_file():
                    require_plain_file(entry.path)
                    raise DataError(f"{entry.path} is a link to nothing.", remedy="mend or remove it")
                paths.append(f"{relative}/{entry.name}")
                num_bytes.append(entry.stat().st_size)
            else:
                ignored += 1
    for name in inner:
        ignored += _list_files(os.path.join(folder, name), f"{relative}/{name}", paths, num_bytes, extensions)
    return ignored


def ids_of(listing: Listing) -> Tensor:
    """63 bits of the BLAKE2b hash of each relative path."""
    table = listing.relative_paths
    hashed = b"".join(
        hashlib.blake2b(table.relative(place).encode("utf-8", "surrogateescape"), digest_size=8).digest()
        for place in range(len(table))
    )
    ids = (np.frombuffer(hashed, dtype=">u8") >> 1).astype(np.int64)
    order = np.argsort(ids, kind="stable")
    same = np.flatnonzero(ids[order][1:] == ids[order][:-1])
    if len(same):
        first, second = (table.relative(int(order[same[0] + step])) for step in (0, 1))
        raise DataError("Two files have the same id.", received=f"{first} and {second}", remedy="rename one of them")
    return torch.from_numpy(ids)
