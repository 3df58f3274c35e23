"""From names of samples, such as relative paths, to ids."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

from limbeck.data.path_table import PathTable
from limbeck.errors import DataError


def ids_of_keys(keys: PathTable, *, what: str) -> Tensor:
    """Return 63 bits of the BLAKE2b hash of each key, int64, shape (n,).

    Args:
        keys: unique.
        what: they name, for messages: "files".
    Raises:
        DataError: two of the same id.
    Example:
        >>> ids_of_keys(PathTable(["cat/1.png"]), what="files").tolist()
        [8241404588537955974]
    """
    ids = np.empty(len(keys), dtype=np.int64)
    for place, key in enumerate(keys.iterate_encoded()):
        ids[place] = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") >> 1
    order = np.argsort(ids, kind="stable")
    same = np.flatnonzero(ids[order][1:] == ids[order][:-1])
    if len(same):
        first, second = (keys.relative(int(order[same[0] + step])) for step in (0, 1))
        raise DataError(f"Two {what} have the same id.", received=f"{first} and {second}", remedy="rename one of them")
    return torch.from_numpy(ids)
