"""The time that a training takes: all of it, the current epoch, and the waits for batches."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


class Clock:
    """Adds up seconds; what it was set to by a checkpoint counts as well."""

    def __init__(self) -> None:
        self.elapsed_seconds = 0.0  # of all parts of the run
        self.epoch_seconds = 0.0  # of the current epoch
        self.wait_seconds = 0.0  # of the current epoch, for batches
        self._last = time.perf_counter()

    def start(self) -> None:
        """Count from now on."""
        self._last = time.perf_counter()

    def tick(self) -> None:
        """Add the time since the last tick to the run's and the epoch's."""
        now = time.perf_counter()
        self.elapsed_seconds += now - self._last
        self.epoch_seconds += now - self._last
        self._last = now

    def begin_epoch(self) -> None:
        """Begin an epoch."""
        self.epoch_seconds = self.wait_seconds = 0.0

    def speed(self, num_samples: int) -> float:
        """Return samples per second of the current epoch."""
        return num_samples / self.epoch_seconds

    @property
    def wait_fraction(self) -> float:
        """The fraction of the current epoch that was spent waiting for batches."""
        return min(1.0, self.wait_seconds / self.epoch_seconds)

    def time_waits(self, items: Iterable[Item]) -> Iterator[Item]:
        """Pass the items on, adding the time spent waiting for each to ``wait_seconds``."""
        iterator = iter(items)
        while True:
            start = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            self.wait_seconds += time.perf_counter() - start
            yield item

    def state(self) -> list[float]:
        """Return what a checkpoint keeps."""
        return [self.elapsed_seconds, self.epoch_seconds, self.wait_seconds]

    def restore(self, state: list[float]) -> None:
        """Take back what :meth:`state` returned."""
        self.elapsed_seconds, self.epoch_seconds, self.wait_seconds = state
