"""Where data files are looked for, and how missing ones are fetched: checksums always, several mirrors."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from limbeck.errors import DataError

_TIMEOUT_SECONDS = 30
_BLOCK = 1 << 20


def cache_folder() -> Path:
    """Return the folder for downloads and decoded data: ``LIMBECK_CACHE``, else the platform's cache folder."""
    if given := os.environ.get("LIMBECK_CACHE"):
        return Path(given).expanduser()
    import pooch

    return Path(pooch.os_cache("limbeck"))


def search_folders(name: str) -> list[Path]:
    """Return where the files of a data set are looked for: below ``LIMBECK_DATA`` first, then below the cache."""
    given = os.environ.get("LIMBECK_DATA")
    shared = [Path(given).expanduser() / name, Path(given).expanduser()] if given else []
    return [*shared, cache_folder() / name]


def find_file(name: str, file_names: Sequence[str]) -> Path | None:
    """Return the first of ``file_names``, in that order, that exists in a search folder of the set ``name``."""
    for file_name in file_names:
        for folder in search_folders(name):
            if (folder / file_name).exists():
                return folder / file_name
    return None


def missing(name: str, file_names: Sequence[str], *, reason: str) -> DataError:
    """Return the error for a data set whose files are nowhere."""
    given = os.environ.get("LIMBECK_DATA")
    places = [str(Path(given) / name)] if given else [f"a folder {name} in the folder that LIMBECK_DATA names"]
    return DataError(
        f"The data set {name} is not here.",
        received=reason,
        expected=", ".join(file_names),
        remedy=f"put the file(s) into {' or '.join([*places, str(cache_folder() / name)])}",
    )


def download(name: str, file_name: str, *, urls: Sequence[str], md5: str) -> Path:
    """Fetch one file into the cache, from the first mirror that has it right.

    Args:
        name: of the data set: the folder in the cache.
        file_name: what the file is called there.
        urls: the mirrors, in order.
        md5: of the file, hexadecimal. A file with another checksum is not kept.
    Returns:
        The file's path.
    Raises:
        DataError: no mirror gave the right file; the message says what each did and where to put the file by hand.
    """
    folder = cache_folder() / name
    failures = []
    for url in urls:
        outcome = _try_mirror(url, folder / file_name, md5)
        if isinstance(outcome, Path):
            return outcome
        failures.append(f"{url}: {outcome}")
    raise missing(name, [file_name], reason="; ".join(failures) or "no mirror is known")


def _try_mirror(url: str, target: Path, md5: str) -> Path | str:
    """Fetch one file, or return why it could not be had."""
    import pooch

    try:
        with _quiet(pooch.get_logger()):
            found = pooch.retrieve(
                url,
                known_hash=f"md5:{md5}",
                fname=target.name,
                path=target.parent,
                downloader=pooch.HTTPDownloader(timeout=_TIMEOUT_SECONDS),
            )
    except (OSError, ValueError) as error:  # requests' errors are OSErrors; a wrong checksum is a ValueError
        return f"{type(error).__name__}: {error}".splitlines()[0][:300]
    return Path(found)


def check_md5(path: Path, md5: str, *, content: bytes | None = None) -> None:
    """Raise DataError unless the file, or its unpacked ``content``, has this checksum."""
    digest = hashlib.md5(content or b"", usedforsecurity=False)
    if content is None:
        with open(path, "rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    if digest.hexdigest() != md5:
        raise DataError(
            f"{path} is not the published file.",
            received=f"MD5 {digest.hexdigest()}" + ("" if content is None else " unpacked"),
            expected=md5,
            remedy="remove it and get it again",
        )


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
