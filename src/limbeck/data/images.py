"""Image folders: ``root/<class>/*`` or ``root/{train,val,test}/<class>/*``; and lists of image files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from limbeck.bounds import require_plain_file
from limbeck.data.class_folders import check_classes, class_indices, class_words, split_folders
from limbeck.data.file_listing import Listing, folders_in, ids_of
from limbeck.data.image_decoding import EXTENSIONS, ImageSource, unreadable
from limbeck.data.image_files import ImageFiles
from limbeck.data.image_inputs import DECODED_LIMIT_BYTES, ImageSettings, load_images
from limbeck.data.kept_listing import list_or_recall
from limbeck.data.path_table import PathTable
from limbeck.data.samples import Samples
from limbeck.data.sources import RawInputs
from limbeck.data.splits import Splits
from limbeck.errors import InvalidValue

PROBED_HEADERS = 1000  # of the files that are read on demand, evenly spread, to learn their size before training


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
    settings = ImageSettings(image_size, memory_limit_bytes, exif_orientation)
    loaded, notes = load_images({split: _FolderSet(listing) for split, listing in listings.items()}, settings)
    shown = class_words(root, classes)
    parts: dict[str, Samples] = {}
    for split, listing in listings.items():
        labels = torch.from_numpy(class_indices(listing, classes))
        parts[split] = Samples(f"{name}/{split}", ids_of(listing), loaded[split], labels, shown)
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
    settings = ImageSettings(image_size, DECODED_LIMIT_BYTES, exif_orientation)
    return load_images({"train": _FolderSet(listing)}, settings)[0]["train"]


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
class _FolderSet:
    """The files of one split, for :func:`load_images`."""

    listing: Listing
    num_probed = PROBED_HEADERS
    can_look_at_all = True

    def __len__(self) -> int:
        return len(self.listing.paths)

    def sources(self, positions: list[int]) -> Sequence[ImageSource]:
        """Return the paths at ``positions``."""
        return [self.listing.paths[place] for place in positions]

    def on_demand(self, shape: tuple[int, int, int], settings: ImageSettings) -> ImageFiles:
        """Return the source of these files."""
        return ImageFiles(
            self.listing.paths,
            self.listing.relative_paths,
            self.listing.num_bytes,
            shape=shape,
            image_size=settings.image_size,
            exif_orientation=settings.exif_orientation,
        )
