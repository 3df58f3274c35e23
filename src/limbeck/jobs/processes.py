"""Jobs on this machine, each in a fresh process, a few at a time."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from limbeck.jobs.job import Job
from limbeck.jobs.runner import require_count
from limbeck.jobs.work import Report, bound_threads, count_cpus, perform, thread_environment

GRACE_SECONDS = 30.0  # that a job has to end its step and write its checkpoint


class ProcessesRunner:
    """Runs every attempt in a process of its own, so that one that dies takes no other with it.

    Args:
        num_workers: processes at once; by default as many as there are CPUs.

    Raises:
        InvalidValue: ``num_workers`` below 1.
    """

    def __init__(self, num_workers: int | None = None) -> None:
        require_count("num_workers", num_workers)
        self.num_workers = num_workers or count_cpus()
        self._threads = 1
        self._running: dict[str, _Worker] = {}
        self._unsent: list[tuple[str, Report]] = []

    def open(self, threads_per_job: int | None) -> int:
        """Share the CPUs out among the processes unless told otherwise."""
        self._threads = threads_per_job or max(1, count_cpus() // self.num_workers)
        return self.num_workers

    def start(self, job: Job, root: Path) -> None:
        """Start a process. A job that cannot be sent to one has failed."""
        context = multiprocessing.get_context("spawn")
        receiver, sender = context.Pipe(duplex=False)
        try:
            process = context.Process(
                target=_work, args=(sender, pickle.dumps(job), str(root), self._threads), name=job.name
            )
            with _environment(thread_environment(self._threads)):
                process.start()
        except Exception as error:
            receiver.close()
            self._unsent.append((job.name, Report(0.0, type(error).__name__, f"cannot be sent to a process: {error}")))
        else:
            self._running[job.name] = _Worker(process, receiver, time.perf_counter())
        finally:
            sender.close()

    def wait(self) -> list[tuple[str, Report]]:
        """Wait for a report, or for the end of a process that gave none."""
        if self._unsent:
            unsent, self._unsent = self._unsent, []
            return unsent
        ready = wait([worker.receiver for worker in self._running.values()])
        ended = [name for name, worker in self._running.items() if worker.receiver in ready]
        return [(name, self._running.pop(name).end()) for name in ended]

    def close(self) -> None:
        """Send every process a SIGTERM, at which training writes its checkpoint; end what goes on nevertheless."""
        workers, self._running = list(self._running.values()), {}
        for worker in workers:
            worker.process.terminate()
        deadline = time.perf_counter() + GRACE_SECONDS
        try:
            for worker in workers:
                worker.process.join(max(0.0, deadline - time.perf_counter()))
        finally:
            for worker in workers:
                worker.process.kill()
                worker.process.join()
                worker.receiver.close()


@dataclass(frozen=True)
class _Worker:
    process: SpawnProcess
    receiver: Connection
    started: float

    def end(self) -> Report:
        """Return the report, or say what the process died of."""
        try:
            report: Report | None = self.receiver.recv()
        except (EOFError, OSError):
            report = None
        self.receiver.close()
        self.process.join(GRACE_SECONDS)
        self.process.kill()  # a thread of the job's that does not end
        self.process.join()
        code = self.process.exitcode or 0
        self.process.close()
        if report is not None:
            return report
        elapsed = time.perf_counter() - self.started
        return Report(elapsed, _named(code), "the process died without a word")


def _named(exit_code: int) -> str:
    if exit_code >= 0:
        return f"exit code {exit_code}"
    with contextlib.suppress(ValueError):
        return f"signal {signal.Signals(-exit_code).name}"
    return f"signal {-exit_code}"


def _work(sender: Connection, packed: bytes, root: str, num_threads: int) -> None:
    """What a process does: unpack the job after the threads are bounded, do it, report."""
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # a Ctrl-C in the terminal reaches the parent alone, which asks each worker once
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    clock = time.perf_counter()
    try:
        bound_threads(num_threads)
        report = perform(pickle.loads(packed), Path(root))
    except (Exception, KeyboardInterrupt) as error:
        report = Report(time.perf_counter() - clock, type(error).__name__, str(error))
    with contextlib.suppress(OSError):  # nobody listens any more
        sender.send(report)
    sender.close()


def _stop_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os._exit(1)


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables while the block runs: a process started in it has them before its first import."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
