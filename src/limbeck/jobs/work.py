"""The making of one job's folder, the same whichever process it happens in."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from limbeck.errors import OutputError
from limbeck.jobs.job import Job
from limbeck.records import make_folder, remove_stale, write_text
from limbeck.waiting import spin_environment

if sys.platform != "win32":
    import fcntl

TRACEBACK = "traceback.txt"  # of the last attempt, in the workplace
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Report:
    """How one attempt ended.

    Args:
        elapsed_seconds: of the attempt.
        problem: None, or what went wrong: an exception's class, "exit code 3", "signal SIGKILL".
        message: the exception's.
    """

    elapsed_seconds: float
    problem: str | None = None
    message: str = ""


def perform(job: Job, root: Path) -> Report:
    """Make a job's output and report how it went. A Ctrl-C passes."""
    clock = time.perf_counter()
    try:
        make(job, root)
    except (Exception, SystemExit) as error:
        with contextlib.suppress(OutputError):
            write_text(job.work_dir(root) / TRACEBACK, traceback.format_exc())
        return Report(time.perf_counter() - clock, type(error).__name__, str(error))
    return Report(time.perf_counter() - clock)


def make(job: Job, root: Path) -> None:
    """Make a job's output in its workplace, then give it its name at once.

    Where another process makes the same, this one waits for it; where folders cannot be locked, the second one to
    end finds the output and drops its own.

    Raises:
        OutputError: the folder cannot be written.
    """
    place, work_dir = job.place(root), job.work_dir(root)
    while not place.is_dir():
        with held(make_folder(work_dir, remedy="choose another folder for the jobs")) as is_ours:
            if is_ours and place.is_dir():  # done between the two looks
                shutil.rmtree(work_dir, ignore_errors=True)
            elif is_ours:
                (work_dir / TRACEBACK).unlink(missing_ok=True)
                remove_stale(work_dir)
                job.work(work_dir, *job.arguments)
                _put(work_dir, place)


def _put(work_dir: Path, place: Path) -> None:
    try:
        os.replace(work_dir, place)
    except OSError as error:
        if not place.is_dir():
            raise OutputError(f"Cannot rename {work_dir}.", received=error.strerror, expected=str(place)) from error
        shutil.rmtree(work_dir, ignore_errors=True)


@contextlib.contextmanager
def held(work_dir: Path) -> Iterator[bool]:
    """Lock a folder while the block runs, and tell whether it is still in its place when the lock is had."""
    if sys.platform == "win32":
        yield True
        return
    try:
        folder = os.open(work_dir, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield work_dir.is_dir() and os.path.samestat(os.fstat(folder), work_dir.stat())
    finally:
        os.close(folder)


def thread_environment(num_threads: int) -> dict[str, str]:
    """Return the environment variables that bound the threads of libraries not yet imported, and their spinning."""
    return {**dict.fromkeys(THREAD_VARIABLES, str(num_threads)), **spin_environment()}


def bound_threads(num_threads: int) -> None:
    """Bound the threads of this process: of torch if it is imported, otherwise of when it will be."""
    os.environ.update(thread_environment(num_threads))
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(num_threads)


def count_cpus() -> int:
    """Return how many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
