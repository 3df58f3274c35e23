"""What a person sees while a teacher's answers are collected: a bar at a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from limbeck.errors import unknown_name
from limbeck.teachers import CollectionProgress

if TYPE_CHECKING:
    from rich.progress import Progress as RichBars
    from rich.progress import TaskID

PLAIN_INTERVAL_SECONDS = 5.0


class CollectionDisplay(ABC):
    """Where a collection reports to. ``latest`` is how far it has come; None before the first batch."""

    latest: CollectionProgress | None = None

    def __call__(self, progress: CollectionProgress) -> None:
        """Batches were collected."""
        self.latest = progress
        self.show(progress)

    @abstractmethod
    def show(self, progress: CollectionProgress) -> None:
        """Show how far it has come."""

    @abstractmethod
    def say(self, text: str) -> None:
        """Show a line."""

    @abstractmethod
    def end(self) -> None:
        """The collection ended, or was stopped."""


class SilentDisplay(CollectionDisplay):
    """Shows nothing."""

    def show(self, progress: CollectionProgress) -> None:
        pass

    def say(self, text: str) -> None:
        pass

    def end(self) -> None:
        pass


class PlainDisplay(CollectionDisplay):
    """Plain lines for logs and pipes: at most one every five seconds, and the last one."""

    def __init__(self) -> None:
        self._shown_at = time.monotonic()
        self._shown: CollectionProgress | None = None

    def show(self, progress: CollectionProgress) -> None:
        if time.monotonic() - self._shown_at >= PLAIN_INTERVAL_SECONDS:
            self._print(progress)

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def end(self) -> None:
        if self.latest is not None and self.latest is not self._shown:
            self._print(self.latest)

    def _print(self, progress: CollectionProgress) -> None:
        self._shown, self._shown_at = progress, time.monotonic()
        self.say(
            f"{progress.num_done:,} of {progress.num_records:,} records, {_speed(progress)}, "
            f"{progress.elapsed_seconds:.1f} s, {progress.seconds_left:.0f} s left"
        )


class BarDisplay(CollectionDisplay):
    """A bar on a terminal: records, records a second, time left."""

    def __init__(self) -> None:
        self._bars: RichBars | None = None
        self._task: TaskID | None = None

    def show(self, progress: CollectionProgress) -> None:
        if self._bars is None or self._task is None:
            self._start(progress.num_records)
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, completed=progress.num_done, detail=_speed(progress))

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._bars is not None:
            self._bars.stop()
        self._bars = self._task = None

    def _start(self, num_records: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[detail]}"),
            console=Console(stderr=True),
        )
        self._bars.start()
        self._task = self._bars.add_task("records", total=num_records, detail="")


@contextmanager
def collection_display(choice: str = "auto") -> Iterator[CollectionDisplay]:
    """Give a bar at a terminal and plain lines elsewhere ("auto"), or what is named: "bar", "plain", "silent"."""
    if choice == "auto":
        choice = "bar" if sys.stderr.isatty() else "plain"
    makers: dict[str, type[BarDisplay | PlainDisplay | SilentDisplay]] = {
        "bar": BarDisplay,
        "plain": PlainDisplay,
        "silent": SilentDisplay,
    }
    if choice not in makers:
        raise unknown_name("progress display", choice, ["auto", *makers])
    display = makers[choice]()
    try:
        yield display
    finally:
        display.end()


def _speed(progress: CollectionProgress) -> str:
    return f"{progress.num_done / max(progress.elapsed_seconds, 1e-9):,.0f} records/s"
