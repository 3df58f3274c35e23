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

Attempt = Callable[[Part, random.Random], None]


@dataclass
class Campaign:
    """Attempts of all parts in turn, each with random numbers of its own.

    Attempt n of a part draws the same in every campaign of a seed. The part that has had the least of its share of the
    time is next.

    Args:
        file: that keeps what was found.
        seed: of all that is drawn.
        parts: by name.
        shares: of the time.
    """

    file: Path
    seed: int
    parts: dict[str, Part]
    shares: dict[str, float]
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
            part.counts = Counter(own.get("counts", {}))
            part.complaints, part.facts = own.get("complaints", []), own.get("facts", [])
            part.seconds = own.get("seconds", 0.0)

    def save(self) -> None:
        """Keep what was found so far."""
        described = {
            name: {key: getattr(part, key) for key in ("counts", "complaints", "facts", "seconds")}
            for name, part in self.parts.items()
        }
        self.file.parent.mkdir(parents=True, exist_ok=True)
        neighbour = self.file.with_suffix(".new")
        neighbour.write_text(json.dumps({"seed": self.seed, "num_runs": self.num_runs, "parts": described}))
        os.replace(neighbour, self.file)

    def spend(self, total_seconds: float, attempts: dict[str, Attempt]) -> None:
        """Make attempts until the time is spent, that of earlier runs included; at least one of each part."""
        while True:
            name = min(attempts, key=lambda one: (self.parts[one].attempts > 0, self._spent(one)))
            if self.parts[name].attempts and self.seconds >= total_seconds:
                return
            self.attempt(name, attempts[name])

    def attempt(self, name: str, make: Attempt) -> None:
        """Make the next attempt of a part, and keep what came of it."""
        part = self.parts[name]
        start, before = time.perf_counter(), len(part.complaints)
        make(part, random.Random(f"{self.seed} {name} {part.attempts}"))
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
