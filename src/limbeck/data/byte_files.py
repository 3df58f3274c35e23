"""Pieces of files by offset, on this machine or, through fsspec, wherever an address leads."""

from __future__ import annotations

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

from limbeck.bounds import require_plain_file
from limbeck.errors import DataError, LimbeckError, MissingPackage

MAX_OPEN = 64  # files that one process holds open for reading
_VERSION_KEYS = (  # what file systems call the tag or time of a file
    "ETag", "etag", "Content-MD5", "Digest", "sha256",
    "mtime", "Last-Modified", "LastModified", "last_modified", "created",
)  # fmt: skip


def is_address(path: str) -> bool:
    """Whether a path is an address, such as s3://bucket/folder, that fsspec opens.

    Example:
        >>> is_address("https://host/train.tar"), is_address("data/train.tar")
        (True, False)
    """
    return "://" in path


def filesystem_of(address: str) -> tuple[Any, str]:
    """Return fsspec's file system for an address, and the path in it.

    Raises:
        MissingPackage: fsspec is not installed, or not what it needs for this kind of address.
        DataError: no such kind of address.
    """
    try:
        import fsspec
    except ImportError as error:
        raise MissingPackage(
            "Addresses such as s3:// need the package fsspec.", remedy="pip install 'limbeck[remote]'"
        ) from error
    try:
        system, path = fsspec.core.url_to_fs(address)
    except ImportError as error:
        raise MissingPackage(
            f"{address} needs one more package.", received=str(error), remedy="install it beside limbeck[remote]"
        ) from error
    except ValueError as error:
        raise DataError(
            f"Nothing opens {address}.", received=str(error), expected="a kind of address that fsspec knows"
        ) from error
    return system, path


@contextmanager
def trouble_told(path: str) -> Iterator[None]:
    """Turn what goes wrong while a file is listed or read into a DataError; stores of objects raise many kinds."""
    try:
        yield
    except LimbeckError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}.", remedy="check the spelling") from error
    except Exception as error:
        raise DataError(
            f"Cannot read {path}.",
            received=f"{type(error).__name__}: {error}",
            expected="a file that can be read",
            remedy="check address, permissions and network",
        ) from error


def stamp_of(path: str) -> tuple[int, str]:
    """Return a file's size in bytes, and what tells one version of it from another: its time or tag.

    Raises:
        DataError: a file that is not there, or of unknown size.
    """
    with trouble_told(path):
        if not is_address(path):
            require_plain_file(path)
            found = os.stat(path)
            return found.st_size, str(found.st_mtime_ns)
        system, inner = filesystem_of(path)
        described = system.info(inner)
        versions = {key: str(described[key]) for key in _VERSION_KEYS if described.get(key) is not None}
        size = described.get("size")
    if size is None:
        raise DataError(f"The size of {path} is not told.", expected="a server that tells sizes and reads ranges")
    return int(size), json.dumps(versions, sort_keys=True)


@contextmanager
def opened(path: str) -> Iterator[IO[bytes]]:
    """Open a file for reading from its beginning to its end."""
    with trouble_told(path):
        if is_address(path):
            system, inner = filesystem_of(path)
            file = system.open(inner, "rb")
        else:
            require_plain_file(path)
            file = open(path, "rb")  # noqa: SIM115 - closed below
    try:
        yield file
    finally:
        file.close()


def read_addresses(addresses: Sequence[str], offsets: Sequence[int], sizes: Sequence[int]) -> list[bytes]:
    """Return a piece of the file at each address, all of one kind of address, fetched together.

    Raises:
        DataError: one that cannot be read, or is not as long as it should be.
    """
    system, _ = filesystem_of(addresses[0])
    with trouble_told(addresses[0] if len(addresses) == 1 else f"{addresses[0]} and {len(addresses) - 1} more"):
        found = system.cat_ranges(
            [system._strip_protocol(address) for address in addresses],
            list(offsets),
            [offset + size for offset, size in zip(offsets, sizes, strict=True)],
            on_error="raise",
        )
    return [_whole(bytes(piece), size, path) for piece, size, path in zip(found, sizes, addresses, strict=True)]


class ByteFiles:
    """Reads pieces of several files. Each process opens files of its own, so that it may be forked and pickled.

    Args:
        paths: of the files, or addresses.
        stamps: of each, see :func:`stamp_of`; a file that is another when it is opened is refused.
    """

    def __init__(self, paths: Sequence[str], stamps: Sequence[tuple[int, str]]) -> None:
        self.paths, self.stamps = list(paths), list(stamps)
        self._open: _Handles | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"paths": self.paths, "stamps": self.stamps, "_open": None}

    def read(self, files: Sequence[int], offsets: Sequence[int], sizes: Sequence[int]) -> list[bytes]:
        """Return one piece for each triple of file number, offset and size, in their order.

        Pieces of files at addresses are fetched together.

        Raises:
            DataError: a file that cannot be read, or is another than when it was indexed.
        """
        pieces: list[bytes] = [b""] * len(files)
        remote: dict[int, list[int]] = {}
        for place, number in enumerate(files):
            if is_address(self.paths[number]):
                remote.setdefault(number, []).append(place)
            else:
                pieces[place] = self._read_local(number, offsets[place], sizes[place])
        for places in self._by_system(remote):
            self._read_remote(places, files, offsets, sizes, pieces)
        return pieces

    def _by_system(self, remote: dict[int, list[int]]) -> Iterator[list[int]]:
        """Yield the places of pieces that one file system reads."""
        groups: dict[str, list[int]] = {}
        for number, places in remote.items():
            groups.setdefault(self.paths[number].split("://")[0], []).extend(places)
        yield from groups.values()

    def _read_remote(
        self,
        places: list[int],
        files: Sequence[int],
        offsets: Sequence[int],
        sizes: Sequence[int],
        pieces: list[bytes],
    ) -> None:
        addresses = [self.paths[files[place]] for place in places]
        found = read_addresses(addresses, [offsets[place] for place in places], [sizes[place] for place in places])
        for place, piece in zip(places, found, strict=True):
            pieces[place] = piece

    def _read_local(self, number: int, offset: int, size: int) -> bytes:
        if self._open is None or self._open.process != os.getpid():
            self._open = _Handles()
        with self._open.lock, trouble_told(self.paths[number]):
            file = self._open.get(number, self.paths[number], self.stamps[number])
            file.seek(offset)
            return _whole(file.read(size), size, self.paths[number])


class _Handles:
    """The files that one process holds open, the least recently used closed first."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.lock = threading.Lock()
        self._files: OrderedDict[int, IO[bytes]] = OrderedDict()

    def get(self, number: int, path: str, stamp: tuple[int, str]) -> IO[bytes]:
        if number not in self._files:
            require_plain_file(path)
            self._files[number] = open(path, "rb", buffering=0)  # noqa: SIM115 - held
        self._files.move_to_end(number)
        described = os.fstat(self._files[number].fileno())
        if (found := (described.st_size, str(described.st_mtime_ns))) != stamp:
            raise DataError(
                f"{path} was changed after it was indexed.",
                received=f"{found[0]} bytes, time {found[1]}",
                expected=f"{stamp[0]} bytes, time {stamp[1]}",
                remedy="start again: what changed is indexed anew",
            )
        if len(self._files) > MAX_OPEN:
            self._files.popitem(last=False)[1].close()
        return self._files[number]

    def __del__(self) -> None:
        for file in self._files.values():
            file.close()


def _whole(piece: bytes, size: int, path: str) -> bytes:
    if len(piece) != size:
        raise DataError(
            f"{path} gave {'more' if len(piece) > size else 'less'} than was asked for.",
            received=f"{len(piece)} bytes",
            expected=f"{size} bytes",
            remedy="take a server that reads ranges, or copy the files here"
            if len(piece) > size
            else "get the file again; where it was replaced, start again",
        )
    return piece
