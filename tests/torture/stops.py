"""Kills at random moments, cuts at file operations, and disks that are full or broken: the same command goes on."""

from __future__ import annotations

import random
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from children import WAITING, Child, Outcome, wait_until
from faults import Fault
from jobs import JOBS, NEEDED, Job, disk_bytes, fingerprint, job_of, left_over
from launching import has_ended, launch, rank_codes
from report import Part

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
PATIENCE = 120.0
RANK_CODES = (0, 2, 130)
TORCHRUN_CODES = (0, 1)
TORCHRUN = ("-m", "torch.distributed.run", "--standalone")
PROGRAMS, PROGRAM_SECONDS = 0.06, 4.0  # share of kills that a new process of Python gets, and what it takes to begin


@dataclass(frozen=True)
class Reference:
    """A job that was not disturbed: how long it took, its file operations, how much it wrote, and what."""

    seconds: float
    operations: int
    num_bytes: int
    written: dict[str, str]


class Stops:
    """Disturbs jobs in copies of a folder that holds what they need.

    Args:
        base: a folder with data, plan, teacher, run and store.
    """

    def __init__(self, base: Path) -> None:
        self.base, self.prints = base, base.with_name("prints")
        self.prints.mkdir(exist_ok=True)
        self.references: dict[str, Reference] = {}

    def copy_into(self, folder: Path) -> None:
        """Copy what the jobs need."""
        folder.mkdir()
        for name in NEEDED:
            (shutil.copytree if (self.base / name).is_dir() else shutil.copy2)(self.base / name, folder / name)

    @contextmanager
    def copy(self) -> Iterator[Path]:
        """Yield a copy of what the jobs need, which is removed afterwards."""
        folder = self.base.with_name(f"{self.base.name}-copy")
        shutil.rmtree(folder, ignore_errors=True)
        self.copy_into(folder)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def reference(self, name: str) -> Reference:
        """Return how a job ends undisturbed; it is done once.

        Raises:
            RuntimeError: it does not work at all.
        """
        if name not in self.references:
            with self.copy() as folder:
                outcomes = self.start(JOBS[name], folder)()
                for outcome in outcomes:
                    if outcome.code != 0:
                        raise RuntimeError(f"{name}: {outcome.text[-2000:]}")
                rank_codes(self.prints)
                seconds, operations = max(one.seconds for one in outcomes), max(one.operations for one in outcomes)
                size = disk_bytes(folder / "out")
                self.references[name] = Reference(seconds, operations, size, fingerprint(folder / "out"))
        return self.references[name]

    def kill(self, part: Part, draw: random.Random, number: int) -> None:
        """Kill a job, or one of its processes, at a random moment, give it again, and compare."""
        name, signal_number = job_of(number), draw.choice(SIGNALS)
        is_program = draw.random() < PROGRAMS
        seconds = self.reference(name).seconds + (PROGRAM_SECONDS if is_program else 0.0)
        moment, which = draw.uniform(0, seconds), draw.choice((None, 0, 1, 2))
        what = f"{name}{' as a program' if is_program else ''}, {signal_number.name} at {moment:.2f} s"
        with self.copy() as folder:
            start = self.start_programs if is_program else self.start
            outcomes = start(JOBS[name], folder, kill=(signal_number, moment, which))()
            self.go_on(part, name, folder, outcomes, (0, 130), what)

    def cut(self, part: Part, draw: random.Random, number: int) -> None:
        """Kill a job at one of its file operations, give it again, and compare."""
        name, fault = self._fault(draw, number, ("kill",))
        with self.copy() as folder:
            outcomes = self.start(JOBS[name], folder, fault)()
            self.go_on(part, name, folder, outcomes, (0,), f"{name}, cut at file operation {fault.at}")

    def fail(self, part: Part, draw: random.Random, number: int) -> None:
        """Let all writes from one on fail, as on a full or broken disk; then give the job again, and compare."""
        name, fault = self._fault(draw, number, ("ENOSPC", "EIO", "EROFS"))
        with self.copy() as folder:
            outcomes = self.start(JOBS[name], folder, fault)()
            self.go_on(part, name, folder, outcomes, (0, 2), f"{name}, {fault.kind} from file operation {fault.at}")

    def start(
        self,
        job: Job,
        folder: Path,
        fault: Fault | None = None,
        *,
        kill: tuple[int, float, int | None] | None = None,
    ) -> Callable[[], list[Outcome]]:
        """Start a job, disturb it, and return what waits for its end.

        Args:
            job: to do.
            folder: where.
            fault: of the first of several commands.
            kill: a signal, when it is sent, and to which of the processes; None for all, or for torchrun, which tells
                them.
        """
        fault = fault or Fault()
        if job.num_ranks > 1:
            agent = partial(launch, job.commands[0], job.num_ranks, fault)
            children = [Child([], folder, fault=fault, target=agent, prints=self.prints)]
        else:
            children = [
                Child(arguments, folder, fault=fault if number == 0 else Fault(), number=number, prints=self.prints)
                for number, arguments in enumerate(job.commands)
            ]
        if kill is not None:
            self._disturb(children, job, *kill)
        return lambda: [child.wait(WAITING * PATIENCE) for child in children]

    def start_programs(
        self, job: Job, folder: Path, *, kill: tuple[int, float, int | None]
    ) -> Callable[[], list[Outcome]]:
        """Start a job in new processes, as a user does, disturb it, and return what waits for its end."""
        ranks = [*TORCHRUN, f"--nproc-per-node={job.num_ranks}"] if job.num_ranks > 1 else []
        children = [
            Child([], folder, number=number, prints=self.prints, program=[*ranks, "-m", "limbeck", *arguments])
            for number, arguments in enumerate(job.commands)
        ]
        self._disturb(children, job, *kill)
        return lambda: [child.wait(WAITING * PATIENCE) for child in children]

    def _disturb(self, children: list[Child], job: Job, number: int, moment: float, which: int | None) -> None:
        wait_until(lambda: children[0].poll() is not None or children[0].seconds >= moment)
        if job.num_ranks > 1:
            # torch's agent waits for ever where a forked rank is killed that waits for the agent to see its end
            children[0].send(number, which=None if has_ended(self.prints) else which)
        else:
            for child in children if which is None else [children[which % len(children)]]:
                child.send(number)

    def _fault(self, draw: random.Random, number: int, kinds: tuple[str, ...]) -> tuple[str, Fault]:
        """Return a job, and a fault at one of its file operations: each of them once before one comes again."""
        name = job_of(number)
        operations = list(range(1, 1 + max(1, self.reference(name).operations)))
        random.Random(name).shuffle(operations)
        return name, Fault(operations[number // len(JOBS) % len(operations)], draw.choice(kinds))

    def go_on(
        self, part: Part, name: str, folder: Path, stopped: list[Outcome], codes: tuple[int, ...], what: str
    ) -> None:
        """Give a job again that was disturbed, compare with the undisturbed one, and count."""
        job = JOBS[name]
        complaint = next(filter(None, (_complaint(job, one, codes) for one in stopped)), "")
        complaint = complaint or _complaint_of_ranks(self.prints)
        for again in self.start(job, folder)():
            if not complaint and again.code != 0:
                complaint = f"then exit code {again.code}: {again.text[-300:]}"
        rank_codes(self.prints)
        if not complaint and fingerprint(folder / "out") != self.reference(name).written:
            complaint = "other bytes after going on"
        if not complaint and (rest := left_over(folder / "out")):
            complaint = f"left behind: {', '.join(rest[:3])}"
        was_done = all(outcome.code == 0 for outcome in stopped)
        ending = "finished before" if was_done else "went on to the same bytes"
        part.add(ending, f"{what}: {complaint}" if complaint else "", job=name)


def _complaint(job: Job, outcome: Outcome, codes: tuple[int, ...]) -> str:
    """Return what is wrong with how one process ended that may have been disturbed."""
    if job.num_ranks == 1:
        return outcome.complaint(codes=codes, seconds=PATIENCE)
    if outcome.is_stopped_start:
        return ""
    if "mistake of limbeck" in outcome.text:
        return f"a traceback: {outcome.text[-300:]}"
    if outcome.code not in (*TORCHRUN_CODES, *(-number for number in outcome.fatal)):
        return f"torchrun's exit code {outcome.code}: {outcome.text[-300:]}"
    return f"{outcome.seconds:.0f} s" if outcome.seconds > WAITING * PATIENCE else ""


def _complaint_of_ranks(folder: Path) -> str:
    wrong = [code for code in rank_codes(folder) if code not in RANK_CODES]
    return f"ranks with exit codes {wrong}" if wrong else ""
