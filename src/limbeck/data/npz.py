"""Data sets in .npz files."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

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
    try:
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
