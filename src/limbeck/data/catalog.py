"""Data sets by name or path."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.bounds import require_image_memory, require_memory, require_plain_file
from limbeck.data.archives import is_archive
from limbeck.data.byte_files import is_address
from limbeck.data.from_arrays import as_samples
from limbeck.data.hub import load_hf, load_tables
from limbeck.data.image_archives import load_archive
from limbeck.data.images import load_image_folder
from limbeck.data.named_sets import CATALOG
from limbeck.data.npz import load_npz
from limbeck.data.remote_folders import load_remote_folder
from limbeck.data.samples import Samples
from limbeck.data.shards.loading import load_shards
from limbeck.data.sources import position_chunks
from limbeck.data.speech import SPEECH_PREFIX, load_speech
from limbeck.data.splits import Splits, hold_out, parts_of, renamed, require_classes
from limbeck.data.table_files import SUFFIXES
from limbeck.data.tables import TABLE_SUFFIXES, load_table
from limbeck.data.video.catalog import CLIP_SETS, ClipOptions, is_clips, load_clips
from limbeck.errors import DataError, InvalidValue, require_fraction, unknown_name

TEST_FRACTION = 0.2  # of the training samples, held out where data has no test split
HF_PREFIX = "hf:"
SHARDS_PREFIX = "shards:"


def _require_path(text: str) -> None:
    """Raise DataError for a text that the system does not take for a path, such as one of thousands of letters."""
    try:
        Path(text).exists()
    except (OSError, ValueError) as error:
        raise DataError(
            "This names no data set.", received=f"{text[:80]}...", expected="a name or a path that the system can open"
        ) from error


def load_data(
    name_or_path: str | Path,
    *,
    image_size: int | None = None,
    validation_fraction: float = 0.1,
    seed: int = 0,
    download: bool = True,
    label_column: str | None = None,
    exif_orientation: bool = False,
    clips: ClipOptions | None = None,
) -> Splits:
    """Load a data set with training, validation and test splits.

    Files of named sets are looked for in the folder that the environment variable ``LIMBECK_DATA`` names, then in the
    cache (``LIMBECK_CACHE``, else the platform's), then downloaded and checked.

    Args:
        name_or_path: a name (see :func:`data_set_names`), an image folder or the address of one, an archive (.tar.gz,
            .tgz, .tar, .zip) of one, an .npz file with ``inputs`` and ``labels``, perhaps ``validation_inputs``,
            ``validation_labels``, ``test_inputs``, ``test_labels`` and ``class_names``, a .csv or .parquet table of
            numbers; or
            ``hf:FOLDER_OR_NAME``, a Hugging Face data set; ``shards:PATTERN``, tar files in WebDataset's layout
            (:func:`load_shards`); ``parquet:PATTERN`` or ``arrow:PATTERN``, tables of any size (:func:`load_tables`);
            ``clips:FOLDER``, a folder of clips; ``speech:FOLDER``, a speech corpus in Kaldi's style, ``speech:an4``,
            or ``speech:digits``: frames as samples, HMM states as classes (:func:`load_speech`).
        image_size: resize images to this height and width; None leaves them.
        validation_fraction: of the training samples, held out (stratified) where there is no validation split; 0 for
            none.
        seed: of that split. The test split never depends on it.
        download: whether missing files may be fetched.
        label_column: of a table or a Hugging Face data set, where it is not called label or target.
        exif_orientation: turn the images of a folder as they say; see :func:`load_image_folder`.
        clips: how clips are read.
    Returns:
        The splits; ``notes`` says what was held out.
    Raises:
        UnknownName: neither a name nor a path.
        DataError: files that are missing, damaged or of another form, or too few samples to hold any out.
        InvalidValue: a fraction or size out of range, or a size asked of what is read on demand.
    Example:
        >>> splits = load_data("digits")
        >>> len(splits.train), len(splits.validation), len(splits.test), splits.train.input_shape
        (1294, 144, 359, (1, 8, 8))
    """
    require_fraction("validation_fraction", validation_fraction, below_one=True)
    if image_size is not None and image_size < 1:
        raise InvalidValue("image_size must be at least 1.", received=image_size)
    name = str(name_or_path)
    _require_path(name)
    if is_clips(name):
        splits = load_clips(name, clips, image_size=image_size)
    elif name in CATALOG:
        splits = CATALOG[name].read(download)
    else:
        splits = _load_path(name, image_size, label_column, exif_orientation)
    if image_size is not None and not is_clips(name):
        resized: dict[str, Any] = {part: _resized(samples, image_size) for part, samples in parts_of(splits)}
        splits = dataclasses.replace(splits, **resized)
    if len(splits.train.labelled_positions()):
        require_classes(splits.train, "the training split")
    return _with_held_out(splits, validation_fraction=validation_fraction, seed=seed)


def data_set_names() -> dict[str, str]:
    """Return the names that :func:`load_data` knows, each with a line about the set.

    Example:
        >>> "digits" in data_set_names()
        True
    """
    own = {name: entry.summary for name, entry in CATALOG.items()}
    return own | {name: summary for name, (summary, _) in CLIP_SETS.items()}


def _load_path(name: str, image_size: int | None, label_column: str | None, exif_orientation: bool) -> Splits:
    if name.startswith(SPEECH_PREFIX):
        return load_speech(name.removeprefix(SPEECH_PREFIX))
    if name.startswith(SHARDS_PREFIX):
        return load_shards(
            name.removeprefix(SHARDS_PREFIX),
            image_size=image_size,
            label_column=label_column,
            exif_orientation=exif_orientation,
        )
    if name.startswith(HF_PREFIX):
        return load_hf(name.removeprefix(HF_PREFIX), label_column=label_column, image_size=image_size)
    kind, _, pattern = name.partition(":")
    if kind in SUFFIXES:
        return load_tables(kind, pattern, label_column=label_column, image_size=image_size)
    if is_address(name):
        return load_remote_folder(name, image_size=image_size, exif_orientation=exif_orientation)
    path = Path(name).expanduser()
    if not path.exists():
        if len(path.parts) > 1 or path.suffix:
            raise DataError(
                f"There is no file or folder {name}.",
                expected="a path, or one of " + ", ".join(data_set_names()),
                remedy="check the spelling and the working folder",
            )
        raise unknown_name("data set", name, data_set_names())
    if path.is_dir():
        return load_image_folder(path, image_size=image_size, exif_orientation=exif_orientation)
    require_plain_file(path)
    if is_archive(path):
        return load_archive(path, image_size=image_size, exif_orientation=exif_orientation)
    if path.suffix.lower() in TABLE_SUFFIXES:
        table = load_table(path, label_column=label_column)
        return Splits(as_samples((table.inputs, table.label), name=path.stem, weights=table.weight), name=path.stem)
    if path.suffix.lower() == ".npz":
        return load_npz(path)
    raise DataError(
        f"{path} is of an unknown kind.",
        expected="an image folder, an archive (.tar.gz, .tgz, .tar, .zip) of one, an .npz, .csv or .parquet file, "
        "or hf:FOLDER",
    )


def _resized(samples: Samples, size: int) -> Samples:
    """Resize in-memory images (bilinear, antialiased); those that have the size come back as they are."""
    if not samples.is_image:
        raise InvalidValue("image_size is for images.", received=f"{samples.name} of shape {samples.input_shape}")
    if samples.input_shape[1:] == (size, size):
        return samples
    if not isinstance(samples.inputs, Tensor):
        raise InvalidValue(
            "image_size is for folders and arrays.",
            received=f"{samples.name}, read on demand, of shape {samples.input_shape}",
            remedy="resize in the data set's own transform",
        )
    require_memory(math.prod((len(samples), samples.input_shape[0], size, size)), f"{samples.name} at {size} x {size}")
    require_image_memory(size, size, f"images of {size} x {size}")
    pieces = [
        F.interpolate(
            samples.inputs.index_select(0, chunk).float(),
            size=(size, size),
            mode="bilinear",
            antialias=True,
            align_corners=False,
        )
        .round_()
        .clamp_(0, 255)
        .to(torch.uint8)
        for chunk in position_chunks(torch.arange(len(samples)))
    ]
    return dataclasses.replace(samples, inputs=torch.cat(pieces))


def _with_held_out(splits: Splits, *, validation_fraction: float, seed: int) -> Splits:
    train, validation, test, notes = splits.train, splits.validation, splits.test, list(splits.notes)
    has_own_test = test is not None
    if test is None:
        train, test = hold_out(train, fraction=TEST_FRACTION, seed=0)
        notes.append(f"There is no test split: {len(test)} training samples were held out as one (stratified, seed 0).")
    if validation is None and validation_fraction > 0:
        train, validation = hold_out(train, fraction=validation_fraction, seed=seed)
        notes.append(f"{len(validation)} training samples were held out for validation (stratified, seed {seed}).")
    whole = Splits(
        train, validation, test, name=splits.name, notes=tuple(notes), has_own_test=splits.has_own_test and has_own_test
    )
    return renamed(whole, splits.name)
