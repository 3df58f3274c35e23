"""How far a campaign has come: kept after every attempt, so that one that was stopped goes on."""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from report import Part

Attempt = Callable[[Part, random.Random, int], None]
KEPT = ("counts", "complaints", "facts", "seconds", "calls", "jobs")


@dataclass
class Campaign:
    """Attempts of all parts in turn, each with random numbers of its own.

    Attempt n of a part draws the same in every campaign of a seed; of several workers each makes every so many-th. The
    part that has had the least of its share of the time is next, until it has its size.

    Args:
        file: that keeps what was found.
        seed: of all that is drawn.
        parts: by name.
        shares: of the time.
        worker: this one's number, from 0.
        num_workers: that there are.
    """

    file: Path
    seed: int
    parts: dict[str, Part]
    shares: dict[str, float]
    worker: int = 0
    num_workers: int = 1
    num_runs: int = 1

    def load(self) -> None:
        """Go on from the file, where it is there and of the same seed."""
        if not self.file.exists():
            return
        kept: dict[str, Any] = json.loads(self.file.read_text())
        if kept["seed"] != self.seed:
            return
        self.num_runs = kept["num_runs"] + 1
        for name, part in self.parts.items():
            own = kept["parts"].get(name, {})
            for key in KEPT:
                value = own.get(key, getattr(part, key))
                setattr(part, key, Counter(value) if key in ("counts", "jobs") else value)

    def save(self) -> None:
        """Keep what was found so far."""
        described = {name: {key: getattr(part, key) for key in KEPT} for name, part in self.parts.items()}
        self.file.parent.mkdir(parents=True, exist_ok=True)
        neighbour = self.file.with_suffix(".new")
        neighbour.write_text(json.dumps({"seed": self.seed, "num_runs": self.num_runs, "parts": described}))
        os.replace(neighbour, self.file)

    def spend(self, total_seconds: float, attempts: dict[str, Attempt]) -> None:
        """Make attempts until the time is spent, that of earlier runs included, or all parts have their size.

        There is at least one of each part.
        """
        while True:
            names = [name for name in attempts if not self.parts[name].is_whole]
            if not names:
                return
            name = min(names, key=lambda one: (self.parts[one].attempts > 0, self._spent(one)))
            if self.parts[name].attempts and self.seconds >= total_seconds:
                return
            self.attempt(name, attempts[name])

    def attempt(self, name: str, make: Attempt) -> None:
        """Make the next attempt of a part, or its next few, and keep what came of it."""
        part = self.parts[name]
        start, before = time.perf_counter(), len(part.complaints)
        number = part.calls * self.num_workers + self.worker
        make(part, random.Random(f"{self.seed} {name} {number}"), number)
        part.calls += 1
        part.seconds += time.perf_counter() - start
        for complaint in part.complaints[before:]:
            print(f"{name}: {complaint}", flush=True)
        self.save()

    @property
    def seconds(self) -> float:
        """What all attempts took."""
        return sum(part.seconds for part in self.parts.values())

    def _spent(self, name: str) -> float:
        return self.parts[name].seconds / self.shares[name]
