"""Decoded data sets kept in the cache, so that an archive of images is decoded once.

The file's metadata hold the SHA-256 of names, types, shapes, values and the other metadata, checked when it is read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from limbeck.data.samples import Samples
from limbeck.data.splits import Splits
from limbeck.errors import DataError
from limbeck.records import partial_path, remove_stale, tell_remade

_FORMAT = "limbeck-decoded 2"
_EARLIER = ("limbeck-decoded 1",)  # without a checksum
_SEAL = "sha256"
_SPLITS = ("train", "validation", "test")


def read_decoded(path: Path) -> Splits | None:
    """Return the splits that :func:`write_decoded` kept, memory-mapped; None without a sound file, which is told."""
    if not path.is_file():
        return None
    try:
        found = open_decoded(path)
    except (DataError, OSError) as error:
        tell_remade(path, why=getattr(error, "received", None) or "damaged")
        return None
    if found is None:
        return None
    described, tensors = found
    name, class_names = described["name"], tuple(json.loads(described["class_names"]))
    parts = {
        split: Samples(
            f"{name}/{split}",
            tensors[f"{split}.ids"],
            tensors[f"{split}.inputs"],
            tensors[f"{split}.labels"],
            class_names,
        )
        for split in _SPLITS
        if f"{split}.ids" in tensors
    }
    notes = tuple(json.loads(described["notes"]))
    return Splits(parts["train"], parts.get("validation"), parts.get("test"), name=name, notes=notes)


def open_decoded(path: Path) -> tuple[dict[str, str], dict[str, Tensor]] | None:
    """Return metadata and tensors of a file, memory-mapped, their checksum checked; None where it has none yet.

    Raises:
        DataError: a damaged file.
        OSError: one that cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            described = dict(file.metadata() or {})
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, ValueError) as error:
        raise DataError(f"{path} is damaged.", received="damaged") from error
    if described.get("format") in _EARLIER:
        return None
    seal = described.pop(_SEAL, None)
    if described.get("format") != _FORMAT or seal != _digest(described, tensors):
        raise DataError(f"{path} is damaged.", received="damaged", expected=f"content with SHA-256 {seal}")
    return described, tensors


def write_decoded(path: Path, splits: Splits) -> None:
    """Keep in-memory splits for :func:`read_decoded`: written to a neighbour, then renamed.

    Splits that are read on demand are not kept, and a cache that cannot be written is no error: it only saves time.
    """
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {}
    for split in _SPLITS:
        samples: Samples | None = getattr(splits, split)
        if samples is None:
            continue
        if not isinstance(samples.inputs, Tensor):
            return
        tensors |= {
            f"{split}.ids": samples.ids.contiguous(),
            f"{split}.inputs": samples.inputs.contiguous(),
            f"{split}.labels": samples.labels.contiguous(),
        }
    described = {
        "format": _FORMAT,
        "name": splits.name,
        "class_names": json.dumps(splits.train.class_names),
        "notes": json.dumps(splits.notes),
    }
    described[_SEAL] = _digest(described, tensors)
    partial = partial_path(path)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_stale(path.parent, path.name)
        try:
            save_file(tensors, str(partial), metadata=described)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


def _digest(described: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of metadata and tensors, whatever the order in which the file holds them."""
    digest = hashlib.sha256(json.dumps(dict(described), sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        if tensor.numel():
            digest.update(tensor.contiguous().view(-1).numpy().view("uint8").data)
    return digest.hexdigest()
