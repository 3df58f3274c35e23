"""Archives of image folders: unpacked and decoded once, then read from the cache."""

from __future__ import annotations

from pathlib import Path

from limbeck.data.archives import archive_key, unpack
from limbeck.data.decoded import read_decoded, write_decoded
from limbeck.data.downloads import cache_folder
from limbeck.data.images import image_root, load_image_folder
from limbeck.data.splits import Splits, renamed


def load_archive(
    path: Path, *, image_size: int | None = None, name: str | None = None, exif_orientation: bool = False
) -> Splits:
    """Load an archive that holds an image folder; unpacked and decoded once, then read from the cache.

    Args:
        path: .tar.gz, .tgz, .tar or .zip.
        image_size: see :func:`load_image_folder`.
        name: of the data set; by default the folder's inside.
        exif_orientation: see :func:`load_image_folder`.
    Raises:
        DataError: as ``unpack`` and ``load_image_folder``.
    """
    key = archive_key(path)
    turned = "-exif" if exif_orientation else ""
    kept = cache_folder() / "decoded" / f"{key}-{image_size or 'as-is'}{turned}.safetensors"
    splits = read_decoded(kept)
    if splits is None:
        root = image_root(unpack(path, cache_folder() / "unpacked"))
        inner = root.name if root.name != key else path.name.split(".")[0]
        splits = load_image_folder(root, image_size=image_size, name=inner, exif_orientation=exif_orientation)
        write_decoded(kept, splits)
    return splits if name is None else renamed(splits, name)
