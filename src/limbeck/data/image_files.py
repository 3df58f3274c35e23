"""Image files as an input source: decoded with Pillow, whole batches in a few threads."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from limbeck.bounds import require_image_memory, require_plain_file
from limbeck.data.path_table import PathTable
from limbeck.errors import DataError

GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F"})
EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff")
_ORIENTATION = 0x0112  # the EXIF tag
_SIDEWAYS = (5, 6, 7, 8)  # its values that swap height and width
_CHUNK = 16  # files that one thread takes at a time
_SMALL_BYTES = 16 << 10  # decoding smaller files is mostly Python, which threads only slow down
T = TypeVar("T")


@dataclass(frozen=True)
class ImageHeader:
    """What a file says of its image before it is decoded."""

    height: int
    width: int
    is_grey: bool
    is_turned: bool = False  # has an EXIF orientation that is not the upright one


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
            if (found := _num_bytes(path)) not in (size, 0):  # what is missing or empty is told by whoever reads it
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


def decode_all(
    paths: Sequence[str],
    shape: tuple[int, int, int],
    image_size: int | None,
    *,
    reference: str,
    exif_orientation: bool = False,
) -> tuple[Tensor, bool]:
    """Decode files into one uint8 tensor.

    Args:
        paths: n image files.
        shape: (channels, height, width) that each must have, after resizing; grey is repeated where channels is 3, and
            colour becomes luminance where it is 1.
        image_size: see :func:`decode`.
        reference: a file that has this height and width, for the message.
        exif_orientation: see :func:`decode`.
    Returns:
        uint8, shape (n, channels, height, width), and whether every file is grey.
    Raises:
        DataError: a file that cannot be read, or of another size.
    """
    channels, height, width = shape
    images = np.empty((len(paths), channels, height, width), dtype=np.uint8)

    def fill(place: int, path: str) -> bool:
        image, is_grey = decode(path, image_size, grey=channels == 1, exif_orientation=exif_orientation)
        if image.shape[1:] != (height, width):
            raise sizes_differ(reference, (height, width), path, (image.shape[1], image.shape[2]))
        images[place] = image  # a grey image spreads over three channels
        return is_grey

    return torch.from_numpy(images), all(_in_threads(fill, paths))


def decode(
    path: str, image_size: int | None, *, grey: bool = False, exif_orientation: bool = False
) -> tuple[np.ndarray[Any, Any], bool]:
    """Decode one file.

    Args:
        path: of a kind in ``EXTENSIONS``; the first frame counts.
        image_size: cut the middle out in the shape of a square and resize it (bilinear, antialiased) to this height
            and width; None leaves the size.
        grey: convert colour to luminance.
        exif_orientation: turn the image as its EXIF orientation says, before it is cut.
    Returns:
        uint8, shape (channels, height, width) with 1 channel for grey and 3 for RGB, and whether the file is grey.
        Transparency is dropped, 16-bit grey keeps its high byte.
    Raises:
        DataError: a file that is missing, damaged or no image.
    """
    from PIL import Image

    require_plain_file(path)
    try:
        with Image.open(path) as file:
            require_image_memory(file.height, file.width, f"images as {path}, of {file.width} x {file.height}")
            is_grey = file.mode in GREY_MODES
            image: Image.Image
            if file.mode.startswith("I"):
                wide = np.asarray(file)
                image = Image.fromarray((wide.astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
            elif file.mode == "P" and "transparency" in file.info:
                image = file.convert("RGBA").convert("L" if grey else "RGB")
            else:
                image = file.convert("L" if is_grey or grey else "RGB")
            if exif_orientation and _orientation(file) != 1:
                image = _turned(file, image)
    except DataError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds
        raise unreadable(path, error) from error
    if image_size is not None and image.size != (image_size, image_size):
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
        image = image.resize((image_size, image_size), Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    return (pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)), is_grey


def open_rgb(path: str, *, exif_orientation: bool = False) -> Any:
    """Return a file as a PIL image in RGB, as torchvision's folders do.

    Raises:
        DataError: a file that is missing, damaged or no image.
    """
    from PIL import Image

    require_plain_file(path)
    try:
        with Image.open(path) as file:
            require_image_memory(file.height, file.width, f"images as {path}, of {file.width} x {file.height}")
            image = file.convert("RGB")
            turn = exif_orientation and _orientation(file) != 1
            return _turned(file, image) if turn else image
    except DataError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds
        raise unreadable(path, error) from error


def _orientation(file: Any) -> int:
    """EXIF orientation of an open file, 1 (upright) where it says none."""
    if file.format == "PNG" and "exif" not in file.info:
        return 1  # to look further would decode the file
    return int(file.getexif().get(_ORIENTATION, 1))


def _turned(file: Any, image: Any) -> Any:
    from PIL import ImageOps

    image.info.clear()
    image.getexif()[_ORIENTATION] = file.getexif()[_ORIENTATION]
    return ImageOps.exif_transpose(image)


def read_headers(paths: Sequence[str], *, exif_orientation: bool = False) -> list[ImageHeader]:
    """Return size and kind of each image without decoding it; the size as it is turned, where that is asked for.

    Raises:
        DataError: a file that is missing or no image.
    """
    from PIL import Image

    def read(_: int, path: str) -> ImageHeader:
        require_plain_file(path)
        try:
            with Image.open(path) as file:
                orientation = _orientation(file)
                height, width = file.height, file.width
                if exif_orientation and orientation in _SIDEWAYS:
                    height, width = width, height
                return ImageHeader(height, width, file.mode in GREY_MODES, orientation != 1)
        except Exception as error:  # Pillow's decoders raise many kinds
            raise unreadable(path, error) from error

    return _in_threads(read, paths)


def sizes_differ(first: str, first_size: tuple[int, int], other: str, other_size: tuple[int, int]) -> DataError:
    """Return the error for two images of different sizes (height, width)."""
    return DataError(
        "The images have different sizes.",
        received=f"{first} is {first_size[1]}x{first_size[0]}, {other} is {other_size[1]}x{other_size[0]}",
        expected="one width and height",
        remedy="resize them while loading: --image-size N (image_size=N)",
    )


def unreadable(path: str, error: BaseException) -> DataError:
    """Return the error for a file that is no readable image."""
    return DataError(
        f"Cannot read the image {path}.",
        received=f"{type(error).__name__}: {error}",
        expected="a whole image file (" + ", ".join(EXTENSIONS) + ")",
        remedy="mend or remove the file",
    )


def _in_threads(work: Callable[[int, str], T], paths: Sequence[str]) -> list[T]:
    """Return ``work(place, path)`` for each path, in order; large files in threads, which Pillow lets run."""
    workers = min(8, os.cpu_count() or 1)
    if workers == 1 or len(paths) < 2 * _CHUNK or _num_bytes(paths[0]) < _SMALL_BYTES:
        return [work(place, path) for place, path in enumerate(paths)]

    def work_chunk(start: int) -> list[T]:
        return [work(place, paths[place]) for place in range(start, min(start + _CHUNK, len(paths)))]

    with ThreadPoolExecutor(workers, thread_name_prefix="limbeck-decode") as pool:
        try:
            chunks = list(pool.map(work_chunk, range(0, len(paths), _CHUNK)))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [item for chunk in chunks for item in chunk]


def _num_bytes(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0
