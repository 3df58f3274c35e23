"""The members of a tar file and where their contents lie, read from its headers alone.

Python's ``tarfile`` makes an object with twenty fields for each member; listing alone then takes more than twice what
the whole index does (``benchmarks/shards.py``). Here a header is 512 bytes and four of its fields. What is read: plain
files in the formats v7, ustar, GNU (long names, sizes above 8 GiB) and pax (path, size).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, NamedTuple

from limbeck.errors import DataError

BLOCK = 512
_PLAIN = (b"0", b"\0", b"7")
_ZEROS = bytes(BLOCK)
_MOST_EXTENDED = 1 << 20  # bytes of a long name or of pax records


class Member(NamedTuple):
    """A plain file in a tar file: its content is ``size`` bytes from ``offset``."""

    name: str
    offset: int
    size: int


def iterate_members(file: IO[bytes], *, num_bytes: int, source: str) -> Iterator[Member]:
    """Yield the plain files of a tar file in order.

    Args:
        file: opened for reading, with ``seek``; not compressed.
        num_bytes: its size.
        source: for messages.
    Raises:
        DataError: a file that is cut short, damaged, compressed or no tar file, or holds links or devices.
    """
    position, extended = 0, _Extended()
    while position < num_bytes:
        file.seek(position)
        header = file.read(BLOCK)
        if header == _ZEROS:
            return
        if len(header) < BLOCK:
            break
        name, size, kind = _fields(header, position, source)
        content, position = position + BLOCK, position + BLOCK
        size = extended.size if extended.size is not None and kind in _PLAIN else size
        position += -(-size // BLOCK) * BLOCK
        if content + size > num_bytes:
            raise _cut(source, f"the content of {extended.name or name}, {size} bytes from byte {content}", num_bytes)
        if kind in (b"x", b"L"):
            extended.take(kind, _extended_content(file, size, source))
        elif kind in _PLAIN:
            yield Member(extended.name or name, content, size)
            extended = _Extended()
        elif kind in (b"5", b"g", b"K"):
            extended = extended if kind == b"K" else _Extended()
        else:
            raise DataError(
                f"{source} holds something that is no plain file.",
                received=f"{extended.name or name}, of type {kind!r}",
                expected="plain files",
                remedy="write the tar file without links: tar --hard-dereference --dereference",
            )
    raise _cut(source, "the two blocks of zeros that end a tar file", num_bytes)


class _Extended:
    """What stands before a header in place of its own fields."""

    def __init__(self) -> None:
        self.name: str | None = None
        self.size: int | None = None

    def take(self, kind: bytes, content: bytes) -> None:
        if kind == b"L":
            self.name = content.rstrip(b"\0").decode("utf-8", "surrogateescape")
            return
        while content:
            length, _, _ = content.partition(b" ")
            if not length.isdigit() or not 0 < int(length) <= len(content):
                return
            record, content = content[len(length) + 1 : int(length) - 1], content[int(length) :]
            key, _, value = record.partition(b"=")
            if key == b"path":
                self.name = value.decode("utf-8", "surrogateescape")
            elif key == b"size" and value.isdigit():
                self.size = int(value)


def _extended_content(file: IO[bytes], size: int, source: str) -> bytes:
    if size > _MOST_EXTENDED:
        raise DataError(f"{source} is damaged.", received=f"a name of {size} bytes", remedy="get the file again")
    return file.read(size)  # it follows the header that was just read


def _fields(header: bytes, position: int, source: str) -> tuple[str, int, bytes]:
    """Return name, size and type, the checksum tested."""
    try:
        if sum(header) - sum(header[148:156]) + 8 * ord(" ") != _number(header[148:156]):
            raise ValueError("wrong checksum")
        size = _number(header[124:136])
    except ValueError as error:
        is_gzip = position == 0 and header[:2] == b"\x1f\x8b"
        raise DataError(
            f"{source} is damaged or no tar file.",
            received="a gzip file" if is_gzip else f"no header at byte {position}: {error}",
            expected="a plain tar file, not compressed, so that samples can be read by position",
            remedy="unpack it: gunzip" if is_gzip else "get the file again",
        ) from error
    name = header[:100].partition(b"\0")[0]
    if header[257:263] == b"ustar\0" and header[345]:
        name = header[345:500].partition(b"\0")[0] + b"/" + name
    return name.decode("utf-8", "surrogateescape"), size, header[156:157]


def _number(field: bytes) -> int:
    if field[0] & 0x80:  # GNU: base 256
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    return int(field.strip(b" \0") or b"0", 8)


def _cut(source: str, what: str, num_bytes: int) -> DataError:
    return DataError(
        f"{source} is cut short.",
        received=f"{num_bytes} bytes",
        expected=f"also {what}",
        remedy="get the file again, or leave it out of the pattern",
    )
