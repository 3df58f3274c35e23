"""How far a collection of soft targets has come."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class CollectionProgress:
    """How far a process has come with its own shards."""

    num_done: int  # records of each member, of ``num_records``
    num_records: int  # that this process has to collect
    elapsed_seconds: float
    num_cached: int = 0  # of its shards' records, those that it found finished
    damaged: tuple[str, ...] = ()  # files that it found changed since they were written: they are written again

    @property
    def seconds_left(self) -> float:
        """Time to go at the speed so far; infinity before the first batch."""
        if not self.num_done:
            return float("inf")
        return self.elapsed_seconds * (self.num_records - self.num_done) / self.num_done


ProgressCallback = Callable[[CollectionProgress], object]


class Reporter:
    """Counts records and tells the callback."""

    def __init__(
        self, progress: ProgressCallback | None, num_records: int, num_cached: int, damaged: tuple[str, ...]
    ) -> None:
        self._progress, self._num_records, self._num_cached = progress, num_records, num_cached
        self._damaged = damaged
        self._done, self._start = 0, time.perf_counter()

    def __call__(self, count: int) -> None:
        self._done += count
        if self._progress is not None:
            elapsed_seconds = time.perf_counter() - self._start
            self._progress(self._reached(elapsed_seconds))

    def _reached(self, elapsed_seconds: float) -> CollectionProgress:
        return CollectionProgress(self._done, self._num_records, elapsed_seconds, self._num_cached, self._damaged)
