"""How much a file or a setting may ask for: no more memory than a stated limit, and no more than the file holds."""

from __future__ import annotations

import math
import os
import stat
import zipfile
from pathlib import Path

from limbeck.errors import DataError, InvalidValue, LimbeckError

VARIABLE = "LIMBECK_MEMORY_LIMIT"
DEFAULT_GIB = 16.0
MAX_RATIO = 200  # unpacked over packed, once more than a gibibyte is unpacked
ALWAYS_ALLOWED_BYTES = 1 << 30
IMAGES_AT_ONCE = 64  # that must fit into the limit as float32
_RAISE = f"if you mean it, raise the limit: --memory-limit GIB, or the environment variable {VARIABLE}"
_SIGNS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class TooLarge(DataError, InvalidValue):
    """Something that would take more memory than the limit."""


def memory_limit_bytes() -> int:
    """Return how much memory one array, image or network may take: 16 GiB, or what the environment says.

    The limit is for each thing that a file or a setting asks for, not for the whole process.

    Raises:
        InvalidValue: LIMBECK_MEMORY_LIMIT is no number of GiB above 0.
    """
    text = os.environ.get(VARIABLE, "")
    try:
        gib = float(text) if text else DEFAULT_GIB
    except ValueError:
        gib = math.nan
    if not (math.isfinite(gib) and gib > 0):
        raise InvalidValue(f"{VARIABLE} is no limit.", received=text, expected="a number of GiB above 0")
    return int(gib * (1 << 30))


def set_memory_limit(gib: float) -> None:
    """Set the limit of this process and of those that it starts."""
    os.environ[VARIABLE] = str(gib)
    memory_limit_bytes()


def require_memory(num_bytes: int, what: str) -> None:
    """Raise TooLarge where ``num_bytes`` are more than the limit.

    Example:
        >>> require_memory(1 << 50, "The array of 2**50 bytes")
        Traceback (most recent call last):
        ...
        limbeck.bounds.TooLarge: The array of 2**50 bytes would take too much memory.
          received: 1,048,576.0 GiB
          expected: at most 16.0 GiB
          remedy: if you mean it, raise the limit: --memory-limit GIB, or the environment variable LIMBECK_MEMORY_LIMIT
    """
    limit = memory_limit_bytes()
    if num_bytes > limit:
        raise TooLarge(
            f"{what} would take too much memory.",
            received=f"{num_bytes / (1 << 30):,.1f} GiB" if num_bytes < 1 << 90 else "more than any machine has",
            expected=f"at most {limit / (1 << 30):,.1f} GiB",
            remedy=_RAISE,
        )


def require_image_memory(height: int, width: int, what: str) -> None:
    """Raise TooLarge where 64 RGB images of this size, as float32, are more than the limit."""
    require_memory(IMAGES_AT_ONCE * 3 * 4 * height * width, f"A batch of {IMAGES_AT_ONCE} of {what}")


def require_plain_file(path: str | Path) -> None:
    """Raise DataError for a pipe, socket or device, which would be waited for, or never end.

    What is missing, and a folder, is left to whoever opens it.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        kind = next((name for is_kind, name in _SIGNS if is_kind(mode)), "no plain file")
        raise DataError(f"{path} is no file.", received=kind, expected="a plain file")


def unpacked_limit(packed_bytes: int) -> int:
    """Return how much an archive may hold unpacked: 1 GiB, or 200 times its own size where that is more."""
    return max(ALWAYS_ALLOWED_BYTES, MAX_RATIO * packed_bytes)


def require_honest_zip(path: Path, error: type[LimbeckError] = DataError) -> None:
    """Raise an error for a zip file, such as .npz or torch's, whose members are far larger than the file.

    Args:
        path: the file; where it is no zip file, whoever reads it says so.
        error: the kind of error.
    """
    try:
        with zipfile.ZipFile(path) as file:
            claimed = sum(entry.file_size for entry in file.infolist())
        limit = unpacked_limit(path.stat().st_size)
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return
    if claimed > limit:
        raise error(
            f"{path} unpacks to far more than it is.",
            received=f"{claimed / (1 << 30):,.1f} GiB in a file of {path.stat().st_size / (1 << 20):,.1f} MiB",
            expected=f"at most {limit / (1 << 30):,.1f} GiB: 1 GiB, or {MAX_RATIO} times the file",
            remedy="unpack it yourself if you trust it",
        )
    require_memory(claimed, f"The content of {path}")
