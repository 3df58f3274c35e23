"""Parquet and Arrow files that do not fit into memory, as memory-mapped Hugging Face data sets."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from limbeck.data.byte_files import opened
from limbeck.data.downloads import cache_folder
from limbeck.data.shards.pattern import files_by_split, files_of
from limbeck.errors import DataError, MissingPackage

SUFFIXES = {"parquet": ".parquet", "arrow": ".arrow"}


def open_tables(kind: str, pattern: str) -> dict[str, Any]:
    """Return the splits of the files that a pattern names, each a memory-mapped ``Dataset``.

    Arrow files are mapped where they lie. Parquet files cannot be read by row: ``datasets`` writes them once into the
    cache as Arrow files, which takes as much room as they have unpacked, and again when a file has changed.

    Args:
        kind: "parquet" or "arrow".
        pattern: see ``load_shards``.
    Raises:
        DataError: no file, one that is cut short or of another kind, or with other columns than the first.
        MissingPackage: without the package ``datasets``.
    """
    by_split = files_by_split(files_of(pattern, suffix=SUFFIXES[kind]), pattern=pattern)
    datasets = datasets_package()
    _check_columns(kind, [path for paths in by_split.values() for path in paths])
    with _quiet_unless_watched(datasets):
        try:
            if kind == "arrow":
                return {split: _mapped(datasets, paths) for split, paths in by_split.items()}
            folder = str(cache_folder() / "tables")
            return dict(datasets.load_dataset("parquet", data_files=by_split, cache_dir=folder))
        except Exception as error:  # the package raises many kinds
            raise DataError(
                f"Cannot read the tables {pattern}.",
                received=f"{type(error).__name__}: {error}",
                expected=f"whole {SUFFIXES[kind]} files of the same columns, and room in {cache_folder()}",
            ) from error


def datasets_package() -> Any:
    """Return the package ``datasets``.

    Raises:
        MissingPackage: it is not installed.
    """
    try:
        import datasets
    except ImportError as error:
        raise MissingPackage(
            "Hugging Face data sets need the package datasets.", remedy="pip install 'limbeck[hf]'"
        ) from error
    return datasets


def _mapped(datasets: Any, paths: list[str]) -> Any:
    parts = [datasets.Dataset.from_file(path) for path in paths]
    return parts[0] if len(parts) == 1 else datasets.concatenate_datasets(parts)


def _check_columns(kind: str, paths: list[str]) -> None:
    """Raise DataError for a file that is no whole table, or has other columns than the first."""
    first: list[str] | None = None
    for path in paths:
        columns = _columns_of(kind, path)
        first = columns if first is None else first
        if sorted(columns) != sorted(first):
            raise DataError(
                f"{path} has other columns than {paths[0]}.",
                received=", ".join(columns),
                expected=", ".join(first),
                remedy="write it with the same columns, or leave it out of the pattern",
            )


def _columns_of(kind: str, path: str) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    with opened(path) as file:
        try:
            if kind == "parquet":
                return list(parquet.read_schema(file).names)
            return list(pa.ipc.open_stream(file).schema.names)
        except (pa.ArrowInvalid, pa.ArrowException, OSError) as error:
            raise DataError(
                f"{path} is cut short or no {SUFFIXES[kind]} file.",
                received=str(error),
                expected="a whole file" if kind == "parquet" else "a file in Arrow's stream format, as datasets writes",
                remedy="get it again, or leave it out of the pattern",
            ) from error


@contextmanager
def _quiet_unless_watched(datasets: Any) -> Iterator[None]:
    """Without progress bars where nobody sees them."""
    if sys.stderr.isatty() or datasets.are_progress_bars_disabled():
        yield
        return
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.enable_progress_bars()
