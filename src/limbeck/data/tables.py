"""Tables: data frames, .csv and .parquet files. Numbers are features, one column holds the labels."""

from __future__ import annotations

import contextlib
import csv
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.bounds import require_memory, require_plain_file
from limbeck.data.columns import ID_NAMES, Example, label_name, weight_name
from limbeck.errors import DataError, LimbeckError, MissingPackage

Column = np.ndarray[Any, Any]
_CELL_BYTES = 32  # of a value while a table is read: an object
TABLE_SUFFIXES = (".csv", ".parquet")


def is_frame(data: Any) -> bool:
    """Whether data is a data frame, as pandas has them."""
    return hasattr(data, "iloc") and hasattr(data, "columns") and hasattr(data, "to_numpy")


def frame_columns(frame: Any, *, label_column: str | None, name: str) -> tuple[Example, tuple[str, ...]]:
    """Return features, labels and weights of a data frame, and the class names where the label is categorical.

    Raises:
        DataError: see :func:`table_columns`.
    """
    columns = {str(column): np.asarray(frame[column]) for column in frame.columns}
    example = table_columns(columns, label_column=label_column, name=name)
    label = label_name(columns, label_column, name)
    categories = getattr(getattr(frame[label], "cat", None), "categories", ()) if label in frame.columns else ()
    return example, tuple(str(category) for category in categories)


def table_columns(columns: Mapping[str, Column], *, label_column: str | None, name: str) -> Example:
    """Return the features (float32, shape (n, columns)), labels and weights of a table.

    Columns that are called ``id``, ``ids`` or ``idx`` are left out.

    Args:
        columns: each of shape (n,).
        label_column: which holds the labels; by default ``label``, ``labels``, ``target``, ``targets`` or ``y``.
        name: for messages.
    Raises:
        DataError: no feature, a feature that is not numeric, missing values, or no such column.
    Example:
        >>> table_columns({"a": np.array([1, 2]), "kind": np.array(["x", "y"])}, label_column="kind", name="t").inputs
        array([[1.],
               [2.]], dtype=float32)
    """
    label, weight = label_name(columns, label_column, name), weight_name(columns)
    features = [key for key in columns if key not in (label, weight, *ID_NAMES)]
    if not features:
        raise DataError(f"{name} has no features.", received=", ".join(columns), expected="a column of numbers")
    for key in features:
        if columns[key].dtype.kind not in "biuf":
            raise DataError(
                f"The column {key!r} of {name} is not numeric.",
                received=f"{columns[key].tolist()[0]!r} in its first row",
                expected="numbers in every column but the label's",
                remedy=f"say which column is the label (--label-column {key}), or leave the column out or encode it"
                if label is None
                else "leave the column out, or encode it as numbers",
            )
        if not np.isfinite(columns[key].astype(np.float64)).all():
            row = int(np.flatnonzero(~np.isfinite(columns[key].astype(np.float64)))[0])
            raise DataError(
                f"The column {key!r} of {name} lacks a value.",
                received=f"{columns[key][row]} in row {row + 1}",
                expected="finite numbers",
                remedy="fill or drop the rows that lack values",
            )
    inputs = np.stack([columns[key].astype(np.float32) for key in features], axis=1)
    return Example(inputs, None if label is None else _label_values(columns[label]), _or_none(columns, weight))


def load_table(path: str | Path, *, label_column: str | None = None) -> Example:
    """Load a .csv or .parquet file: its features, labels and weights, as :func:`table_columns` gives them.

    Args:
        path: the file; a .csv begins with a header.
        label_column: which column holds the labels, where it is not called label or target.
    Raises:
        DataError: a file that cannot be read, or what :func:`table_columns` refuses.
        MissingPackage: .parquet without pyarrow.
    """
    path = Path(path)
    return table_columns(read_table(path), label_column=label_column, name=path.name)


def read_table(path: Path) -> dict[str, Column]:
    """Return the columns of a .csv (with a header) or .parquet file.

    Raises:
        DataError: a file that cannot be read, without rows, or with rows of another length than the header.
        MissingPackage: .parquet without pyarrow.
    """
    require_plain_file(path)
    columns = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path)
    if not columns or not len(next(iter(columns.values()))):
        raise DataError(f"{path} has no rows.", expected="a header and at least one row")
    return columns


def iterate_table(path: Path, *, num_rows: int) -> Iterator[dict[str, Column]]:
    """Yield the columns of a .csv or .parquet file, so many rows at a time; no more is held in memory.

    Args:
        path: the file.
        num_rows: of a piece, at least 1; the last one may be smaller.
    Raises:
        DataError: as :func:`read_table`; a piece that is wrong is found when it is reached.
        MissingPackage: .parquet without pyarrow.
    """
    if path.suffix.lower() == ".parquet":
        with _told(path):
            for batch in _parquet().ParquetFile(path).iter_batches(batch_size=num_rows):
                yield {key: np.asarray(batch.column(key).to_pylist()) for key in batch.schema.names}
        return
    rows = _csv_rows(path)
    header = next(rows, [])
    while body := list(itertools.islice(rows, num_rows)):
        yield _columns_of(header, body)


def _read_csv(path: Path) -> dict[str, Column]:
    header, *body = [*_csv_rows(path)] or [[]]
    return _columns_of(header, body) if body else {}


def _columns_of(header: list[str], body: list[list[str]]) -> dict[str, Column]:
    return {key: _numbers_or_words(list(column)) for key, column in zip(header, zip(*body, strict=True), strict=True)}


def _csv_rows(path: Path) -> Iterator[list[str]]:
    """Yield the header and every row that is not empty, each as long as the header."""
    header: list[str] | None = None
    number = 0
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for row in csv.reader(file):
                if not row:
                    continue
                number += 1
                if header is None:
                    header = row
                    if len(set(header)) != len(header):
                        raise DataError(f"{path} has a column twice.", received=", ".join(header))
                elif len(row) != len(header):
                    raise DataError(
                        f"Row {number} of {path} has another length than the header.",
                        received=f"{len(row)} values",
                        expected=f"{len(header)}: {', '.join(header[:10])}",
                    )
                yield row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"Cannot read {path}.", received=str(error), expected="comma-separated text, UTF-8") from error


def _numbers_or_words(values: list[str]) -> Column:
    """Integers where all are, else floats (an empty field is NaN), else words."""
    try:
        return np.array([int(value) for value in values], dtype=np.int64)
    except (ValueError, OverflowError):
        pass
    try:
        return np.array([float(value) if value.strip() else np.nan for value in values], dtype=np.float64)
    except ValueError:
        return np.array(values)


def _read_parquet(path: Path) -> dict[str, Column]:
    with _told(path):
        described = _parquet().ParquetFile(path).metadata
        claimed = described.num_rows * described.num_columns * _CELL_BYTES
        require_memory(claimed, f"The table {path} of {described.num_rows:,} rows")
        table = _parquet().read_table(path)
    return {key: np.asarray(table.column(key).to_pylist()) for key in table.column_names}


def _parquet() -> Any:
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise MissingPackage(
            "Reading .parquet files needs pyarrow.", remedy="pip install 'limbeck[tables]', or save the table as .csv"
        ) from error
    return parquet


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Tell what goes wrong in pyarrow, which raises many kinds."""
    try:
        yield
    except LimbeckError:
        raise
    except Exception as error:
        raise DataError(f"Cannot read {path}.", received=str(error), expected="a .parquet file") from error


def _label_values(column: Column) -> Any:
    """Labels as integers where they are whole numbers, else as words."""
    if column.dtype.kind == "f" and bool((column == np.floor(column)).all()):
        return column.astype(np.int64)
    if column.dtype.kind == "b":
        return column.astype(np.int64)
    return column.astype(str) if column.dtype == object else column


def _or_none(columns: Mapping[str, Column], key: str | None) -> Column | None:
    return None if key is None else columns[key]
