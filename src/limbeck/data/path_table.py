"""Very many file paths in little memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np


class PathTable(Sequence[str]):
    """Many paths below one folder in little memory: one run of bytes, and where each path ends in it.

    Objects of their own would take three times as much, and reading them in worker processes would copy them there.

    Args:
        relative_paths: with / between folders.
        root: the folder; paths are given with it in front.
    Example:
        >>> PathTable(["a/1.png", "b/2.png"], root="data")[1]
        'data/b/2.png'
    """

    def __init__(self, relative_paths: Iterable[str], *, root: str = "") -> None:
        encoded = [path.encode("utf-8", "surrogateescape") for path in relative_paths]
        self._ends = np.cumsum([len(path) for path in encoded], dtype=np.int64)
        self._bytes = np.frombuffer(b"".join(encoded), dtype=np.uint8)
        self._root = root.rstrip("/") + "/" if root else ""

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        return self._root + self.relative(place)

    def relative(self, place: int) -> str:
        """Return a path without the root."""
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        place %= len(self)
        start = int(self._ends[place - 1]) if place else 0
        return self._bytes[start : int(self._ends[place])].tobytes().decode("utf-8", "surrogateescape")
