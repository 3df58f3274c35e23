"""Kills at random moments, cuts at file operations, and disks that are full or broken: the same command goes on."""

from __future__ import annotations

import random
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from children import Fault, Outcome, run
from jobs import COMMANDS, fingerprint, left_over
from report import Part

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
PATIENCE = 60.0
STARTING_SECONDS = 0.1  # until a process listens to signals, as any other


@dataclass(frozen=True)
class Reference:
    """A command that was not disturbed: how it ended, and the bytes that it wrote."""

    outcome: Outcome
    written: dict[str, str]


class Stops:
    """Disturbs commands in copies of a folder that holds what they need.

    Args:
        base: a folder with data, plan and teacher.
        draw: of moments.
    """

    def __init__(self, base: Path, draw: random.Random) -> None:
        self.base, self.draw = base, draw
        self.references: dict[str, Reference] = {}

    @contextmanager
    def copy(self) -> Iterator[Path]:
        """Yield a copy of the folder, which is removed afterwards."""
        folder = self.base.with_name(f"{self.base.name}-copy")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.base, folder)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def reference(self, name: str) -> Reference:
        """Return how a command ends undisturbed; it is run once.

        Raises:
            RuntimeError: it does not work at all.
        """
        if name not in self.references:
            with self.copy() as folder:
                outcome = run(COMMANDS[name], folder, fault=Fault(), timeout=PATIENCE)
                if outcome.code != 0:
                    raise RuntimeError(f"{name}: {outcome.text[-2000:]}")
                self.references[name] = Reference(outcome, fingerprint(folder / "out"))
        return self.references[name]

    def kill(self, part: Part) -> None:
        """Kill a command at a random moment, give it again, and compare."""
        name, number = self.draw.choice(list(COMMANDS)), self.draw.choice(SIGNALS)
        moment = self.draw.uniform(0, self.reference(name).outcome.seconds)
        with self.copy() as folder:
            stopped = run(COMMANDS[name], folder, kill=(number, moment), timeout=PATIENCE)
            died = number == signal.SIGKILL or moment < STARTING_SECONDS
            codes = (0, 130, -number) if died else (0, 130)
            self._go_on(part, name, folder, stopped, codes, f"{name}, {number.name} at {moment:.2f} s")

    def cut(self, part: Part) -> None:
        """Kill a command at one of its file operations, give it again, and compare."""
        name = self.draw.choice(list(COMMANDS))
        place = self.draw.randint(1, max(1, self.reference(name).outcome.operations))
        with self.copy() as folder:
            stopped = run(COMMANDS[name], folder, fault=Fault(place), timeout=PATIENCE)
            self._go_on(part, name, folder, stopped, (0, -9), f"{name}, cut at file operation {place}")

    def fail(self, part: Part) -> None:
        """Let all writes from one on fail, as on a full or broken disk; then give the command again, and compare."""
        name, kind = self.draw.choice(list(COMMANDS)), self.draw.choice(("ENOSPC", "EIO", "EROFS"))
        place = self.draw.randint(1, max(1, self.reference(name).outcome.operations))
        with self.copy() as folder:
            stopped = run(COMMANDS[name], folder, fault=Fault(place, kind), timeout=PATIENCE)
            self._go_on(part, name, folder, stopped, (0, 2), f"{name}, {kind} from file operation {place}")

    def _go_on(self, part: Part, name: str, folder: Path, stopped: Outcome, codes: tuple[int, ...], what: str) -> None:
        complaint = stopped.complaint(codes=codes, seconds=PATIENCE)
        again = run(COMMANDS[name], folder, timeout=PATIENCE)
        if not complaint and again.code != 0:
            complaint = f"then exit code {again.code}: {again.text[-300:]}"
        if not complaint and fingerprint(folder / "out") != self.reference(name).written:
            complaint = "other bytes after going on"
        if not complaint and (rest := left_over(folder / "out")):
            complaint = f"left behind: {', '.join(rest[:3])}"
        ending = "finished before" if stopped.code == 0 else "went on to the same bytes"
        part.add("not as promised" if complaint else ending, f"{what}: {complaint}" if complaint else "")
