"""Which tar files a pattern names, and which split each belongs to."""

from __future__ import annotations

import glob
import itertools
import os
import re
from pathlib import Path

from limbeck.data.byte_files import filesystem_of, is_address, trouble_told
from limbeck.data.class_folders import SPLIT_FOLDERS
from limbeck.errors import DataError

MAX_FILES = 1_000_000
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"^(\d+)\.\.(\d+)$")
_GLOB = re.compile(r"[*?\[]")


def files_of(pattern: str, *, suffix: str) -> list[str]:
    """Return the files that a pattern names, sorted, without repetition.

    Args:
        pattern: a file, a folder, or an address of one; with ``{000..146}``, ``{a,b}``, ``*``, ``?`` and ``[...]``;
            several are joined by ``::``.
        suffix: of the files that count in a folder, e.g. ".tar".
    Raises:
        DataError: a pattern that names no file.
    """
    found: dict[str, None] = {}
    for part in pattern.split("::"):
        for one in expand_braces(part):
            names = [one] if not _GLOB.search(one) else _matching(one)
            for name in names:
                found |= dict.fromkeys(_below(name, suffix))
    if not found:
        raise DataError(
            f"{pattern} names no file.", expected=f"{suffix} files, or a folder of them", remedy="check the spelling"
        )
    return sorted(found)


def expand_braces(pattern: str) -> list[str]:
    """Return the texts that braces stand for.

    Example:
        >>> expand_braces("{train,val}-{08..10}.tar")[:4]
        ['train-08.tar', 'train-09.tar', 'train-10.tar', 'val-08.tar']
    """
    parts: list[list[str]] = []
    end, count = 0, 1
    for match in _BRACES.finditer(pattern):
        choices = _choices(match[1])
        count *= max(1, len(choices))
        if count > MAX_FILES:
            raise DataError(f"{pattern} names too many files.", expected=f"at most {MAX_FILES:,}")
        parts += [[pattern[end : match.start()]], choices]
        end = match.end()
    return ["".join(one) for one in itertools.product(*parts, [pattern[end:]])]


def _choices(inside: str) -> list[str]:
    if (found := _RANGE.match(inside)) is None:
        return inside.split(",")
    first, last = int(found[1]), int(found[2])
    if last - first >= MAX_FILES:
        raise DataError(f"{{{inside}}} names too many files.", expected=f"at most {MAX_FILES:,}")
    return [str(number).zfill(len(found[1])) for number in range(first, last + 1)]


def _matching(pattern: str) -> list[str]:
    if not is_address(pattern):
        return glob.glob(os.path.expanduser(pattern), recursive=True)
    system, path = filesystem_of(pattern)
    with trouble_told(pattern):
        return [str(system.unstrip_protocol(name)) for name in system.glob(path)]


def _below(name: str, suffix: str) -> list[str]:
    """The file itself, or those of a folder and of the folders in it."""
    if is_address(name):
        if name.lower().endswith(suffix):
            return [name]
        system, path = filesystem_of(name)
        with trouble_told(name):
            return [str(system.unstrip_protocol(one)) for one in system.find(path) if one.lower().endswith(suffix)]
    place = Path(name).expanduser()
    if place.is_dir():
        return [str(one) for depth in ("*", "*/*") for one in place.glob(depth) if one.name.lower().endswith(suffix)]
    if not place.exists():
        raise DataError(f"There is no file {name}.", expected=f"{suffix} files", remedy="check the spelling")
    return [str(place)]


def files_by_split(paths: list[str], *, pattern: str) -> dict[str, list[str]]:
    """Return the files of each split, the training split first.

    A file belongs to the split that its name has among its words, or that its folder is called: ``imagenet-val-0.tar``,
    ``test/0.tar``. Where no file has such a word, all are for training.

    Raises:
        DataError: only some have such a word, or none is for training.
    """
    splits = {path: _split_of(path) for path in paths}
    if all(split is None for split in splits.values()):
        return {"train": paths}
    if lost := [path for path, split in splits.items() if split is None]:
        raise DataError(
            f"Some files of {pattern} belong to no split.",
            received=", ".join(lost[:5]),
            expected="train, val or test in each name, or in none",
        )
    found = {split: [path for path in paths if splits[path] == split] for split in ("train", "validation", "test")}
    if not found["train"]:
        raise DataError(
            f"{pattern} has no training files.",
            received=", ".join(paths[:5]),
            expected="files with train in their names, or without val and test",
        )
    return {split: files for split, files in found.items() if files}


def _split_of(path: str) -> str | None:
    *folders, name = path.split("/")
    words = [word for word in re.split(r"[^a-z]+", name.lower()) if word in SPLIT_FOLDERS]
    return SPLIT_FOLDERS.get(words[0] if words else folders[-1].lower() if folders else "")


def name_of_files(path: str) -> str:
    """Return a data set's name from that of a file: its first word, without split and numbers.

    Example:
        >>> name_of_files("s3://data/imagenet-train-{000..146}.tar"), name_of_files("photos/")
        ('imagenet', 'photos')
    """
    base = path.split("::")[0].rstrip("/").rpartition("/")[2].partition(".")[0]
    words = [word for word in re.split(r"[^0-9A-Za-z]+", re.sub(r"\{.*?\}|\*", "", base)) if word]
    kept = [word for word in words if word.lower() not in SPLIT_FOLDERS and not word.isdigit()]
    return "-".join(kept) or "files"
