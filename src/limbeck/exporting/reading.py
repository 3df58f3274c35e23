"""Samples to predict, as a stream of batches: image files, tables, lines of text. Memory does not grow with them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from limbeck.data.columns import ID_NAMES
from limbeck.data.image_decoding import EXTENSIONS, decode, decode_all
from limbeck.data.tables import TABLE_SUFFIXES, iterate_table, table_columns
from limbeck.errors import DataError, MissingPackage
from limbeck.exporting.opened import Predictor
from limbeck.exporting.session import Facts
from limbeck.inputs import Inputs

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class NamedBatch:
    """Raw samples with what to call each: a path, a row, a line."""

    names: list[str]
    raw: Inputs


def read_batches(
    paths: Sequence[Path], predictor: Predictor, *, label_column: str | None = None, batch_size: int
) -> Iterator[NamedBatch]:
    """Yield batches of the samples in files and folders, in order.

    Args:
        paths: image files, folders of them (searched through), .csv and .parquet tables with a row a sample.
        predictor: what predicts; images are brought to its size as image folders are read.
        label_column: of tables, left out.
        batch_size: samples of a batch at most.
    Raises:
        DataError: a path that is not there or of another kind, or samples of another shape.
    """
    tables = [path for path in paths if path.suffix.lower() in TABLE_SUFFIXES]
    if tables and len(tables) < len(paths):
        raise DataError("Images and tables are predicted apart.", received=", ".join(map(str, paths[:4])))
    if tables:
        for path in tables:
            yield from _rows(path, predictor.facts, label_column, batch_size)
        return
    yield from _images(_image_paths(paths), predictor.facts, batch_size)


def text_batches(
    lines: Iterable[str], predictor: Predictor, *, tokenizer: str | None, batch_size: int
) -> Iterator[NamedBatch]:
    """Yield batches of lines of text, cut into tokens; empty lines are left out.

    Args:
        lines: read as they are asked for.
        predictor: of token ids.
        tokenizer: folder of a transformers tokenizer.
        batch_size: lines of a batch at most.
    Raises:
        DataError: no tokenizer, or one that cannot be read.
    """
    encode = _tokenizer(tokenizer)
    kept = (line for line in map(str.strip, lines) if line)
    for batch in _pieces(kept, batch_size):
        tokens = encode(batch, padding=True, truncation=True, return_tensors="pt")
        names = [name for name in predictor.input_names if name in tokens]
        yield NamedBatch(batch, {name: tokens[name] for name in names})


def _images(paths: Iterator[str], facts: Facts, batch_size: int) -> Iterator[NamedBatch]:
    shape = facts.input_shape
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise DataError(
            "This network takes no images.",
            received=f"inputs of shape {shape}",
            expected="a table (.csv, .parquet), or text on standard input",
        )
    channels, height, width = int(shape[0]), int(shape[1]), int(shape[2])
    if facts.preprocess == "resize":  # the file does it itself: one size at a time
        for path in paths:
            image, _ = decode(path, None, grey=channels == 1)
            raw = torch.from_numpy(image.copy())[None]
            yield NamedBatch([path], raw.expand(1, channels, *raw.shape[-2:]))
        return
    image_size = height if height == width else None
    for batch in _pieces(paths, batch_size):
        raw, _ = decode_all(batch, (channels, height, width), image_size, reference="the network's inputs")
        yield NamedBatch(batch, raw)


def _image_paths(paths: Sequence[Path]) -> Iterator[str]:
    for path in paths:
        if path.is_dir():
            found = False
            for folder, inner, files in os.walk(path):
                inner[:] = sorted(name for name in inner if not name.startswith("."))
                for name in sorted(files):
                    if name.lower().endswith(EXTENSIONS) and not name.startswith("."):
                        found = True
                        yield os.path.join(folder, name)
            if not found:
                raise DataError(f"{path} has no images.", expected=", ".join(EXTENSIONS))
        elif path.is_file() and path.name.lower().endswith(EXTENSIONS):
            yield str(path)
        else:
            raise DataError(
                f"{path} is nothing to predict." if path.exists() else f"There is no file or folder {path}.",
                expected="images, folders of images, .csv or .parquet tables; text comes from standard input",
            )


def _rows(path: Path, facts: Facts, label_column: str | None, batch_size: int) -> Iterator[NamedBatch]:
    first = 1
    for columns in iterate_table(path, num_rows=batch_size):
        features = table_columns(columns, label_column=label_column, name=path.name).inputs
        raw = torch.as_tensor(features)
        if tuple(raw.shape[1:]) != facts.input_shape:
            raise DataError(
                f"{path} has another number of features than the network takes.",
                received=f"{raw.shape[1]}: {', '.join(list(columns)[:10])}",
                expected=f"inputs of shape {facts.input_shape}",
                remedy="leave out columns that are no features; a column label, target or id is left out by itself",
            )
        key = next((name for name in ID_NAMES if name in columns), None)
        names = [str(value) for value in (columns[key] if key else range(first, first + len(raw)))]
        first += len(raw)
        yield NamedBatch(names, raw)


def _pieces(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while piece := list(itertools.islice(iterator, size)):
        yield piece


def _tokenizer(folder: str | None) -> Any:
    if folder is None:
        raise DataError(
            "Text is cut into tokens first.", expected="the tokenizer's folder", remedy="--tokenizer FOLDER"
        )
    try:
        import transformers
    except ImportError as error:
        raise MissingPackage("A tokenizer needs transformers.", remedy="pip install 'limbeck[hf]'") from error
    try:
        return transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:
        raise DataError(
            f"{folder} holds no tokenizer.",
            received=str(error).strip().splitlines()[0][:200],
            expected="a folder that tokenizer.save_pretrained wrote",
        ) from error
