"""What the system tells of processes: their memory, the signals that they listen to, and who runs in a session."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
from pathlib import Path

ORPHAN_SECONDS = 10.0  # in which what a command has started must end, once it has ended itself


def peak_kib() -> int:
    """Return the most memory that this process has held, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def listens(pid: int, number: int) -> bool:
    """Return whether a process has a handler for a signal just now."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def end_session(leader: int) -> int:
    """Wait for what else runs in a child's session; end what does not end, and return how many those are."""
    until = time.perf_counter() + ORPHAN_SECONDS
    while others := in_session(leader):
        if time.perf_counter() > until:
            for pid in others:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            return len(others)
        time.sleep(0.02)
    return 0


def in_session(leader: int) -> list[int]:
    """Return the living processes of a session."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == leader and fields[0] not in "ZX" and int(folder.name) != leader:
                    found.append(int(folder.name))
    return found
