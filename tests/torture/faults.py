"""What goes wrong at a command's n-th file operation: a kill, or an error of the system."""

from __future__ import annotations

import errno
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGING = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link")
FREEING = ("os.remove", "os.rmdir")  # which a full disk allows


@dataclass
class Fault:
    """What happens at a command's n-th file operation below a folder: a kill, or an error of the system.

    Args:
        at: number of the operation, from 1; 0 for none, which counts them.
        kind: "kill", or the name of an errno such as "ENOSPC"; that error then stays, as a full disk does.
    """

    at: int = 0
    kind: str = "kill"
    count: int = 0

    def install(self, folder: Path) -> None:
        """Watch file operations of this process, and of those that it forks, through Python's audit events."""
        root = str(folder)

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if event == "open":
                is_ours = isinstance(arguments[2], int) and bool(arguments[2] & WRITING)
            else:
                is_ours = event in CHANGING
            if not is_ours or not os.path.abspath(os.fsdecode(_path(arguments[0]))).startswith(root):
                return
            self.count += 1
            if self.at and self.count >= self.at:
                if self.kind == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                number = getattr(errno, self.kind)
                if event not in FREEING:
                    raise OSError(number, os.strerror(number), arguments[0])

        sys.addaudithook(hook)


def _path(argument: Any) -> Any:
    return argument if isinstance(argument, (str, bytes, os.PathLike)) else b""
