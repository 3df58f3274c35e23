"""Many jobs in the order of their needs, on any runner."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from limbeck.errors import InvalidValue, JobFailure, JobsFailed, unknown_name
from limbeck.jobs.job import Job, checked
from limbeck.jobs.processes import ProcessesRunner
from limbeck.jobs.ray_runner import RayRunner
from limbeck.jobs.runner import Runner, require_count
from limbeck.jobs.serial import SerialRunner
from limbeck.jobs.work import Report
from limbeck.ranks.launched import refuse_ranks
from limbeck.records import make_folder

RUNNERS = ("serial", "processes", "ray")


@dataclass(frozen=True)
class JobOutcome:
    """One job that is done.

    Args:
        name: the job's.
        folder: of its output.
        num_attempts: in this run; 0 where the output was there.
        elapsed_seconds: of the attempt that made it; 0 where it was there.
    """

    name: str
    folder: Path
    num_attempts: int
    elapsed_seconds: float

    @property
    def was_cached(self) -> bool:
        """Whether nothing had to be done."""
        return self.num_attempts == 0


def runner_from(text: str, *, keeps_workers: bool = False, takes_gpus: bool = False) -> Runner:
    """Return the runner of a text: ``serial``, ``processes``, ``processes:4``, ``ray``, ``ray://host:10001``.

    Args:
        text: the runner.
        keeps_workers: as :class:`RayRunner` takes it; of no meaning to the others.
        takes_gpus: likewise.

    Raises:
        UnknownName: another name.
        InvalidValue: a count that is no integer above 0, or an address without a port.
        MissingPackage: Ray is not installed.

    Example:
        >>> runner_from("processes:2").num_workers
        2
    """
    if text.startswith("ray://"):
        return RayRunner(text, keeps_workers=keeps_workers, takes_gpus=takes_gpus)
    name, separator, count = text.partition(":")
    if name not in RUNNERS:
        raise unknown_name("runner of jobs", name, RUNNERS)
    if separator and (name != "processes" or not count.isdecimal() or int(count) < 1):
        expected = {"serial": "serial", "processes": "processes:N, N >= 1", "ray": "ray, or ray://HOST:PORT"}[name]
        raise InvalidValue(f"The runner {name} does not take {count!r}.", received=text, expected=expected)
    if name == "ray":
        return RayRunner(keeps_workers=keeps_workers, takes_gpus=takes_gpus)
    return ProcessesRunner(int(count) if count else None) if name == "processes" else SerialRunner()


def run_jobs(
    jobs: Sequence[Job],
    root: str | Path,
    *,
    runner: str | Runner = "serial",
    threads_per_job: int | None = None,
    retries: int = 1,
    progress: Callable[[str], object] | None = None,
) -> list[JobOutcome]:
    """Make the outputs that are missing, each after those it needs; a job that fails stops only those that need it.

    ``root/NAME-KEY/`` is a job's output, and nothing is done where it is there. It is made in
    ``root/NAME-KEY.partial/``, which a job that failed or was stopped leaves for its next attempt. With the same
    ``threads_per_job`` every runner makes the same outputs.

    Args:
        jobs: in the order in which they begin, as far as their needs allow.
        root: folder of the outputs, made where it is missing; for a cluster on a file system that it shares.
        runner: a text, see :func:`runner_from`, or a runner.
        threads_per_job: CPU threads of each; None gives processes equal shares of the CPUs, jobs on Ray one each,
            and leaves this process as it is.
        retries: attempts at a job after its first has failed.
        progress: called with a line whenever something happens.

    Returns:
        One outcome a job, in the order given.

    Raises:
        InvalidValue, UnknownName: names, needs or counts that cannot be, or ranks of torchrun; nothing was begun.
        JobsFailed: jobs that failed in every attempt; all that do not need them are done.
        KeyboardInterrupt: stopped by Ctrl-C or SIGTERM, as all that ran.

    Example:
        >>> import tempfile
        >>> def write(folder, text):
        ...     (folder / "text").write_text(text)
        >>> with tempfile.TemporaryDirectory() as root:
        ...     jobs = [Job("first", "0a", write, ("one",)), Job("second", "0b", write, ("two",), needs=("first",))]
        ...     outcomes = run_jobs(jobs, root)
        ...     [outcome.folder.name for outcome in outcomes]
        ['first-0a', 'second-0b']
    """
    refuse_ranks()
    require_count("threads_per_job", threads_per_job)
    require_count("retries", retries, least=0)
    known = checked(jobs)
    chosen = runner_from(runner) if isinstance(runner, str) else runner
    folder = make_folder(Path(root), remedy="choose another folder for the jobs").resolve()
    run = _Run(known, folder, num_attempts=1 + retries, say=progress or _silent)
    if run.waiting:
        with _terminable():
            try:
                run.finish(chosen, chosen.open(threads_per_job))
            except KeyboardInterrupt:
                run.say("stopping: what runs ends its step and keeps its work; Ctrl-C again ends it at once")
                raise
            finally:
                chosen.close()
    if run.failures:
        raise JobsFailed(list(run.failures.values()), not_run=run.not_run(), num_jobs=len(known))
    return [run.done[job.name] for job in known]


@dataclass
class _Run:
    """Which jobs wait, run, are done, have failed."""

    jobs: list[Job]
    root: Path
    num_attempts: int
    say: Callable[[str], object]
    done: dict[str, JobOutcome] = field(default_factory=dict)
    failures: dict[str, JobFailure] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    waiting: list[Job] = field(default_factory=list)
    running: dict[str, Job] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for job in self.jobs:
            if job.place(self.root).is_dir():
                self.done[job.name] = JobOutcome(job.name, job.place(self.root), 0, 0.0)
                self.say(f"{job.name}: was there")
            else:
                self.waiting.append(job)

    def finish(self, runner: Runner, capacity: int | None) -> None:
        """Run all that can be run."""
        while True:
            ready = [job for job in self.waiting if all(need in self.done for need in job.needs)]
            for job in ready[: None if capacity is None else capacity - len(self.running)]:
                self.begin(job)
                runner.start(job, self.root)
            if not self.running:
                return
            for name, report in runner.wait():
                self.end(self.running.pop(name), report)

    def begin(self, job: Job) -> None:
        """Count an attempt."""
        self.waiting.remove(job)
        self.running[job.name] = job
        self.attempts[job.name] = self.attempts.get(job.name, 0) + 1
        self.say(f"{job.name}: begins" + (" again" if self.attempts[job.name] > 1 else ""))

    def end(self, job: Job, report: Report) -> None:
        """Note what came of an attempt. A worker may also die after its last deed."""
        attempts = self.attempts[job.name]
        if report.problem is None or job.place(self.root).is_dir():
            self.done[job.name] = JobOutcome(job.name, job.place(self.root), attempts, report.elapsed_seconds)
            self.say(f"{job.name}: done in {report.elapsed_seconds:.1f} s ({len(self.done)} of {len(self.jobs)})")
            return
        self.say(f"{job.name}: failed: {report.problem}: {report.message}")
        if attempts < self.num_attempts:
            self.waiting.insert(0, job)
            return
        work_dir = str(job.work_dir(self.root))
        self.failures[job.name] = JobFailure(job.name, report.problem, report.message, attempts, work_dir)

    def not_run(self) -> dict[str, str]:
        """Return the jobs that could not begin, each with a need that is not done."""
        return {job.name: next(need for need in job.needs if need not in self.done) for job in self.waiting}


def _silent(line: str) -> None:
    pass


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let a SIGTERM do what Ctrl-C does, unless somebody else handles it."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    alone = threading.current_thread() is threading.main_thread()
    if not alone or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
