"""Decoding image files with Pillow, whole batches in a few threads."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor

from limbeck.bounds import require_image_memory, require_plain_file
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


@dataclass(frozen=True)
class EncodedImage:
    """The bytes of an image file that lies inside another file.

    Args:
        name: for messages: where it lies.
        content: a whole image file.
    """

    name: str
    content: bytes

    def __str__(self) -> str:
        return self.name


ImageSource: TypeAlias = str | EncodedImage
"""A path, or the bytes of an image file."""


def decode_all(
    paths: Sequence[ImageSource],
    shape: tuple[int, int, int],
    image_size: int | None,
    *,
    reference: ImageSource,
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

    def fill(place: int, path: ImageSource) -> bool:
        image, is_grey = decode(path, image_size, grey=channels == 1, exif_orientation=exif_orientation)
        if image.shape[1:] != (height, width):
            raise sizes_differ(reference, (height, width), path, (image.shape[1], image.shape[2]))
        images[place] = image  # a grey image spreads over three channels
        return is_grey

    return torch.from_numpy(images), all(_in_threads(fill, paths))


def decode(
    path: ImageSource, image_size: int | None, *, grey: bool = False, exif_orientation: bool = False
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

    try:
        with _opened(path) as file:
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


def open_rgb(path: ImageSource, *, exif_orientation: bool = False) -> Any:
    """Return a file as a PIL image in RGB, as torchvision's folders do.

    Raises:
        DataError: a file that is missing, damaged or no image.
    """
    try:
        with _opened(path) as file:
            require_image_memory(file.height, file.width, f"images as {path}, of {file.width} x {file.height}")
            image = file.convert("RGB")
            turn = exif_orientation and _orientation(file) != 1
            return _turned(file, image) if turn else image
    except DataError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds
        raise unreadable(path, error) from error


def _opened(path: ImageSource) -> Any:
    from PIL import Image

    if isinstance(path, EncodedImage):
        return Image.open(io.BytesIO(path.content))
    require_plain_file(path)
    return Image.open(path)


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


def read_headers(paths: Sequence[ImageSource], *, exif_orientation: bool = False) -> list[ImageHeader]:
    """Return size and kind of each image without decoding it; the size as it is turned, where that is asked for.

    Raises:
        DataError: a file that is missing or no image.
    """

    def read(_: int, path: ImageSource) -> ImageHeader:
        try:
            with _opened(path) as file:
                orientation = _orientation(file)
                height, width = file.height, file.width
                if exif_orientation and orientation in _SIDEWAYS:
                    height, width = width, height
                return ImageHeader(height, width, file.mode in GREY_MODES, orientation != 1)
        except DataError:
            raise
        except Exception as error:  # Pillow's decoders raise many kinds
            raise unreadable(path, error) from error

    return _in_threads(read, paths)


def sizes_differ(
    first: ImageSource, first_size: tuple[int, int], other: ImageSource, other_size: tuple[int, int]
) -> DataError:
    """Return the error for two images of different sizes (height, width)."""
    return DataError(
        "The images have different sizes.",
        received=f"{first} is {first_size[1]}x{first_size[0]}, {other} is {other_size[1]}x{other_size[0]}",
        expected="one width and height",
        remedy="resize them while loading: --image-size N (image_size=N)",
    )


def unreadable(path: ImageSource, error: BaseException) -> DataError:
    """Return the error for a file that is no readable image."""
    return DataError(
        f"Cannot read the image {path}.",
        received=f"{type(error).__name__}: {error}",
        expected="a whole image file (" + ", ".join(EXTENSIONS) + ")",
        remedy="mend or remove the file",
    )


def _in_threads(work: Callable[[int, Any], T], paths: Sequence[ImageSource]) -> list[T]:
    """Return ``work(place, path)`` for each path, in order; large files in threads, which Pillow lets run."""
    workers = min(8, os.cpu_count() or 1)
    if workers == 1 or len(paths) < 2 * _CHUNK or num_bytes_of(paths[0]) < _SMALL_BYTES:
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


def num_bytes_of(path: ImageSource) -> int:
    """Return the size of an image file, 0 where there is none."""
    if isinstance(path, EncodedImage):
        return len(path.content)
    try:
        return os.path.getsize(path)
    except OSError:
        return 0
