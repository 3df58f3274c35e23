"""What a tar file holds: the key, image and label of each sample, read once and kept in the cache."""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import time
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import torch

from limbeck.data.byte_files import is_address, opened, stamp_of
from limbeck.data.columns import label_name
from limbeck.data.downloads import cache_folder
from limbeck.data.image_decoding import EXTENSIONS
from limbeck.data.path_table import PathTable
from limbeck.data.sealed_tensors import Kept, arrays_of, has_settled, keep, read_kept, tensors_of
from limbeck.data.shards.tar_members import Member, iterate_members
from limbeck.errors import DataError

FORMAT = "limbeck-shard-index 1"
_MOST_LABEL_BYTES = 1 << 20


@dataclass(frozen=True)
class ShardIndex:
    """The samples of one tar file, in their order.

    Args:
        path: of the tar file, or its address.
        stamp: its size in bytes and its version; see ``stamp_of``.
        keys: name of each sample: the path of its files up to the first dot.
        offsets: where its image begins, int64.
        sizes: bytes of its image, int64.
        labels: as they are written; "" where there is none.
    """

    path: str
    stamp: tuple[int, str]
    keys: PathTable
    offsets: np.ndarray[Any, Any]
    sizes: np.ndarray[Any, Any]
    labels: PathTable


def index_shard(path: str, *, label_column: str | None = None) -> ShardIndex:
    """Return the index of a tar file, from the cache where the file is the same as then.

    Args:
        path: of the file, or its address.
        label_column: name of the label in ``.json`` files, where it is not called label or target.
    Raises:
        DataError: a file that is cut short or no tar file, a sample without an image, one with two images or labels.
    """
    stamp, now = stamp_of(path), time.time()
    where = path if is_address(path) else os.path.abspath(path)
    name = hashlib.sha256(f"{where}\0{label_column or ''}".encode("utf-8", "surrogateescape")).hexdigest()[:32]
    kept_path = cache_folder() / "shards" / f"{name}.safetensors"
    kept = read_kept(kept_path, format_name=FORMAT)
    if kept is not None and kept[0]["stamp"] == json.dumps(stamp):
        return _index_of(kept, path, stamp)
    with opened(path) as file:
        index = _read_index(file, path, stamp, label_column)
    tells_versions = json.loads(stamp[1]) != {} if is_address(path) else has_settled(int(stamp[1]), now_seconds=now)
    if tells_versions:
        keep(kept_path, {"file": path, "stamp": json.dumps(stamp)}, _tensors(index), format_name=FORMAT)
    return index


@dataclass
class _Sample:
    """The files of one key, as far as they were met."""

    key: str
    image: Member | None = None
    label: str | None = None
    label_file: str = ""


def _read_index(file: IO[bytes], path: str, stamp: tuple[int, str], label_column: str | None) -> ShardIndex:
    keys: list[str] = []
    labels: list[str] = []
    offsets: list[int] = []
    sizes: list[int] = []
    current: _Sample | None = None

    def finish(sample: _Sample | None) -> None:
        if sample is None or (sample.image is None and sample.label is None):
            return
        if sample.image is None:
            raise _sample_error(path, sample.key, "has no image", f"a file {sample.key}.jpg, .png, ... beside it")
        keys.append(sample.key)
        labels.append("" if sample.label is None else sample.label)
        offsets.append(sample.image.offset)
        sizes.append(sample.image.size)

    for member in iterate_members(file, num_bytes=stamp[0], source=path):
        key, extension = split_key(member.name)
        if key is None:
            continue
        if current is None or key != current.key:
            finish(current)
            current = _Sample(key)
        _take_member(current, member, extension, file, path, label_column)
    finish(current)
    _refuse_repeated(keys, path)
    return ShardIndex(
        path,
        stamp,
        PathTable(keys),
        np.array(offsets, dtype=np.int64),
        np.array(sizes, dtype=np.int64),
        PathTable(labels),
    )


def split_key(name: str) -> tuple[str | None, str]:
    """Return the key of a member, its path up to the first dot of its name, and its extension in lower case.

    Members without an extension, and hidden ones, belong to no sample.

    Example:
        >>> split_key("train/cat.7.seg.PNG"), split_key("train/.hidden")
        (('train/cat', '7.seg.png'), (None, ''))
    """
    folder, base = posixpath.split(name.removeprefix("./"))
    stem, dot, extension = base.partition(".")
    if not stem or not dot or stem.startswith("__"):
        return None, ""
    return posixpath.join(folder, stem), extension.lower()


def _take_member(
    sample: _Sample, member: Member, extension: str, file: IO[bytes], path: str, label_column: str | None
) -> None:
    if "." + extension in EXTENSIONS:
        if sample.image is not None:
            raise _sample_error(
                path, sample.key, "has two images", "one", received=f"{sample.image.name} and {member.name}"
            )
        sample.image = member
        return
    if extension not in ("cls", "json") or member.size > _MOST_LABEL_BYTES:
        return
    file.seek(member.offset)
    content = file.read(member.size)
    label = _class_text(content) if extension == "cls" else _json_label(content, label_column, path, member)
    if label is None:
        return
    if sample.label is not None and sample.label != label:
        raise _sample_error(
            path,
            sample.key,
            "has two labels",
            "one",
            received=f"{sample.label} in {sample.label_file}, {label} in {member.name}",
        )
    sample.label, sample.label_file = label, member.name


def _class_text(content: bytes) -> str:
    return content.decode("utf-8", "replace").strip()


def _json_label(content: bytes, label_column: str | None, path: str, member: Member) -> str | None:
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{member.name} in {path} is not JSON.", received=str(error)) from error
    if not isinstance(fields, dict):
        return None
    where = f"{member.name} in {path}"
    name = label_name(fields, label_column, where)
    value = None if name is None else fields[name]
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise DataError(
            f"The label in {where} is no class.",
            received=f"{name}: {value!r:.80}",
            expected="an integer or a word",
            remedy="say which field is the label: --label-column NAME",
        )
    return str(value)


def _refuse_repeated(keys: list[str], path: str) -> None:
    if len(set(keys)) < len(keys):
        seen: set[str] = set()
        repeated = next(key for key in keys if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _sample_error(path, repeated, "is there twice", "keys that differ, the files of one key in a row")


def _sample_error(path: str, key: str, what: str, expected: str, *, received: str | None = None) -> DataError:
    return DataError(
        f"The sample {key} in {path} {what}.",
        received=received,
        expected=expected,
        remedy="write the tar file again without it, or leave the file out of the pattern",
    )


def _tensors(index: ShardIndex) -> dict[str, torch.Tensor]:
    tables = {**index.keys.arrays("keys"), **index.labels.arrays("labels")}
    return tensors_of({**tables, "offsets": index.offsets, "sizes": index.sizes})


def _index_of(kept: Kept, path: str, stamp: tuple[int, str]) -> ShardIndex:
    arrays = arrays_of(kept)
    keys, labels = PathTable.from_arrays(arrays, "keys"), PathTable.from_arrays(arrays, "labels")
    return ShardIndex(path, stamp, keys, arrays["offsets"], arrays["sizes"], labels)
