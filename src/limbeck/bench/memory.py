"""Peak memory of one call, in a process of its own."""

from __future__ import annotations

import contextlib
import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from limbeck.errors import InvalidValue

STATUS = Path("/proc/self/status")


def peak_bytes(module: str, function: str, settings: dict[str, Any]) -> int:
    """Return how far the resident memory rises in a call above what is held just before it.

    A fresh process runs ``module.function(**settings)``, which makes the inputs, and measures the call that this
    returns. Linux keeps a process's peak, which is set back before the call; elsewhere it is the rise of ``ru_maxrss``,
    too low where making the inputs took more than they hold.

    Args:
        module: importable name.
        function: its function, which returns a function without arguments.
        settings: of that function, JSON-able.
    Returns:
        Bytes, at least 0.
    Raises:
        InvalidValue: the process failed; its last line is shown.
    """
    done = subprocess.run(
        [sys.executable, "-m", __name__, module, function, json.dumps(settings)], capture_output=True, text=True
    )
    if done.returncode:
        raise InvalidValue(
            f"The peak memory of {module}.{function} could not be measured.",
            received=done.stderr.strip().rpartition("\n")[2] or f"exit code {done.returncode}",
            expected="a process that ends well, with memory enough",
        )
    return int(done.stdout.split()[-1])


def resident_bytes() -> int:
    """Return how much memory this process holds now; where only its peak is known, that."""
    return _resident_bytes("VmRSS")


def peak_resident_bytes() -> int:
    """Return how much memory this process has held at most; what its parent held does not count."""
    return _resident_bytes("VmHWM")


def _rise_of(module: str, function: str, settings: dict[str, Any]) -> int:
    call = getattr(importlib.import_module(module), function)(**settings)
    _forget_peak()
    before = _resident_bytes("VmRSS")
    call()
    return max(0, _resident_bytes("VmHWM") - before)


def _forget_peak() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak falls to what is held now


def _resident_bytes(what: str) -> int:
    """Now (VmRSS) or at most (VmHWM). Not ``ru_maxrss`` on Linux: a child starts with that of its parent."""
    if STATUS.exists():
        fields = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
        return 1024 * int(fields[what].split()[0])
    import resource  # no Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


if __name__ == "__main__":
    print(_rise_of(sys.argv[1], sys.argv[2], json.loads(sys.argv[3])))
