"""Very many file paths in little memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
        self.ends = np.cumsum([len(path) for path in encoded], dtype=np.int64)
        self.text = np.frombuffer(b"".join(encoded), dtype=np.uint8)
        self._root = root.rstrip("/") + "/" if root else ""

    @classmethod
    def of_text(cls, text: Any, ends: Any, *, root: str = "") -> PathTable:
        """Return the table of paths that follow each other in ``text`` (uint8), each up to its end in ``ends`` (int64).

        Example:
            >>> PathTable.of_text(np.frombuffer(b"a.pngbc.png", np.uint8), np.array([5, 11]))[1]
            'bc.png'
        """
        table = cls((), root=root)
        table.text, table.ends = text, ends
        return table

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any], name: str, *, root: str = "") -> PathTable:
        """Return the table that :meth:`arrays` took apart."""
        return cls.of_text(arrays[f"{name}.text"], arrays[f"{name}.ends"], root=root)

    def arrays(self, name: str) -> dict[str, Any]:
        """Return what the table consists of, under names that begin with ``name``.

        Example:
            >>> {key: array.tolist() for key, array in PathTable(["a", "bc"]).arrays("keys").items()}
            {'keys.text': [97, 98, 99], 'keys.ends': [1, 3]}
        """
        return {f"{name}.text": self.text, f"{name}.ends": self.ends}

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        return self._root + self.relative(place)

    def relative(self, place: int) -> str:
        """Return a path without the root."""
        return self.encoded(place).decode("utf-8", "surrogateescape")

    def encoded(self, place: int) -> bytes:
        """Return the bytes of a path without the root."""
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        place %= len(self)
        start = int(self.ends[place - 1]) if place else 0
        content: bytes = self.text[start : int(self.ends[place])].tobytes()
        return content

    def iterate_encoded(self, *, chunk: int = 1 << 16) -> Iterable[bytes]:
        """Yield the bytes of each path, in order."""
        start = 0
        for first in range(0, len(self), chunk):
            ends = self.ends[first : first + chunk].tolist()
            text, offset = self.text[start : ends[-1]].tobytes(), start
            for end in ends:
                yield text[start - offset : end - offset]
                start = end
