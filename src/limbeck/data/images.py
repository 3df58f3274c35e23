"""Image folders: ``root/<class>/*`` or ``root/{train,val,test}/<class>/*``; and lists of image files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from limbeck.bounds import memory_limit_bytes, require_image_memory, require_plain_file
from limbeck.data.class_folders import check_classes, class_indices, class_words, split_folders
from limbeck.data.file_listing import Listing, folders_in, ids_of
from limbeck.data.image_files import (
    EXTENSIONS,
    ImageFiles,
    decode_all,
    read_headers,
    sizes_differ,
    unreadable,
)
from limbeck.data.kept_listing import list_or_recall
from limbeck.data.path_table import PathTable
from limbeck.data.samples import Samples
from limbeck.data.sources import RawInputs
from limbeck.data.splits import Splits
from limbeck.errors import InvalidValue

DECODED_LIMIT_BYTES = 2 << 30  # up to here a folder's images are decoded once, into memory
PROBED_HEADERS = 1000  # of the files that are read on demand, evenly spread, to learn their size before training
_WITH_EXIF = (".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".png")


def load_image_folder(
    root: str | Path,
    *,
    image_size: int | None = None,
    memory_limit_bytes: int = DECODED_LIMIT_BYTES,
    name: str | None = None,
    exif_orientation: bool = False,
) -> Splits:
    """Load an image folder.

    The folder holds either one folder per class, or ``train`` and perhaps ``val`` (or ``valid``, ``validation``) and
    ``test``, each with one folder per class. Class folders may have folders inside. Hidden files and files that are
    none of ``EXTENSIONS`` (PNG, JPEG, WebP, BMP, GIF, PPM, PGM, TIFF; of several frames the first counts) are ignored.
    Classes are the training folders in alphabetical order; a file ``classes.tsv`` in the root (folder, tab, words)
    gives them better names. If one image has colours, all become RGB.

    An image's id is a 63-bit hash of its path below the split, so adding files does not move the ids of others.

    Args:
        root: the folder.
        image_size: cut each image square around its middle and resize it to this many pixels; None takes them as they
            are, and then they must be of one size.
        memory_limit_bytes: decode once, into memory, up to this size; beyond it, files are read on demand, and a file
            of another size is found when it is read, unless it is among a thousand that are looked at before.
        name: of the data set; by default the folder's.
        exif_orientation: turn images as their EXIF orientation says. By default they are taken as they are stored,
            like torchvision's; ``notes`` then says how many have one that was not applied.
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
    listings = {
        split: list_or_recall(folder, EXTENSIONS, what="images")
        for split, folder in split_folders(root, "images").items()
    }
    classes = check_classes(root, listings, "images")
    settings = _Settings(image_size, memory_limit_bytes, exif_orientation)
    loaded = _load_inputs(listings, settings)
    shown = class_words(root, classes)
    parts: dict[str, Samples] = {}
    for split, listing in listings.items():
        labels = torch.from_numpy(class_indices(listing, classes))
        parts[split] = Samples(f"{name}/{split}", ids_of(listing), loaded[split], labels, shown)
    notes = _exif_notes(listings, exif_orientation)
    return Splits(parts["train"], parts.get("validation"), parts.get("test"), name=name, notes=notes)


def image_list(paths: Sequence[str | Path], image_size: int | None, *, exif_orientation: bool = False) -> RawInputs:
    """Return image files as inputs: decoded into memory up to 2 GiB, else read on demand.

    Args:
        paths: the files, in the order of their labels.
        image_size: see :func:`load_image_folder`.
        exif_orientation: likewise.
    Raises:
        DataError: images of different sizes, or a file that cannot be read.
    """
    table = PathTable(str(path) for path in paths)
    sizes = np.array([_num_bytes_of(path) for path in table], dtype=np.int64)
    listing = Listing(table, table, sizes, (), np.empty(0, dtype=np.int32))
    return _load_inputs({"train": listing}, _Settings(image_size, DECODED_LIMIT_BYTES, exif_orientation))["train"]


def _num_bytes_of(path: str) -> int:
    require_plain_file(path)
    try:
        return os.stat(path).st_size
    except OSError as error:
        raise unreadable(path, error) from error


def is_image_folder(root: Path) -> bool:
    """Whether a folder has folders inside: what :func:`load_image_folder` may understand."""
    return bool(folders_in(root))


def image_root(folder: Path) -> Path:
    """Return the folder of splits or classes in what was unpacked: single folders of folders are gone into."""
    while len(inner := folders_in(folder)) == 1 and is_image_folder(inner[0]):
        folder = inner[0]
    return folder


@dataclass(frozen=True)
class _Settings:
    image_size: int | None
    memory_limit_bytes: int
    exif_orientation: bool


def _load_inputs(listings: dict[str, Listing], settings: _Settings) -> dict[str, RawInputs]:
    """Decode every split, or prepare to read it on demand; grey only where every image of every split is."""
    reference, image_size, turn = listings["train"].paths[0], settings.image_size, settings.exif_orientation
    height, width = _first_size(reference, image_size, turn)
    require_image_memory(height, width, f"images of {width} x {height}")
    count = sum(len(listing.paths) for listing in listings.values())
    if count * 3 * height * width <= min(settings.memory_limit_bytes, memory_limit_bytes()):
        decoded = {
            split: decode_all(listing.paths, (3, height, width), image_size, reference=reference, exif_orientation=turn)
            for split, listing in listings.items()
        }
        all_grey = all(is_grey for _, is_grey in decoded.values())
        return {split: images[:, :1].contiguous() if all_grey else images for split, (images, _) in decoded.items()}
    for listing in listings.values():
        probed = _spread(listing.paths)
        for path, header in zip(probed, read_headers(probed, exif_orientation=turn), strict=True):
            if image_size is None and (header.height, header.width) != (height, width):
                raise sizes_differ(reference, (height, width), path, (header.height, header.width))
    shape = (1 if all(map(_is_grey, listings.values())) else 3, height, width)
    return {
        split: ImageFiles(
            item.paths,
            item.relative_paths,
            item.num_bytes,
            shape=shape,
            image_size=image_size,
            exif_orientation=turn,
        )
        for split, item in listings.items()
    }


def _spread(paths: PathTable) -> list[str]:
    """Up to a thousand of the paths, evenly spread."""
    found: list[str] = paths[:: max(1, -(-len(paths) // PROBED_HEADERS))]
    return found


def _is_grey(listing: Listing) -> bool:
    """Whether every image is grey: a coloured one is usually among the first that are looked at."""
    if not all(header.is_grey for header in read_headers(_spread(listing.paths))):
        return False
    return all(read_headers([path])[0].is_grey for path in listing.paths)


def _exif_notes(listings: dict[str, Listing], exif_orientation: bool) -> tuple[str, ...]:
    """What the record says of EXIF orientations: whether they were applied, and how many there are."""
    if exif_orientation:
        return ("Images were turned as their EXIF orientation says.",)
    probed = [
        path for listing in listings.values() for path in _spread(listing.paths) if path.lower().endswith(_WITH_EXIF)
    ]
    turned = sum(header.is_turned for header in read_headers(probed))
    if not turned:
        return ()
    return (
        f"{turned} of {len(probed)} images looked at have an EXIF orientation that was not applied "
        "(exif_orientation=True applies it).",
    )


def _first_size(path: str, image_size: int | None, exif_orientation: bool) -> tuple[int, int]:
    if image_size is not None:
        return image_size, image_size
    header = read_headers([path], exif_orientation=exif_orientation)[0]
    return header.height, header.width
