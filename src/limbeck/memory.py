"""What becomes of memory that a training step frees: the next one gets it, or the system."""

from __future__ import annotations

import ctypes
import functools
import os
import platform

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # of glibc's mallopt
_MMAP_THRESHOLD_BYTES = 1 << 20
_TRIM_THRESHOLD_BYTES = 1 << 30
_SETTINGS_BY_USER = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_MMAP_MAX_")


@functools.cache
def set_malloc_thresholds() -> bool:
    """Ask the C library to keep memory that is freed, up to 1 GiB, instead of giving it back to the system.

    A step on the CPU allocates activations and gradients of some megabytes and frees them again. By default glibc
    maps such blocks singly and returns them to the system each time, and the kernel clears every page anew: a fifth of
    a step of MNIST's 2 x 800 network, half of one of a convnet on images of 105 x 105. With the setting no block is
    mapped singly any more, whatever its size; of what is free at the end of the heap more than 1 GiB is given back.
    Free blocks within the heap stay with the process: it holds more than it uses (1.1 GB instead of 0.75 for that
    convnet). The setting holds for the whole process, as any allocator's setting does. It is made once, and not at all
    where the user chose his own (MALLOC_..._ variables, glibc.malloc tunables), where LIMBECK_MALLOC is 0, or where
    the C library is another one.

    Returns:
        Whether the setting was made.
    """
    return _set((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _TRIM_THRESHOLD_BYTES))


@functools.cache
def return_freed_blocks() -> bool:
    """Ask the C library to give blocks of a megabyte or more back to the system as soon as they are freed.

    A sharded network gathers block after block and frees it again. glibc raises the size from which it maps blocks
    singly with each one that is freed, so what is gathered comes to lie in the heap, with gaps: two ranks with 25
    million weights hold 26 to 32 bytes a weight each, 11 with the setting. It holds for the whole process, and is not
    made where :func:`set_malloc_thresholds` would not be.

    Returns:
        Whether the setting was made.
    """
    return _set((_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES))


def _set(*settings: tuple[int, int]) -> bool:
    chosen = any(name in os.environ for name in _SETTINGS_BY_USER) or "glibc.malloc" in os.environ.get(
        "GLIBC_TUNABLES", ""
    )
    if chosen or os.environ.get("LIMBECK_MALLOC") == "0" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all(mallopt(name, value) == 1 for name, value in settings)
