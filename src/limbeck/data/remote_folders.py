"""Image folders at addresses that fsspec opens: ``s3://bucket/photos``."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.data.byte_files import filesystem_of, read_addresses, trouble_told
from limbeck.data.class_folders import SPLIT_FOLDERS
from limbeck.data.encoded_images import EncodedSet, identities_of
from limbeck.data.file_listing import composed
from limbeck.data.image_decoding import EXTENSIONS, EncodedImage
from limbeck.data.image_inputs import ImageSettings, load_images
from limbeck.data.path_table import PathTable
from limbeck.data.sample_keys import ids_of_keys
from limbeck.data.samples import Samples
from limbeck.data.splits import Splits
from limbeck.errors import DataError


class RemoteImages:
    """The image files of one split below an address, by position; those of a batch are fetched together.

    Args:
        paths: with the address in front.
        keys: the same from the split's folder, with composed accents.
        sizes: bytes of each, int64.
    """

    def __init__(self, paths: PathTable, keys: PathTable, sizes: np.ndarray[Any, Any]) -> None:
        self.paths, self.keys, self.sizes = paths, keys, sizes

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, positions: list[int]) -> list[EncodedImage]:
        """Return address and content of the files at ``positions``."""
        addresses = [self.paths[place] for place in positions]
        contents = read_addresses(addresses, [0] * len(positions), self.sizes[positions].tolist())
        return [EncodedImage(address, content) for address, content in zip(addresses, contents, strict=True)]

    def identities(self, positions: Tensor) -> list[bytes]:
        """Return path and size of each file."""
        return identities_of(self.keys, self.sizes, positions)


def load_remote_folder(
    address: str,
    *,
    image_size: int | None = None,
    exif_orientation: bool = False,
    memory_limit_bytes: int = ImageSettings.memory_limit_bytes,
) -> Splits:
    """Load an image folder at an address: ``ADDRESS/<class>/*`` or ``ADDRESS/{train,val,test}/<class>/*``.

    As ``load_image_folder``, but for ``classes.tsv``. The files are listed at each start; the store must tell their
    sizes.

    Args:
        address: of the folder.
        image_size: see ``load_image_folder``.
        exif_orientation: likewise.
        memory_limit_bytes: likewise.
    Raises:
        DataError: nothing there, a single class, or what ``load_image_folder`` refuses of images.
        MissingPackage: without fsspec, or what it needs for this kind of address.
    """
    sizes = _listed(address)
    by_split = _by_split(sorted(sizes), address)
    classes = sorted({path.split("/")[0] for path in by_split["train"][1]})
    if len(classes) < 2:
        raise DataError(f"{address} has a single class.", received=classes[0], expected="at least two class folders")
    parts = {split: _images_of(address, prefix, names, sizes) for split, (prefix, names) in by_split.items()}
    labels = {split: _labels(split, names, classes, address) for split, (_, names) in by_split.items()}
    settings = ImageSettings(image_size, memory_limit_bytes, exif_orientation)
    inputs, notes = load_images({split: EncodedSet(images) for split, images in parts.items()}, settings)
    name = address.rstrip("/").rpartition("/")[2] or "images"
    samples = {
        split: Samples(
            f"{name}/{split}", ids_of_keys(images.keys, what="files"), inputs[split], labels[split], tuple(classes)
        )
        for split, images in parts.items()
    }
    return Splits(samples["train"], samples.get("validation"), samples.get("test"), name=name, notes=notes)


def _listed(address: str) -> dict[str, int]:
    """Size of each image file by its path below the address."""
    system, root = filesystem_of(address)
    with trouble_told(address):
        found = system.find(root, detail=True)
    start = len(root.rstrip("/")) + 1
    sizes = {
        path[start:]: described.get("size")
        for path, described in found.items()
        if path.lower().endswith(EXTENSIONS) and "/" in path[start:] and not path.rpartition("/")[2].startswith(".")
    }
    if not sizes:
        raise DataError(
            f"{address} has no images.",
            received=f"{len(found)} other file(s)",
            expected="one folder for each class with " + ", ".join(EXTENSIONS) + " files in it",
        )
    if lost := [path for path, size in sizes.items() if size is None]:
        raise DataError(
            f"The sizes of the files of {address} are not told.",
            received=f"none for {lost[0]}",
            expected="a store of objects, which lists files with their sizes",
            remedy="pack them into tar shards, shards:ADDRESS/{000..146}.tar, or copy the folder here",
        )
    return sizes


def _by_split(paths: list[str], address: str) -> dict[str, tuple[str, list[str]]]:
    """The folder of each split, and its files from there."""
    folders = {path.split("/")[0] for path in paths}
    if not all(folder.lower() in SPLIT_FOLDERS for folder in folders) or any(path.count("/") < 2 for path in paths):
        return {"train": ("", paths)}
    named = {SPLIT_FOLDERS[folder.lower()]: folder for folder in folders}
    if len(named) < len(folders) or "train" not in named:
        raise DataError(
            f"{address} has two folders for one split, or no training images.",
            received=", ".join(sorted(folders)),
            expected="train, and perhaps val and test",
        )
    return {
        split: (named[split] + "/", [path.partition("/")[2] for path in paths if path.startswith(named[split] + "/")])
        for split in ("train", "validation", "test")
        if split in named
    }


def _images_of(address: str, prefix: str, names: list[str], sizes: dict[str, int]) -> RemoteImages:
    paths = PathTable(names, root=f"{address.rstrip('/')}/{prefix}")
    return RemoteImages(paths, composed(paths), np.array([sizes[prefix + name] for name in names], dtype=np.int64))


def _labels(split: str, names: list[str], classes: list[str], address: str) -> Tensor:
    places = {folder: place for place, folder in enumerate(classes)}
    folders = [name.split("/")[0] for name in names]
    if unknown := sorted(set(folders) - set(classes)):
        raise DataError(
            f"The {split} split of {address} has classes that the training split lacks.",
            received=", ".join(unknown[:10]),
            expected="the same folders as in train",
        )
    return torch.tensor([places[folder] for folder in folders])
