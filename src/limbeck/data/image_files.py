"""Image files of a folder as an input source."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.data.image_decoding import decode_all, num_bytes_of, open_rgb
from limbeck.data.path_table import PathTable
from limbeck.errors import DataError


class ImageFiles:
    """Images read on demand, each uint8 (channels, height, width).

    The digest covers each file's path and size in bytes, and how files are decoded; not their content.

    Args:
        paths: the files.
        relative_paths: the same, from the data set's folder; what the digest knows of a file's place.
        num_bytes: size of each file.
        shape: (channels, height, width) of every image; channels 1 or 3.
        image_size: resize to this height and width, or None where the files have the right size.
        exif_orientation: whether images are turned as their EXIF orientation says.
    """

    dtype = torch.uint8

    def __init__(
        self,
        paths: Sequence[str],
        relative_paths: Sequence[str],
        num_bytes: Sequence[int] | np.ndarray[Any, Any],
        *,
        shape: tuple[int, int, int],
        image_size: int | None,
        exif_orientation: bool = False,
    ) -> None:
        self.paths = paths if isinstance(paths, PathTable) else PathTable(paths)
        self.relative_paths = relative_paths if isinstance(relative_paths, PathTable) else PathTable(relative_paths)
        self.num_bytes = np.asarray(num_bytes, dtype=np.int64)
        self.sample_shape = shape
        self.image_size = image_size
        self.exif_orientation = exif_orientation

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, positions: Tensor) -> Tensor:
        paths = [self.paths[position] for position in positions.tolist()]
        self._require_listed_sizes(paths, self.num_bytes[positions.numpy()].tolist())
        images, _ = decode_all(
            paths,
            self.sample_shape,
            self.image_size,
            reference=self.paths[0],
            exif_orientation=self.exif_orientation,
        )
        return images

    def raw_items(self, positions: Tensor, ids: Tensor, *, seed: int, view: int | None) -> list[Any]:
        """Return PIL images in RGB, of the size that the files have, for a user's own transform."""
        paths = [self.paths[place] for place in positions.tolist()]
        self._require_listed_sizes(paths, self.num_bytes[positions.numpy()].tolist())
        return [open_rgb(path, exif_orientation=self.exif_orientation) for path in paths]

    def _require_listed_sizes(self, paths: list[str], sizes: list[int]) -> None:
        """Raise DataError for a file that is no longer the one that was listed, as far as its size tells."""
        for path, size in zip(paths, sizes, strict=True):
            if (found := num_bytes_of(path)) not in (size, 0):  # what is missing or empty is told by whoever reads it
                raise DataError(
                    f"{path} was changed after it was listed.",
                    received=f"{found} bytes",
                    expected=f"{size} bytes",
                    remedy=f"touch {os.path.dirname(path)}, so that its files are listed anew, and start again",
                )

    def content_digest(self, positions: Tensor) -> str:
        """Return SHA-256 of path and size of the files at ``positions``, and of the settings of decoding."""
        turned = " exif orientation" if self.exif_orientation else ""
        digest = hashlib.sha256(f"image files {self.sample_shape} {self.image_size}{turned}\n".encode())
        sizes = self.num_bytes[positions.numpy()].tolist()
        for position, size in zip(positions.tolist(), sizes, strict=True):
            digest.update(b"%b\0%d\n" % (self.relative_paths.encoded(position), size))
        return digest.hexdigest()
