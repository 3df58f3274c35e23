"""Decoded data sets kept in the cache, so that an archive of images is decoded once."""

from __future__ import annotations

import json
from pathlib import Path

from torch import Tensor

from limbeck.data.samples import Samples
from limbeck.data.sealed_tensors import keep, read_kept
from limbeck.data.splits import Splits

FORMAT = "limbeck-decoded 2"
EARLIER = ("limbeck-decoded 1",)  # without a checksum
_SPLITS = ("train", "validation", "test")


def read_decoded(path: Path) -> Splits | None:
    """Return the splits that :func:`write_decoded` kept, memory-mapped; None without a sound file, which is told."""
    if (found := read_kept(path, format_name=FORMAT, earlier=EARLIER)) is None:
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


def write_decoded(path: Path, splits: Splits) -> None:
    """Keep in-memory splits for :func:`read_decoded`; those that are read on demand are not kept."""
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
        "name": splits.name,
        "class_names": json.dumps(splits.train.class_names),
        "notes": json.dumps(splits.notes),
    }
    keep(path, described, tensors, format_name=FORMAT)
