"""Tar shards as a data set of images."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.data.byte_files import ByteFiles
from limbeck.data.checks import UNLABELLED, numbered_classes
from limbeck.data.encoded_images import EncodedSet, identities_of
from limbeck.data.image_decoding import EncodedImage
from limbeck.data.image_inputs import ImageSettings, load_images
from limbeck.data.path_table import PathTable
from limbeck.data.sample_keys import ids_of_keys
from limbeck.data.samples import Samples
from limbeck.data.shards.index import ShardIndex, index_shard
from limbeck.data.shards.pattern import files_by_split, files_of, name_of_files
from limbeck.data.splits import Splits
from limbeck.errors import DataError

SUFFIX = ".tar"
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}")


class ShardImages:
    """The images of several tar files, by position.

    Args:
        indices: of the files, in their order.
    Raises:
        DataError: two samples of the same key.
    """

    def __init__(self, indices: Sequence[ShardIndex]) -> None:
        self.keys = joined([index.keys for index in indices])
        self._sizes = np.concatenate([index.sizes for index in indices])
        self._offsets = np.concatenate([index.offsets for index in indices])
        counts = [len(index.keys) for index in indices]
        self._starts = np.cumsum([0, *counts])  # position of each file's first sample
        self._bytes = ByteFiles([index.path for index in indices], [index.stamp for index in indices])

    def __len__(self) -> int:
        return len(self._sizes)

    def where(self, position: int) -> str:
        """Return which sample is at a position, for messages."""
        shard = int(np.searchsorted(self._starts, position, side="right")) - 1
        return f"{self.keys.relative(position)} in {self._bytes.paths[shard]}"

    def read(self, positions: list[int]) -> list[EncodedImage]:
        """Return name and content of the images at ``positions``."""
        shards = (np.searchsorted(self._starts, positions, side="right") - 1).tolist()
        contents = self._bytes.read(shards, self._offsets[positions].tolist(), self._sizes[positions].tolist())
        return [
            EncodedImage(f"{self.keys.relative(place)} in {self._bytes.paths[shard]}", content)
            for place, shard, content in zip(positions, shards, contents, strict=True)
        ]

    def identities(self, positions: Tensor) -> list[bytes]:
        """Return key and size of each image."""
        return identities_of(self.keys, self._sizes, positions)


def load_shards(
    pattern: str,
    *,
    image_size: int | None = None,
    label_column: str | None = None,
    exif_orientation: bool = False,
    memory_limit_bytes: int = ImageSettings.memory_limit_bytes,
    name: str | None = None,
) -> Splits:
    """Load tar shards in WebDataset's layout: the files of a sample follow each other and share its key.

    A sample is an image (``.jpg``, ``.png``, ... as in folders) and its class: an integer or a word in ``.cls``, or in
    a field of ``.json``. The key is the path up to the first dot; its hash is the sample's id, so that moving samples
    to other shards changes nothing. Other files are left alone.

    Each tar file is read once, for an index that is kept in the cache while the file does not change.

    Args:
        pattern: files, ``train-{000..146}.tar``, ``shards/*.tar``, a folder, or several joined by ``::``; addresses
            (``s3://``, ``https://``) through fsspec. Files with ``train``, ``val`` or ``test`` among the words of
            their name, or in folders of that name, are of that split.
        image_size: see ``load_image_folder``.
        label_column: name of the field in ``.json``, where it is not called label or target.
        exif_orientation: see ``load_image_folder``.
        memory_limit_bytes: decode once, into memory, up to this size; beyond it, images are read on demand.
        name: of the data set; by default from the pattern's.
    Raises:
        DataError: no file, one that is cut short or damaged, a sample without an image, one without a label where
            others have one, two of one key, images of different sizes.
        MissingPackage: an address without fsspec.
    """
    by_split = files_by_split(files_of(pattern, suffix=SUFFIX), pattern=pattern)
    name = name or name_of_files(pattern)
    indices: dict[str, list[ShardIndex]] = {}
    for split, paths in by_split.items():
        indices[split] = [index_shard(path, label_column=label_column) for path in paths]
        if not any(len(index.keys) for index in indices[split]):
            raise DataError(
                f"The {split} files of {pattern} hold no samples.",
                received=f"{len(paths)} file(s)",
                expected="images (.jpg, .png, ...) beside .cls or .json",
            )
    images = {split: ShardImages(found) for split, found in indices.items()}
    ids = {split: _ids(found) for split, found in images.items()}
    texts = {split: joined([index.labels for index in found]) for split, found in indices.items()}
    labels, class_names = _labels(texts, images)
    settings = ImageSettings(image_size, memory_limit_bytes, exif_orientation)
    inputs, notes = load_images({split: EncodedSet(found) for split, found in images.items()}, settings)
    parts = {
        split: Samples(f"{name}/{split}", ids[split], inputs[split], labels[split], class_names) for split in by_split
    }
    return Splits(parts["train"], parts.get("validation"), parts.get("test"), name=name, notes=notes)


def joined(tables: Sequence[PathTable]) -> PathTable:
    """Return tables as one.

    Example:
        >>> list(joined([PathTable(["a", "bc"]), PathTable(["d"])]))
        ['a', 'bc', 'd']
    """
    lengths = [np.diff(table.ends, prepend=0) for table in tables]
    return PathTable.of_text(np.concatenate([table.text for table in tables]), np.cumsum(np.concatenate(lengths)))


def _ids(images: ShardImages) -> Tensor:
    try:
        return ids_of_keys(images.keys, what="samples")
    except DataError:
        seen: dict[bytes, int] = {}
        for place, key in enumerate(images.keys.iterate_encoded()):
            if key in seen:
                raise DataError(
                    f"Two samples have the key {images.keys.relative(place)}.",
                    received=f"{images.where(seen[key])}, and {images.where(place)}",
                    expected="a key of its own for each sample of a split: ids are made of it",
                    remedy="write the shards again with keys that differ, or leave one of the files out of the pattern",
                ) from None
            seen[key] = place
        raise


def _labels(texts: dict[str, PathTable], images: dict[str, ShardImages]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Class indices by split, and the classes' names: numbers as they are, words in alphabetical order."""
    codes: dict[str, int] = {}  # of each text that is there, over all splits
    coded = {split: _coded(table, codes) for split, table in texts.items()}
    if not any(codes):
        return {split: torch.full((len(part),), UNLABELLED) for split, part in coded.items()}, ()
    for split, part in coded.items():
        if len(missing := np.flatnonzero(part == codes.get("", -1))):
            raise DataError(
                f"The sample {images[split].where(int(missing[0]))} has no label.",
                received=f"{len(missing)} such sample(s) of {len(part)}",
                expected="a .cls file, or a .json with a label, beside each image",
                remedy="add it; -1 in .cls stands for an unknown class",
            )
    if all(_WHOLE_NUMBER.fullmatch(text) for text in codes):
        values = np.array([int(text) for text in codes], dtype=np.int64)
        count = sum(map(len, coded.values()))
        class_names = numbered_classes(int(values.max()), num_labels=count, name="the shards")
    else:
        class_names = tuple(sorted(set(codes) - {str(UNLABELLED)}))
        places = {word: place for place, word in enumerate(class_names)}
        values = np.array([places.get(text, UNLABELLED) for text in codes], dtype=np.int64)
    return {split: torch.from_numpy(values[part]) for split, part in coded.items()}, class_names


def _coded(table: PathTable, codes: dict[str, int]) -> np.ndarray[Any, Any]:
    """Each text's number in the order in which texts were first met, int32; new ones are added to ``codes``."""
    found = np.empty(len(table), dtype=np.int32)
    for place, text in enumerate(table.iterate_encoded()):
        found[place] = codes.setdefault(text.decode("utf-8", "surrogateescape"), len(codes))
    return found
