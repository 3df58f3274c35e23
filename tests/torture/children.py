"""Commands run in forked children of a process that has imported everything: limits, kills and faults for each."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from faults import Fault
from processes import end_session, in_session, listens, peak_kib

MEMORY_MIB = 500  # more than the process that forks
SECONDS = 5.0
DOCUMENTED = (0, 2, 130)
WAITING = 6  # times as long a command may take by the clock as by a processor's time, beside other work
POLL_SECONDS = 0.002
HALTED_SECONDS = 0.5  # a longer pause between two looks is none of the child's time
Target = Callable[[], object]
_running: set[int] = set()  # sessions that were begun and not seen to end


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    Args:
        code: exit code, negative for a signal.
        text: what it printed, standard error included.
        seconds: it took by the clock.
        busy_seconds: that a processor worked for it, which other work on the machine does not lengthen.
        memory_mib: peak beyond what the parent holds.
        operations: file operations that it made.
        fatal: signals that may have ended it: SIGKILL, or one that was sent where it did not listen.
        left_running: number of processes that it had started, and that were still there long after it.
        is_program: it was a new process of Python, which Ctrl-C ends with a traceback while it starts.
    """

    code: int
    text: str
    seconds: float
    busy_seconds: float
    memory_mib: float
    operations: int = 0
    fatal: tuple[int, ...] = ()
    left_running: int = 0
    is_program: bool = False

    def complaint(self, *, codes: Sequence[int] = DOCUMENTED, seconds: float = SECONDS) -> str:
        """Return what is wrong with this end; "" for nothing."""
        if self.is_stopped_start:
            return ""
        if self.code not in (*codes, *(-number for number in self.fatal)):
            return f"exit code {self.code}: {self.text[-300:]}"
        if "Traceback" in self.text:
            return f"a traceback: {self.text[-300:]}"
        if self.code == 2 and not self.text.strip():
            return "exit code 2 without a word"
        if self.left_running:
            return f"{self.left_running} processes left running"
        if self.busy_seconds > seconds or self.seconds > WAITING * seconds:
            return f"{self.busy_seconds:.1f} s of work, {self.seconds:.1f} s by the clock"
        return f"{self.memory_mib:.0f} MiB" if self.memory_mib > MEMORY_MIB else ""

    @property
    def is_stopped_start(self) -> bool:
        """Whether Ctrl-C came before limbeck was there to take it."""
        if not self.is_program or "mistake of limbeck" in self.text:
            return False
        is_init = self.code == 1 and self.text.endswith("KeyboardInterrupt\n") and "limbeck" not in self.text
        return is_init or self.code == -signal.SIGINT


class Child:
    """A command of limbeck, or a function, in a forked process of a session of its own.

    Args:
        arguments: of the command.
        folder: where it runs.
        fault: at one of its file operations.
        target: in place of the command; what it returns is the exit code, None is 0.
        number: of several at once in one folder.
        prints: folder for what it prints, where that is another one.
        program: what Python runs in a new process in place of all that; its file operations are not counted.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path,
        *,
        fault: Fault | None = None,
        target: Target | None = None,
        number: int = 0,
        prints: Path | None = None,
        program: Sequence[str] = (),
    ) -> None:
        kept = prints or folder
        self._printed, self._counted = kept / f".printed-{number}", kept / f".counted-{number}"
        self._base = peak_kib()
        self._seconds, self._looked = 0.0, time.perf_counter()
        self._fatal = [int(signal.SIGKILL)] if fault is not None and fault.at and fault.kind == "kill" else []
        self._outcome: Outcome | None = None
        self._is_program = bool(program)
        self.pid = _fork_listening_to_nothing()
        if self.pid == 0:
            _run_and_exit(arguments, folder, fault or Fault(), self._printed, self._counted, target, program)
        _running.add(self.pid)

    @property
    def seconds(self) -> float:
        """How long it runs already, without the time in which nobody looked: this process was halted, too."""
        now = time.perf_counter()
        self._seconds, self._looked = self._seconds + min(now - self._looked, HALTED_SECONDS), now
        return self._seconds

    def send(self, number: int, *, which: int | None = None) -> None:
        """Send a signal to it, or to one of the processes that it has started, unless it has ended.

        Args:
            number: of the signal.
            which: of its own processes, counted round; None for itself.
        """
        if self.poll() is not None:
            return
        others = [] if which is None else sorted(in_session(self.pid))
        pid = others[(which or 0) % len(others)] if others else self.pid
        if pid == self.pid and (number == signal.SIGKILL or not listens(pid, number)):
            self._fatal.append(number)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    def poll(self) -> Outcome | None:
        """Return how it ended; None where it has not."""
        if self._outcome is None:
            ended, status, usage = os.wait4(self.pid, os.WNOHANG)
            if ended:
                _running.discard(self.pid)
                self._outcome = self._ended(os.waitstatus_to_exitcode(status), usage)
        return self._outcome

    def wait(self, timeout: float) -> Outcome:
        """Wait until it ends; it is killed after ``timeout`` seconds, which its time then tells."""
        while (outcome := self.poll()) is None:
            if self.seconds > timeout:
                os.killpg(self.pid, signal.SIGKILL)
                timeout = float("inf")
            time.sleep(POLL_SECONDS)
        return outcome

    def _ended(self, code: int, usage: resource.struct_rusage) -> Outcome:
        seconds, busy = self.seconds, usage.ru_utime + usage.ru_stime
        text = self._printed.read_text(errors="replace") if self._printed.exists() else ""
        operations = max((int(path.read_text() or 0) for path in self._counts()), default=0)
        for path in (self._printed, *self._counts()):
            path.unlink(missing_ok=True)
        memory = max(0, usage.ru_maxrss - self._base) / 1024
        return Outcome(code, text, seconds, busy, memory, operations, tuple(self._fatal),
                       end_session(self.pid), self._is_program)  # fmt: skip

    def _counts(self) -> list[Path]:
        return list(self._counted.parent.glob(f"{self._counted.name}*"))


def run(
    arguments: Sequence[str],
    folder: Path,
    *,
    fault: Fault | None = None,
    kill: tuple[int, float] | None = None,
    timeout: float = 60.0,
    target: Target | None = None,
) -> Outcome:
    """Run a command of limbeck, or a function, in a forked child whose working folder is ``folder``.

    Args:
        arguments: of the command.
        folder: where it runs.
        fault: at one of its file operations.
        kill: a signal, and the seconds after which it is sent.
        timeout: in seconds; it is killed then, and that is told by its time.
        target: in place of the command.
    """
    child = Child(arguments, folder, fault=fault, target=target)
    if kill is not None:
        wait_until(lambda: child.poll() is not None or child.seconds >= kill[1])
        child.send(kill[0])
    return child.wait(timeout)


def end_all() -> None:
    """End what was begun and is still there: where this process is told to stop."""
    for pid in _running:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def wait_until(happens: Callable[[], bool]) -> None:
    """Look again and again until something is so."""
    while not happens():
        time.sleep(POLL_SECONDS)


def write_count(fault: Fault, file: Path) -> None:
    """Write how many file operations a process has made, without making them known to its fault."""
    fault.at, count = 0, fault.count
    with contextlib.suppress(OSError):
        file.write_text(str(count))


def command(arguments: Sequence[str]) -> int:
    """Do what the program ``limbeck`` does, in this process; return its exit code."""
    from limbeck.cli import main

    sys.argv = ["limbeck", *arguments]
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # not before: a signal would meet the campaign
        main()
    except SystemExit as ended:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left to stop
        return ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    except KeyboardInterrupt as stopped:
        if stopped.__traceback__ is not None and stopped.__traceback__.tb_next is not None:
            raise  # it came within limbeck
        return 130
    return 0


def _fork_listening_to_nothing() -> int:
    """Fork; signals end the child from its first moment on, until it has handlers of its own."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    handlers = [signal.signal(number, signal.SIG_DFL) for number in numbers]
    pid = os.fork()
    if pid:
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
    return pid


def _run_and_exit(
    arguments: Sequence[str],
    folder: Path,
    fault: Fault,
    printed: Path,
    counted: Path,
    target: Target | None,
    program: Sequence[str],
) -> None:
    """Be the child: never returns, whatever is raised or sent."""
    code = 70
    try:
        os.setsid()
        os.chdir(folder)
        print_into(printed)
        random.seed(0)
        if program:
            os.execv(sys.executable, [sys.executable, *program])
        os.environ["TORTURE_COUNTED"] = str(counted)
        fault.install(folder)
        fault.count = 0
        if target is None:
            code = command(arguments)
        else:
            code = target() or 0  # type: ignore[assignment]
    except BaseException as error:
        os.write(2, f"Traceback: {type(error).__name__}: {error}".encode())
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        write_count(fault, counted)
        os._exit(code if isinstance(code, int) else 70)


def print_into(path: Path) -> None:
    """Let what this process prints, errors too, go into a file."""
    output = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
