"""Hugging Face data sets, from a folder on disk or from the hub."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from limbeck.data.collate import Collate, pad_collate
from limbeck.data.from_arrays import as_samples, as_splits
from limbeck.data.shards.pattern import name_of_files
from limbeck.data.splits import Splits
from limbeck.data.table_files import datasets_package, open_tables
from limbeck.errors import DataError

_PAD_NOTE = "Sequences were padded with 0 and masked by attention_mask."


def load_hf(
    path: str, *, label_column: str | None = None, image_size: int | None = None, collate: Collate | None = None
) -> Splits:
    """Load a Hugging Face data set.

    Args:
        path: a folder that ``save_to_disk`` wrote, or a name on the hub, perhaps with a configuration: "glue/sst2".
        label_column: where the label is not called label or target.
        image_size: of a column of images; see ``load_image_folder``.
        collate: see ``as_samples``; by default data with ``input_ids`` is padded with 0 where the mask is 0.
    Raises:
        DataError: nothing there, no network, or what ``as_samples`` refuses.
        MissingPackage: without the package ``datasets``.
    """
    return _as_splits(_load(path), Path(path).name, label_column=label_column, image_size=image_size, collate=collate)


def load_tables(
    kind: str,
    pattern: str,
    *,
    label_column: str | None = None,
    image_size: int | None = None,
    collate: Collate | None = None,
) -> Splits:
    """Load Parquet or Arrow files that do not fit into memory: rows are read by their number, from a mapped file.

    Args:
        kind: "parquet" or "arrow".
        pattern: files, ``train-{000..146}.parquet``, ``data/*.arrow``, a folder, or several joined by ``::``; addresses
            through fsspec. Files with ``train``, ``val`` or ``test`` among the words of their names are of that split.
        label_column: where the label is not called label or target.
        image_size: see ``load_image_folder``; of a column of images: {bytes, path}, or bytes.
        collate: see :func:`load_hf`.
    Raises:
        DataError: no file, one that is damaged, or what ``as_samples`` refuses.
        MissingPackage: without the package ``datasets``.
    """
    data = open_tables(kind, pattern)
    name = name_of_files(pattern)
    return _as_splits(data, name, label_column=label_column, image_size=image_size, collate=collate)


def _as_splits(
    data: Any, name: str, *, label_column: str | None, image_size: int | None, collate: Collate | None
) -> Splits:
    columns = data["train"].column_names if isinstance(data, Mapping) and "train" in data else ()
    columns = columns or getattr(data, "column_names", ())
    pads = collate is None and "input_ids" in columns
    settings: dict[str, Any] = {
        "label_column": label_column,
        "image_size": image_size,
        "collate": pad_collate() if pads else collate,
    }
    if isinstance(data, Mapping):
        splits = as_splits(data, name=name, **settings)
    else:
        samples = as_samples(data, name=f"{name}/train", **settings)
        splits = Splits(samples, name=name, notes=samples.notes)
    return dataclasses.replace(splits, notes=(*splits.notes, _PAD_NOTE)) if pads else splits


def _load(path: str) -> Any:
    datasets = datasets_package()
    folder = Path(path).expanduser()
    try:
        if folder.is_dir():
            return datasets.load_from_disk(str(folder))
        name, _, configuration = path.partition("/") if path.count("/") == 1 else (path, "", "")
        try:
            return datasets.load_dataset(path)
        except (FileNotFoundError, ValueError):
            if not configuration:
                raise
            return datasets.load_dataset(name, configuration)
    except Exception as error:  # the package raises many kinds
        raise DataError(
            f"Cannot load the data set {path!r}.",
            received=f"{type(error).__name__}: {error}",
            expected="a folder that save_to_disk wrote, or a name on the hub and a network",
            remedy="on a machine with a network: datasets.load_dataset(...).save_to_disk(FOLDER), then hf:FOLDER",
        ) from error
