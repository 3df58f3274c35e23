"""Decoded data sets kept in the cache, so that an archive of images is decoded once."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from torch import Tensor

from limbeck.data.samples import Samples
from limbeck.data.splits import Splits

_FORMAT = "limbeck-decoded 1"
_SPLITS = ("train", "validation", "test")


def read_decoded(path: Path) -> Splits | None:
    """Return the splits that :func:`write_decoded` kept, memory-mapped; None without a sound file."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(str(path), framework="pt") as file:
            described = file.metadata() or {}
            if described.get("format") != _FORMAT:
                return None
            name, class_names = described["name"], tuple(json.loads(described["class_names"]))
            keys = set(file.keys())
            parts = {
                split: Samples(
                    f"{name}/{split}",
                    file.get_tensor(f"{split}.ids"),
                    file.get_tensor(f"{split}.inputs"),
                    file.get_tensor(f"{split}.labels"),
                    class_names,
                )
                for split in _SPLITS
                if f"{split}.ids" in keys
            }
    except (SafetensorError, OSError, KeyError, ValueError):
        return None
    notes = tuple(json.loads(described.get("notes", "[]")))
    return Splits(parts["train"], parts.get("validation"), parts.get("test"), name=name, notes=notes)


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
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            save_file(tensors, str(partial), metadata=described)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
