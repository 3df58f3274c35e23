"""Tensors in a file that carries the SHA-256 of all that it holds: what the cache keeps of a data set.

The file is a safetensors file. Its metadata hold the SHA-256 of names, types, shapes and values of the tensors and of
the other metadata, checked when it is read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.errors import DataError
from limbeck.records import partial_path, remove_stale, tell_remade

SETTLED_SECONDS = 2.0  # what changed so recently may change again within one tick of its clock
_SEAL = "sha256"
Kept = tuple[dict[str, str], dict[str, Tensor]]  # metadata and tensors


def open_sealed_tensors(path: Path, *, format_name: str, earlier: Collection[str] = ()) -> Kept | None:
    """Return metadata and tensors of a file, memory-mapped, their checksum checked.

    Args:
        path: of the file.
        format_name: with its version, as it must stand there.
        earlier: formats of earlier releases; None is returned for them.
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
    if described.get("format") in earlier:
        return None
    seal = described.pop(_SEAL, None)
    if described.get("format") != format_name or seal != _digest(described, tensors):
        raise DataError(f"{path} is damaged.", received="damaged", expected=f"content with SHA-256 {seal}")
    return described, tensors


def read_kept(path: Path, *, format_name: str, earlier: Collection[str] = ()) -> Kept | None:
    """Like :func:`open_sealed_tensors`; None without a file, and without a sound one, which is told in one line."""
    if not path.is_file():
        return None
    try:
        return open_sealed_tensors(path, format_name=format_name, earlier=earlier)
    except (DataError, OSError) as error:
        tell_remade(path, why=getattr(error, "received", None) or "damaged")
        return None


def has_settled(changed_ns: int, *, now_seconds: float) -> bool:
    """Return whether a time of change is long enough ago for the next change to have another."""
    return changed_ns < (now_seconds - SETTLED_SECONDS) * 1e9


def tensors_of(arrays: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, Tensor]:
    """Return arrays as tensors, those that cannot be written copied."""
    return {name: torch.from_numpy(np.require(array, requirements="W")) for name, array in arrays.items()}


def arrays_of(kept: Kept) -> dict[str, np.ndarray[Any, Any]]:
    """Return the tensors of a file as arrays, still mapped from it."""
    return {name: tensor.numpy() for name, tensor in kept[1].items()}


def keep(path: Path, described: Mapping[str, str], tensors: Mapping[str, Tensor], *, format_name: str) -> None:
    """Write a file for :func:`read_kept`: to a neighbour, then renamed.

    A cache that cannot be written is no error: it only saves time.
    """
    from safetensors.torch import save_file

    described = {"format": format_name, **described}
    described[_SEAL] = _digest(described, tensors)
    partial = partial_path(path)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_stale(path.parent, path.name)
        try:
            save_file(dict(tensors), str(partial), metadata=described)
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
