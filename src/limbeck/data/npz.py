"""Data sets in .npz files."""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.bounds import require_honest_zip, require_memory, require_plain_file
from limbeck.data.checks import numbered_classes
from limbeck.data.from_arrays import as_samples
from limbeck.data.splits import Splits
from limbeck.errors import DataError, near_names

_NPZ_KEYS = ("inputs", "labels")
_NPZ_PREFIXES = ("", "validation_", "test_")


def load_npz(path: Path) -> Splits:
    """Load arrays from an .npz file; see :func:`load_data` for the keys and ``as_samples`` for the layouts.

    Raises:
        DataError: damaged, pickled objects, or keys missing or unknown.
    """
    require_plain_file(path)
    require_honest_zip(path)
    try:
        check_headers(path)
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(f"Cannot read {path}.", received=str(error), expected="an .npz file of plain arrays") from error
    known = [prefix + key for prefix in _NPZ_PREFIXES for key in _NPZ_KEYS] + ["class_names"]
    for key in arrays:
        if key not in known:
            near = near_names(key, known)
            raise DataError(
                f"{path} has an unknown key: {key}.",
                expected=", ".join(known),
                remedy=f"did you mean {near[0]}?" if near else None,
            )
    if lacking := [key for key in _NPZ_KEYS if key not in arrays]:
        raise DataError(f"{path} lacks {' and '.join(lacking)}.", received=", ".join(arrays), expected=", ".join(known))
    class_names = _npz_class_names(arrays)
    parts = {
        prefix: as_samples(
            (arrays[prefix + "inputs"], arrays.get(prefix + "labels")),
            name=f"{path.stem}/{prefix.rstrip('_') or 'train'}",
            class_names=class_names,
        )
        for prefix in _NPZ_PREFIXES
        if prefix + "inputs" in arrays
    }
    return Splits(parts[""], parts.get("validation_"), parts.get("test_"), name=path.stem)


def check_headers(path: Path) -> None:
    """Raise unless each array in the file is as large as its header says: numpy makes room for what is claimed.

    Raises:
        DataError: a header that claims another size.
        ValueError: a header that numpy does not read.
    """
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if not entry.filename.endswith(".npy"):
                continue
            with archive.open(entry) as member:
                version = np.lib.format.read_magic(member)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(member)
                header_bytes = member.tell()
            claimed = math.prod(shape) * dtype.itemsize
            name = f"The array {entry.filename.removesuffix('.npy')} of {path}"
            if claimed != entry.file_size - header_bytes and not dtype.hasobject:
                raise DataError(
                    f"{name} is not as long as its header says.",
                    received=f"{entry.file_size - header_bytes:,} bytes",
                    expected=f"{claimed:,} for {dtype} of shape {shape}" if claimed < 1 << 70 else "a size that can be",
                    remedy="write the file again",
                )
            require_memory(claimed, name)


def _npz_class_names(arrays: dict[str, Any]) -> tuple[str, ...] | None:
    """The names given, or the words of all labels; None where labels are numbers of the training split's range."""
    if "class_names" in arrays:
        return tuple(str(name) for name in arrays["class_names"].reshape(-1))
    labels = [arrays[prefix + "labels"] for prefix in _NPZ_PREFIXES if prefix + "labels" in arrays]
    if all(array.dtype.kind in "US" for array in labels):
        return tuple(sorted({str(word) for array in labels for word in array.astype(str).reshape(-1)}))
    if all(array.dtype.kind in "iu" and array.ndim == 1 and array.size for array in labels):
        num_labels = sum(array.size for array in labels)
        return numbered_classes(max(int(array.max()) for array in labels), num_labels=num_labels, name="the file")
    return None
