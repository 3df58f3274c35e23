"""Listings of large folders kept in the cache, so that a million files are listed once.

A folder's time changes when a file in it, or a folder, is added, removed or renamed. A kept listing holds while no
folder's time has changed. What a time does not tell, another content of a file in its place, is found when the file is
read: its size is compared (``ImageFiles``).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import time
from pathlib import Path

from torch import Tensor

from limbeck.data.downloads import cache_folder
from limbeck.data.file_listing import Listing, composed, ids_of, list_files
from limbeck.data.path_table import PathTable
from limbeck.data.sealed_tensors import Kept, arrays_of, has_settled, keep, read_kept, tensors_of
from limbeck.records import tell_remade

FORMAT = "limbeck-listing 1"
KEPT_FROM_FILES = 50_000  # smaller folders are listed in less than a second


def list_or_recall(folder: Path, extensions: tuple[str, ...], *, what: str) -> Listing:
    """Return the files of a split as :func:`list_files` does, from the cache where nothing changed.

    Args:
        folder: of the split.
        extensions: of the files that count, in lower case.
        what: they are, for messages: "images".
    Raises:
        DataError: there are none.
    """
    where = os.path.abspath(folder)
    name = hashlib.sha256("\0".join((where, *extensions)).encode("utf-8", "surrogateescape")).hexdigest()[:32]
    path = cache_folder() / "listings" / f"{name}.safetensors"
    kept = read_kept(path, format_name=FORMAT)
    if kept is not None:
        if (listing := _listing_of(kept, str(folder))) is not None:
            return listing
        tell_remade(f"The list of files of {folder}", why="older than the folder")
    started = time.time()
    listing = list_files(folder, extensions, what=what)
    is_settled = has_settled(int(listing.folder_times.max()), now_seconds=started)
    if len(listing.paths) >= KEPT_FROM_FILES and is_settled:
        listing = dataclasses.replace(listing, known_ids=ids_of(listing))
        keep(path, _described(listing, where), _tensors(listing), format_name=FORMAT)
    return listing


def _described(listing: Listing, where: str) -> dict[str, str]:
    return {"folder": os.fsencode(where).decode("utf-8", "replace"), "classes": json.dumps(listing.class_folders)}


def _tensors(listing: Listing) -> dict[str, Tensor]:
    return tensors_of(
        {
            **listing.paths.arrays("paths"),
            **listing.folders.arrays("folders"),
            "num_bytes": listing.num_bytes,
            "class_of": listing.class_of,
            "ids": ids_of(listing).numpy(),
            "folder_times": listing.folder_times,
        }
    )


def _listing_of(kept: Kept, folder: str) -> Listing | None:
    """Return the listing that was kept, mapped from its file; None where a folder is another than then."""
    described, tensors = kept
    arrays = arrays_of(kept)
    folders = PathTable.from_arrays(arrays, "folders")
    times = arrays["folder_times"].tolist()
    if any(_time_of(os.path.join(folder, one)) != known for one, known in zip(folders, times, strict=True)):
        return None
    paths = PathTable.from_arrays(arrays, "paths", root=folder)
    return Listing(
        paths,
        composed(paths),
        arrays["num_bytes"],
        tuple(json.loads(described["classes"])),
        arrays["class_of"],
        known_ids=tensors["ids"],
        folders=folders,
        folder_times=arrays["folder_times"],
    )


def _time_of(folder: str) -> int | None:
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return None
