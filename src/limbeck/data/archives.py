"""Unpacking of archives that may be hostile: into a neighbour folder, renamed when whole, kept in the cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from limbeck.bounds import ALWAYS_ALLOWED_BYTES, unpacked_limit
from limbeck.errors import DataError, OutputError
from limbeck.records import partial_path, remove_stale, tell_remade, write_listing
from limbeck.records.listing import discard, wrong_with

SUFFIXES = (".tar.gz", ".tgz", ".tar", ".zip")
MAX_UNPACKED_BYTES = 256 << 30
MAX_MEMBERS = 20_000_000
_BLOCK = 1 << 20


def is_archive(path: Path) -> bool:
    """Whether the name ends as an archive's that :func:`unpack` reads.

    Example:
        >>> is_archive(Path("pets.TAR.GZ")), is_archive(Path("pets"))
        (True, False)
    """
    return path.name.lower().endswith(SUFFIXES)


def archive_key(path: Path) -> str:
    """Return a folder name for what is made of an archive: its stem and SHA-256 of name, size and content."""
    digest = hashlib.sha256(f"{path.name} {path.stat().st_size} ".encode())
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    stem = next(path.name[: -len(suffix)] for suffix in SUFFIXES if path.name.lower().endswith(suffix))
    return f"{stem}-{digest.hexdigest()[:24]}"


def unpack(archive: Path, into: Path, *, max_bytes: int | None = None) -> Path:
    """Unpack an archive once and return its folder.

    The folder is ``into / archive_key(archive)``. It appears by rename when everything is unpacked; beside it lies a
    list of its files with their SHA-256: where one is changed, missing or added, the archive is unpacked again, and
    that is said. When two processes unpack at once, one folder wins and both return it.

    Args:
        archive: .tar.gz, .tgz, .tar or .zip.
        into: where folders are kept, made if missing.
        max_bytes: refuse more than this unpacked; by default 256 GiB, and 200 times the archive beyond 1 GiB.
    Raises:
        DataError: not an archive, damaged, encrypted, too large, no room; or a member that is a link, a device, or
            whose path is absolute, leads out of the folder or occurs twice.
    """
    target = into / archive_key(archive)
    if target.is_dir():
        if (wrong := wrong_with(target)) is None:
            return target
        if wrong:
            tell_remade(target, why=f"damaged ({wrong})")
        discard(target)
    limit = unpacked_limit(archive.stat().st_size) if max_bytes is None else max_bytes
    try:
        into.mkdir(parents=True, exist_ok=True)
        remove_stale(into, target.name)
        partial = partial_path(target)
        partial.mkdir()
    except OSError as error:
        raise DataError(f"Cannot write in {into}.", received=error.strerror, remedy="set LIMBECK_CACHE") from error
    try:
        files = _unpack_members(archive, partial, min(limit, MAX_UNPACKED_BYTES))
        write_listing(target, files)
        try:
            os.rename(partial, target)
        except OSError:
            if not target.is_dir():  # otherwise another process was first
                raise
    except (OSError, OutputError) as error:
        received = getattr(error, "received", None) or getattr(error, "strerror", None) or str(error)
        raise DataError(f"Cannot unpack {archive}.", received=received, expected=f"room in {into}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _unpack_members(archive: Path, folder: Path, limit: int) -> dict[str, str]:
    """Write every member below a folder; return the SHA-256 of each by its path."""
    unpacked, files = 0, {}
    with _damage_told(archive):
        for number, (name, content) in enumerate(_members(archive, limit)):
            if number >= MAX_MEMBERS:
                raise _refusal(archive, name, "more members than any data set has")
            inner = _safe_path(archive, name)
            path, digest = folder / inner, hashlib.sha256()
            if content is None:
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with open(path, "xb") as file:
                    while block := content.read(_BLOCK):
                        unpacked += len(block)
                        if unpacked > limit:
                            raise _refusal(archive, name, f"more than {limit} bytes unpacked")
                        file.write(block)
                        digest.update(block)
            except FileExistsError as error:
                raise _refusal(archive, name, "the same path twice") from error
            files[inner.as_posix()] = digest.hexdigest()
    return files


def _members(archive: Path, limit: int) -> Iterator[tuple[str, IO[bytes] | None]]:
    """Yield (path, content) of each member, in order; content is None for folders."""
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as zipped:
            if sum(entry.file_size for entry in zipped.infolist()) > limit:  # known before anything is written
                raise _refusal(archive, "all of them", f"more than {limit} bytes unpacked")
            for entry in zipped.infolist():
                kind = stat.S_IFMT(entry.external_attr >> 16)
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise _refusal(archive, entry.filename, "a link or device")
                if entry.flag_bits & 1:
                    raise _refusal(archive, entry.filename, "encrypted")
                if entry.is_dir():
                    yield entry.filename, None
                else:
                    with zipped.open(entry) as content:
                        yield entry.filename, content
        return
    with tarfile.open(archive, "r:*") as tar:
        for member in tar:
            if not (member.isreg() or member.isdir()):
                raise _refusal(archive, member.name, "a link or device")
            yield member.name, None if member.isdir() else tar.extractfile(member)
        for _ in range(ALWAYS_ALLOWED_BYTES // _BLOCK):  # to the end of the stream, where its checksum stands
            if tar.fileobj is None or not tar.fileobj.read(_BLOCK):
                break


def _safe_path(archive: Path, name: str) -> PurePosixPath:
    """The member's path below the folder; backslashes count as separators, as they would on Windows."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or (path.parts and ":" in path.parts[0]):
        raise _refusal(archive, name, "an absolute path")
    if ".." in path.parts:
        raise _refusal(archive, name, "a path that leads out of the folder")
    if "\0" in name:
        raise _refusal(archive, name, "a path with a zero byte")
    return path


def _refusal(archive: Path, name: str, reason: str) -> DataError:
    return DataError(
        f"{archive.name} is not unpacked: {reason}.",
        received=f"member {name!r:.200}",
        expected="an archive of plain files and folders below one folder",
        remedy="unpack it yourself if you trust it, and give the folder",
    )


@contextmanager
def _damage_told(archive: Path) -> Iterator[None]:
    damage = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError)
    try:
        yield
    except damage as error:
        raise DataError(
            f"{archive} is damaged or no archive.",
            received=f"{type(error).__name__}: {error}",
            expected="a whole " + ", ".join(SUFFIXES[:-1]) + " or .zip",
            remedy="get it again",
        ) from error
    except OSError as error:
        if error.errno is None:  # what gzip raises for a wrong header or checksum
            raise DataError(
                f"{archive} is damaged or no archive.", received=str(error), remedy="get it again"
            ) from error
        raise
