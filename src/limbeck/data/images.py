"""Image folders: ``root/<class>/*`` or ``root/{train,val,test}/<class>/*``, PNG and JPEG."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from limbeck.data.image_files import ImageFiles, decode_all, read_headers, sizes_differ
from limbeck.data.samples import InputSource, Samples
from limbeck.data.splits import Splits
from limbeck.errors import DataError, InvalidValue

DECODED_LIMIT_BYTES = 2 << 30  # up to here a folder's images are decoded once, into memory
EXTENSIONS = (".png", ".jpg", ".jpeg")
SPLIT_FOLDERS = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


@dataclass(frozen=True)
class _Listing:
    """The image files of one split, sorted by class and path."""

    paths: list[str]
    relative_paths: list[str]  # from the split's folder, with / and composed accents
    num_bytes: list[int]
    classes: list[str]  # the class folder of each file


def load_image_folder(
    root: str | Path,
    *,
    image_size: int | None = None,
    memory_limit_bytes: int = DECODED_LIMIT_BYTES,
    name: str | None = None,
) -> Splits:
    """Load an image folder.

    The folder holds either one folder per class, or ``train`` and perhaps ``val`` (or ``valid``, ``validation``) and
    ``test``, each with one folder per class. Class folders may have folders inside. Hidden files and files that are
    neither PNG nor JPEG are ignored. Classes are the training folders in alphabetical order; a file ``classes.tsv`` in
    the root (folder, tab, words) gives them better names. If one image has colours, all become RGB.

    An image's id is a 63-bit hash of its path below the split, so adding files does not move the ids of others.

    Args:
        root: the folder.
        image_size: cut each image square around its middle and resize it to this many pixels; None takes them as they
            are, and then they must be of one size.
        memory_limit_bytes: decode once, into memory, up to this size; beyond it, files are read on demand.
        name: of the data set; by default the folder's.
    Returns:
        The splits that the folder has; nothing is held out.
    Raises:
        DataError: no images, an empty class, a single class, an unknown class in a later split, images of different
            sizes, or a file that cannot be read.
    """
    root = Path(root)
    if image_size is not None and image_size < 1:
        raise InvalidValue("image_size must be at least 1.", received=image_size)
    name = root.resolve().name if name is None else name
    listings = {split: _list_split(folder) for split, folder in _split_folders(root).items()}
    classes = _check_classes(root, listings)
    loaded = _load_inputs(listings, image_size, memory_limit_bytes)
    shown = _class_words(root, classes)
    indices = {folder: index for index, folder in enumerate(classes)}
    parts: dict[str, Samples] = {}
    for split, listing in listings.items():
        labels = torch.tensor([indices[folder] for folder in listing.classes])
        parts[split] = Samples(f"{name}/{split}", _ids_of(listing), loaded[split], labels, shown)
    return Splits(parts["train"], parts.get("validation"), parts.get("test"), name=name)


def is_image_folder(root: Path) -> bool:
    """Whether a folder has folders inside: what :func:`load_image_folder` may understand."""
    return bool(_folders(root))


def image_root(folder: Path) -> Path:
    """Return the folder of splits or classes in what was unpacked: single folders of folders are gone into."""
    while len(inner := _folders(folder)) == 1 and is_image_folder(inner[0]):
        folder = inner[0]
    return folder


def _visible(name: str) -> bool:
    return not name.startswith(".") and name != "__MACOSX"


def _folders(root: Path) -> list[Path]:
    with os.scandir(root) as entries:
        return sorted(Path(entry.path) for entry in entries if entry.is_dir() and _visible(entry.name))


def _split_folders(root: Path) -> dict[str, Path]:
    """Split name -> folder; the root itself is "train" where its folders are classes."""
    try:
        folders = _folders(root)
    except OSError as error:
        raise DataError(f"Cannot read the folder {root}.", received=error.strerror) from error
    named = [folder for folder in folders if folder.name.lower() in SPLIT_FOLDERS]
    if not named or len(named) < len(folders) or not any(_folders(folder) for folder in named):
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
            f"{root} has no training images.",
            received=", ".join(f.name for f in named),
            expected="a folder named train",
        )
    return {split: splits[split] for split in ("train", "validation", "test") if split in splits}


def _list_split(folder: Path) -> _Listing:
    listing, ignored = _Listing([], [], [], []), 0
    for class_folder in _folders(folder):
        for parent, folders, files in os.walk(class_folder):
            folders[:] = sorted(name for name in folders if _visible(name))
            for file in sorted(files):
                if not _visible(file) or not file.lower().endswith(EXTENSIONS):
                    ignored += 1
                    continue
                path = os.path.join(parent, file)
                relative = Path(path).relative_to(folder).as_posix()
                listing.paths.append(path)
                listing.relative_paths.append(unicodedata.normalize("NFC", relative))
                listing.num_bytes.append(os.stat(path).st_size)
                listing.classes.append(class_folder.name)
    if not listing.paths:
        raise DataError(
            f"{folder} has no images.",
            received=f"{ignored} other file(s) in {len(_folders(folder))} folder(s)",
            expected="one folder for each class with " + ", ".join(EXTENSIONS) + " files in it",
        )
    return listing


def _check_classes(root: Path, listings: dict[str, _Listing]) -> list[str]:
    """Return the class folders of the training split in order, or raise what is wrong with them."""
    classes = sorted(set(listings["train"].classes))
    train_folder = _split_folders(root)["train"]
    if empty := [folder.name for folder in _folders(train_folder) if folder.name not in classes]:
        raise DataError(
            f"{train_folder} has classes without images.",
            received=", ".join(empty[:10]) + (" ..." if len(empty) > 10 else ""),
            expected="at least one image in each folder",
            remedy="fill or remove the folder",
        )
    if len(classes) < 2:
        raise DataError(
            f"{train_folder} has a single class.", received=classes[0], expected="at least two class folders"
        )
    for split, listing in listings.items():
        if unknown := sorted(set(listing.classes) - set(classes)):
            raise DataError(
                f"The {split} split of {root} has classes that the training split lacks.",
                received=", ".join(unknown[:10]),
                expected="the same folders as in train",
            )
    return classes


def _load_inputs(
    listings: dict[str, _Listing], image_size: int | None, memory_limit_bytes: int
) -> dict[str, InputSource]:
    """Decode every split, or prepare to read it on demand; grey only where every image of every split is."""
    reference = listings["train"].paths[0]
    height, width = _first_size(reference, image_size)
    count = sum(len(listing.paths) for listing in listings.values())
    if count * 3 * height * width <= memory_limit_bytes:
        shape = (3, height, width)
        decoded = {
            split: decode_all(listing.paths, shape, image_size, reference=reference)
            for split, listing in listings.items()
        }
        all_grey = all(is_grey for _, is_grey in decoded.values())
        return {split: images[:, :1].contiguous() if all_grey else images for split, (images, _) in decoded.items()}
    all_grey = True
    for listing in listings.values():
        for path, header in zip(listing.paths, read_headers(listing.paths), strict=True):
            all_grey = all_grey and header.is_grey
            if image_size is None and (header.height, header.width) != (height, width):
                raise sizes_differ(reference, (height, width), path, (header.height, header.width))
    shape = (1 if all_grey else 3, height, width)
    return {
        split: ImageFiles(item.paths, item.relative_paths, item.num_bytes, shape=shape, image_size=image_size)
        for split, item in listings.items()
    }


def _first_size(path: str, image_size: int | None) -> tuple[int, int]:
    if image_size is not None:
        return image_size, image_size
    header = read_headers([path])[0]
    return header.height, header.width


def _ids_of(listing: _Listing) -> Tensor:
    """63 bits of the BLAKE2b hash of each relative path."""
    ids: dict[int, str] = {}
    for path in listing.relative_paths:
        number = (
            int.from_bytes(hashlib.blake2b(path.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "big") >> 1
        )
        if number in ids:
            raise DataError(
                "Two images have the same id.", received=f"{ids[number]} and {path}", remedy="rename one of them"
            )
        ids[number] = path
    return torch.tensor(list(ids), dtype=torch.int64)


def _class_words(root: Path, classes: list[str]) -> tuple[str, ...]:
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
