"""The image column of a Hugging Face ``Dataset``: encoded images in a memory-mapped Arrow table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from limbeck.data.columns import ID_NAMES, INPUT_NAMES, label_name, weight_name
from limbeck.data.image_decoding import EncodedImage, unreadable
from limbeck.errors import DataError


def image_column(dataset: Any, *, label_column: str | None, name: str) -> str | None:
    """Return the column that holds encoded images, where it alone is the input; None elsewhere.

    That is a column of the feature ``Image``, of the struct {bytes, path} that it is stored as, or of bytes that is
    called ``image`` or another name of an input. Ids and texts beside it are no inputs.

    Args:
        dataset: a ``Dataset``, or anything else.
        label_column: see ``as_samples``.
        name: for messages.
    """
    features, format_ = getattr(dataset, "features", None), getattr(dataset, "format", None)
    if not isinstance(features, Mapping) or not isinstance(format_, Mapping) or format_.get("type") is not None:
        return None  # a transform or another format of the owner's decides what an item is
    columns = list(features)
    others = {label_name(columns, label_column, name), weight_name(columns), *ID_NAMES}
    inputs = [column for column in columns if column not in others and not _is_text(features[column])]
    return inputs[0] if len(inputs) == 1 and _is_image(features[inputs[0]], inputs[0]) else None


def _is_image(feature: Any, column: str) -> bool:
    if isinstance(feature, Mapping):
        return set(feature) == {"bytes", "path"}
    is_bytes = getattr(feature, "dtype", None) in ("binary", "large_binary")
    return type(feature).__name__ == "Image" or (is_bytes and column in INPUT_NAMES)


def _is_text(feature: Any) -> bool:
    return type(feature).__name__ == "Value" and feature.dtype in ("string", "large_string", "null")


class ArrowImages:
    """The images of one column, by row. The table stays in its file: what is read is mapped from there.

    Args:
        dataset: a Hugging Face ``Dataset``.
        column: see :func:`image_column`.
        name: for messages.
    """

    reads_content_for_digest = True  # a row has no name: sizes alone would tell little

    def __init__(self, dataset: Any, column: str, *, name: str) -> None:
        if type(dataset.features[column]).__name__ == "Image":
            import datasets

            dataset = dataset.cast_column(column, datasets.Image(decode=False))
        self._dataset = dataset.select_columns([column])
        self.column, self.name = column, name

    def __len__(self) -> int:
        return len(self._dataset)

    def read(self, positions: list[int]) -> list[EncodedImage]:
        """Return name and content of the images in the rows at ``positions``.

        Raises:
            DataError: a row without an image, or one whose file is not there.
        """
        values = self._dataset[positions][self.column]
        return [self._encoded(place, value) for place, value in zip(positions, values, strict=True)]

    def identities(self, positions: Tensor) -> list[bytes]:
        """Return the size of each image."""
        sizes = self._sizes()[positions.numpy()]
        return [b"%d" % size for size in sizes.tolist()]

    def _encoded(self, place: int, value: Any) -> EncodedImage:
        where = f"row {place} of {self.name}"
        content, path = (value.get("bytes"), value.get("path")) if isinstance(value, Mapping) else (value, None)
        if content is None and path is not None:
            try:
                content = Path(path).read_bytes()
            except OSError as error:
                raise unreadable(f"{path} ({where})", error) from error
        if content is None:
            raise DataError(
                f"The column {self.column!r} of {self.name} has no image in row {place}.",
                received="nothing",
                expected="the bytes of an image file, or a path",
                remedy="leave such rows out: dataset.filter(lambda row: row['" + self.column + "'] is not None)",
            )
        return EncodedImage(where, content)

    def _sizes(self) -> np.ndarray[Any, Any]:
        """Bytes of each image, 0 where a path stands for it: read from the offsets of the table, not from images."""
        import pyarrow as pa
        import pyarrow.compute as pc

        column = self._dataset.data.table[self.column]
        if pa.types.is_struct(column.type):
            column = pc.struct_field(column, "bytes")
        if pa.types.is_null(column.type):
            return np.zeros(len(self), dtype=np.int64)
        sizes: np.ndarray[Any, Any] = pc.fill_null(pc.binary_length(column), 0).to_numpy().astype(np.int64)
        indices = self._dataset._indices
        if indices is not None:
            sizes = sizes[indices.column(0).to_numpy()]
        return sizes
