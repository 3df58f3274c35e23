"""Folders of splits and classes, as data sets of images and of clips have them; ``what`` names those in messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from limbeck.data.file_listing import Listing, folders_in
from limbeck.errors import DataError

SPLIT_FOLDERS = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


def split_folders(root: Path, what: str) -> dict[str, Path]:
    """Split name -> folder; the root itself is "train" where its folders are classes."""
    try:
        folders = folders_in(root)
    except OSError as error:
        raise DataError(f"Cannot read the folder {root}.", received=error.strerror) from error
    named = [folder for folder in folders if folder.name.lower() in SPLIT_FOLDERS]
    if not named or len(named) < len(folders) or not any(folders_in(folder) for folder in named):
        return {"train": root}
    splits: dict[str, Path] = {}
    for folder in named:
        split = SPLIT_FOLDERS[folder.name.lower()]
        if split in splits:
            raise DataError(
                f"{root} has two {split} folders.", received=f"{splits[split].name} and {folder.name}", expected="one"
            )
        splits[split] = folder
    if "train" not in splits:
        raise DataError(
            f"{root} has no training {what}.",
            received=", ".join(f.name for f in named),
            expected="a folder named train",
        )
    return {split: splits[split] for split in ("train", "validation", "test") if split in splits}


def check_classes(root: Path, listings: dict[str, Listing], what: str) -> list[str]:
    """Return the class folders of the training split in order, or raise what is wrong with them."""
    classes = sorted(listings["train"].class_folders)
    train_folder = split_folders(root, what)["train"]
    if empty := [folder.name for folder in folders_in(train_folder) if folder.name not in classes]:
        raise DataError(
            f"{train_folder} has classes without {what}.",
            received=", ".join(empty[:10]) + (" ..." if len(empty) > 10 else ""),
            expected=f"at least one of the {what} in each folder",
            remedy="fill or remove the folder",
        )
    if len(classes) < 2:
        raise DataError(
            f"{train_folder} has a single class.", received=classes[0], expected="at least two class folders"
        )
    for split, listing in listings.items():
        if unknown := sorted(set(listing.class_folders) - set(classes)):
            raise DataError(
                f"The {split} split of {root} has classes that the training split lacks.",
                received=", ".join(unknown[:10]),
                expected="the same folders as in train",
            )
    return classes


def class_indices(listing: Listing, classes: list[str]) -> np.ndarray[Any, Any]:
    """Return the class of each file, its place among ``classes``: int64, shape (n,)."""
    places = {folder: index for index, folder in enumerate(classes)}
    found: np.ndarray[Any, Any] = np.array([places[folder] for folder in listing.class_folders])[listing.class_of]
    return found


def class_words(root: Path, classes: list[str]) -> tuple[str, ...]:
    """The classes' names: from ``classes.tsv`` the words up to the first comma, with the folder where they repeat."""
    try:
        lines = (root / "classes.tsv").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return tuple(classes)
    words = dict(line.split("\t", 1) for line in lines if "\t" in line)
    short = [words.get(folder, folder).split(",")[0].strip() or folder for folder in classes]
    return tuple(
        word if short.count(word) == 1 else f"{word} ({folder})" for word, folder in zip(short, classes, strict=True)
    )
