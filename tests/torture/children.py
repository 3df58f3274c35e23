"""Commands run in forked children of a process that has imported everything: limits, kills and faults for each."""

from __future__ import annotations

import errno
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MEMORY_MIB = 500  # more than the process that forks
SECONDS = 5.0
DOCUMENTED = (0, 2, 130)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    Args:
        code: exit code, negative for a signal.
        text: what it printed, standard error included.
        seconds: it took.
        memory_mib: peak beyond what the parent holds.
        operations: file operations that it made.
    """

    code: int
    text: str
    seconds: float
    memory_mib: float
    operations: int = 0

    def complaint(self, *, codes: Sequence[int] = DOCUMENTED, seconds: float = SECONDS) -> str:
        """Return what is wrong with this end; "" for nothing."""
        if self.code not in codes:
            return f"exit code {self.code}: {self.text[-300:]}"
        if "Traceback" in self.text:
            return f"a traceback: {self.text[-300:]}"
        if self.code == 2 and not self.text.strip():
            return "exit code 2 without a word"
        if self.seconds > seconds:
            return f"{self.seconds:.1f} s"
        return f"{self.memory_mib:.0f} MiB" if self.memory_mib > MEMORY_MIB else ""


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
        """Watch this process's file operations through Python's audit events."""
        root = str(folder)

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if event == "open":
                is_ours = isinstance(arguments[2], int) and bool(arguments[2] & WRITING)
            else:
                is_ours = event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link")
            if not is_ours or not os.path.abspath(os.fsdecode(_path(arguments[0]))).startswith(root):
                return
            self.count += 1
            if self.at and self.count >= self.at:
                if self.kind == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                number = getattr(errno, self.kind)
                if event not in ("os.remove", "os.rmdir"):  # which a full disk allows
                    raise OSError(number, os.strerror(number), arguments[0])

        sys.addaudithook(hook)


def _path(argument: Any) -> Any:
    return argument if isinstance(argument, (str, bytes, os.PathLike)) else b""


def run(
    arguments: Sequence[str],
    folder: Path,
    *,
    fault: Fault | None = None,
    kill: tuple[int, float] | None = None,
    timeout: float = 60.0,
    target: Callable[[], object] | None = None,
) -> Outcome:
    """Run a command of limbeck, or a function, in a forked child whose working folder is ``folder``.

    Args:
        arguments: of the command.
        folder: where it runs; what it prints is kept there.
        fault: at one of its file operations.
        kill: a signal, and the seconds after which it is sent.
        timeout: in seconds; it is killed then, and that is told by its time.
        target: in place of the command.
    """
    printed, counted = folder / ".printed", folder / ".counted"
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    if (pid := os.fork()) == 0:
        _child(arguments, folder, fault or Fault(), printed, counted, target)
    sent, deadline = kill is None, start + timeout
    while True:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            break
        now = time.perf_counter()
        if kill is not None and not sent and now - start >= kill[1]:
            os.kill(pid, kill[0])
            sent = True
        if now > deadline:
            os.kill(pid, signal.SIGKILL)
            deadline = float("inf")
        time.sleep(0.002)
    code = os.waitstatus_to_exitcode(status)
    text = printed.read_text(errors="replace") if printed.exists() else ""
    operations = int(counted.read_text() or 0) if counted.exists() else 0
    for path in (printed, counted):
        path.unlink(missing_ok=True)
    memory = max(0, usage.ru_maxrss - base) / 1024
    return Outcome(code, text, time.perf_counter() - start, memory, operations)


def _child(
    arguments: Sequence[str],
    folder: Path,
    fault: Fault,
    printed: Path,
    counted: Path,
    target: Callable[[], object] | None,
) -> None:
    code: Any = 70
    try:
        os.chdir(folder)
        output = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        random.seed(0)
        fault.install(folder)
        fault.count = 0
        if target is None:
            from limbeck.cli import main

            sys.argv = ["limbeck", *arguments]
            main()
        else:
            target()
            code = 0
    except SystemExit as ended:
        code = ended.code or 0
    except BaseException as error:
        os.write(2, f"Traceback: {type(error).__name__}: {error}".encode())
    finally:
        fault.at, count = 0, fault.count
        counted.write_text(str(count))
        os._exit(code if isinstance(code, int) else 70)
