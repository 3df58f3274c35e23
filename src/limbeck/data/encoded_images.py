"""Image files that lie inside other files, such as tar shards or tables, as an input source."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from limbeck.data.image_decoding import EncodedImage, decode_all, open_rgb, read_headers
from limbeck.data.image_inputs import ImageSettings
from limbeck.data.path_table import PathTable
from limbeck.errors import DataError

NUM_PROBED = 256  # images that are read before training to learn their size


class EncodedFiles(Protocol):
    """Many image files by position; may be read in several threads and processes at once.

    Where ``reads_content_for_digest`` is there and true, up to 256 contents are part of the digest, too.
    """

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def read(self, positions: list[int]) -> list[EncodedImage]:
        """Return name and content of the files at ``positions``."""
        ...

    def identities(self, positions: Tensor) -> Sequence[bytes]:
        """Return what tells each file's content from another's, without reading it: a name or number, and its size."""
        ...


def identities_of(keys: PathTable, sizes: np.ndarray[Any, Any], positions: Tensor) -> list[bytes]:
    """Return key and size of each file at ``positions``."""
    chosen = sizes[positions.numpy()].tolist()
    return [b"%b\0%d" % (keys.encoded(place), size) for place, size in zip(positions.tolist(), chosen, strict=True)]


class EncodedSet:
    """The image files of one split, for ``load_images``."""

    num_probed = NUM_PROBED
    can_look_at_all = False  # a header lies in a file that would be read whole

    def __init__(self, files: EncodedFiles) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def sources(self, positions: list[int]) -> list[EncodedImage]:
        """Return the contents at ``positions``."""
        return self.files.read(positions)

    def on_demand(self, shape: tuple[int, int, int], settings: ImageSettings) -> EncodedImages:
        """Return the source of these files."""
        return EncodedImages(self.files, shape=shape, settings=settings)


class EncodedImages:
    """Images read on demand from files inside files, each uint8 (channels, height, width).

    The digest covers what ``files`` says of each, such as its name and size, and how they are decoded; not the content.

    Args:
        files: where they lie.
        shape: (channels, height, width) of every image; channels 1 or 3.
        settings: how they are decoded.
    """

    dtype = torch.uint8

    def __init__(self, files: EncodedFiles, *, shape: tuple[int, int, int], settings: ImageSettings) -> None:
        self.files = files
        self.sample_shape = shape
        self.settings = settings

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, positions: Tensor) -> Tensor:
        encoded = self.files.read(positions.tolist())
        images, all_grey = decode_all(
            encoded,
            self.sample_shape,
            self.settings.image_size,
            reference="the first image",
            exif_orientation=self.settings.exif_orientation,
        )
        if self.sample_shape[0] == 1 and not all_grey:
            raise _coloured(encoded)
        return images

    def raw_items(self, positions: Tensor, ids: Tensor, *, seed: int, view: int | None) -> list[Any]:
        """Return PIL images in RGB, of the size that the files have, for a user's own transform."""
        encoded = self.files.read(positions.tolist())
        return [open_rgb(one, exif_orientation=self.settings.exif_orientation) for one in encoded]

    def content_digest(self, positions: Tensor) -> str:
        """Return SHA-256 of what is known of the files at ``positions``, and of the settings of decoding."""
        size, turned = self.settings.image_size, " exif orientation" * self.settings.exif_orientation
        digest = hashlib.sha256(f"encoded images {self.sample_shape} {size}{turned}\n".encode())
        for start in range(0, len(positions), 1 << 16):
            digest.update(b"\n".join(self.files.identities(positions[start : start + (1 << 16)])) + b"\n")
        if getattr(self.files, "reads_content_for_digest", False):
            probed = positions[:: max(1, -(-len(positions) // NUM_PROBED))].tolist()
            for one in self.files.read(probed):
                digest.update(hashlib.sha256(one.content).digest())
        return digest.hexdigest()


def _coloured(encoded: list[EncodedImage]) -> DataError:
    place = next(place for place, header in enumerate(read_headers(encoded)) if not header.is_grey)
    return DataError(
        f"{encoded[place].name} has colours.",
        expected=f"grey, as the {NUM_PROBED} images that were looked at before",
        remedy="write all images in one mode, grey or RGB",
    )
