"""What a person sees while networks train."""

from __future__ import annotations

import importlib
import sys
import time
from abc import ABC, abstractmethod
from html import escape
from typing import TYPE_CHECKING, Any, TextIO

from limbeck.records import EpochRecord

if TYPE_CHECKING:
    from rich.progress import Progress as RichBars
    from rich.progress import TaskID

PLAIN_INTERVAL_SECONDS = 5.0
NOTEBOOK_INTERVAL_SECONDS = 0.25


class Progress(ABC):
    """Where training reports to, one network at a time."""

    @abstractmethod
    def begin(self, name: str, *, num_steps: int, done_steps: int, unit: str = "steps") -> None:
        """Something begins, usually a network's training, or goes on after ``done_steps``, counted in ``unit``.

        What is counted in anything but steps has no epochs.
        """

    @abstractmethod
    def advance(self, step: int, losses: dict[str, float], *, samples_per_second: float, data_wait: float) -> None:
        """Steps were done, ``step`` of ``num_steps``, what was done before ``begin`` included.

        ``losses`` are means over the last few of them, ``data_wait`` a fraction of their time.
        """

    @abstractmethod
    def epoch(self, record: EpochRecord) -> None:
        """An epoch ended."""

    @abstractmethod
    def end(self) -> None:
        """The network's training ended, or was stopped."""

    @abstractmethod
    def say(self, text: str) -> None:
        """Show a line."""


class SilentProgress(Progress):
    """Shows nothing."""

    def begin(self, name: str, *, num_steps: int, done_steps: int, unit: str = "steps") -> None:
        pass

    def advance(self, step: int, losses: dict[str, float], *, samples_per_second: float, data_wait: float) -> None:
        pass

    def epoch(self, record: EpochRecord) -> None:
        pass

    def end(self) -> None:
        pass

    def say(self, text: str) -> None:
        pass


class PlainProgress(Progress):
    """Plain lines for logs and pipes: at most one every five seconds, and the last one.

    A network's training has a line at the end of an epoch, anything else on its way.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._name, self._unit = "", "steps"
        self._num_steps = 0
        self._began_at = self._shown_at = 0.0
        self._unshown: str | None = None

    def begin(self, name: str, *, num_steps: int, done_steps: int, unit: str = "steps") -> None:
        self._name, self._unit, self._num_steps, self._unshown = name, unit, num_steps, None
        self._began_at = self._shown_at = time.monotonic()
        self.say(f"{name}: {num_steps:,} {unit}" + (f", going on after {done_steps:,}" if done_steps else ""))

    def advance(self, step: int, losses: dict[str, float], *, samples_per_second: float, data_wait: float) -> None:
        if self._unit == "steps":
            return
        elapsed_seconds = time.monotonic() - self._began_at
        seconds_left = (self._num_steps - step) / max(samples_per_second, 1e-9)
        self._take(
            f"{step:,} of {self._num_steps:,} {self._unit}  {samples_per_second:,.0f}/s  {elapsed_seconds:.1f} s, "
            f"{seconds_left:.0f} s left"
        )

    def epoch(self, record: EpochRecord) -> None:
        self._take(f"epoch {record.epoch}  {_epoch_text(record)}  {record.elapsed_seconds:.1f} s")

    def end(self) -> None:
        self._show()

    def say(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

    def _take(self, text: str) -> None:
        self._unshown = text
        if time.monotonic() - self._shown_at >= PLAIN_INTERVAL_SECONDS:
            self._show()

    def _show(self) -> None:
        if self._unshown is not None:
            self.say(f"{self._name}: {self._unshown}")
            self._unshown, self._shown_at = None, time.monotonic()


class BarProgress(Progress):
    """A bar on a terminal: loss parts, samples a second, time left, and the share of time spent waiting for data.

    What has no losses shows how much is done of how much.
    """

    def __init__(self) -> None:
        self._unit, self._num_steps = "steps", 0
        self._bars: RichBars | None = None
        self._task: TaskID | None = None
        self._epoch_text = ""

    def begin(self, name: str, *, num_steps: int, done_steps: int, unit: str = "steps") -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._unit, self._num_steps = unit, num_steps
        self._bars = Progress(
            TextColumn("{task.description:<20.20}"),
            BarColumn(bar_width=16),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[detail]}"),
            console=Console(stderr=True),
        )
        self._bars.start()
        self._task = self._bars.add_task(name, total=num_steps, completed=done_steps, detail="")
        self._epoch_text = ""

    def advance(self, step: int, losses: dict[str, float], *, samples_per_second: float, data_wait: float) -> None:
        if self._bars is None or self._task is None:
            return
        if self._unit == "steps":
            parts = " ".join(f"{name} {value:.3f}" for name, value in losses.items() if name != "total")
            detail = f"{parts}  {samples_per_second:,.0f}/s  data {data_wait:.0%}  {self._epoch_text}"
        else:
            detail = f"{step:,}/{self._num_steps:,} {self._unit}  {samples_per_second:,.0f}/s"
        self._bars.update(self._task, completed=step, detail=detail.rstrip())

    def epoch(self, record: EpochRecord) -> None:
        if record.validation:
            self._epoch_text = f"val {record.validation['accuracy']:.2%}"

    def end(self) -> None:
        if self._bars is not None:
            self._bars.stop()
        self._bars = self._task = None

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class NotebookProgress(Progress):
    """One line for each network in a notebook's output, changed in place; it stays there when the cell has ended."""

    def __init__(self) -> None:
        self._name, self._unit, self._num_steps, self._step, self._epoch_text = "", "steps", 0, 0, ""
        self._shown_at = 0.0
        self._handle: Any = None

    def begin(self, name: str, *, num_steps: int, done_steps: int, unit: str = "steps") -> None:
        self._name, self._unit, self._num_steps, self._epoch_text = name, unit, num_steps, ""
        self._step = done_steps
        shown = _notebook_display()
        self._handle = shown.display(shown.HTML(self._html("")), display_id=True)

    def advance(self, step: int, losses: dict[str, float], *, samples_per_second: float, data_wait: float) -> None:
        self._step = step
        if time.monotonic() - self._shown_at >= NOTEBOOK_INTERVAL_SECONDS:
            self._show(f"{samples_per_second:,.0f}/s")

    def epoch(self, record: EpochRecord) -> None:
        self._step, self._epoch_text = record.step, f"epoch {record.epoch}  {_epoch_text(record)}"

    def end(self) -> None:
        self._show("")
        self._handle = None

    def say(self, text: str) -> None:
        print(text, flush=True)

    def _show(self, detail: str) -> None:
        if self._handle is not None:
            self._handle.update(_notebook_display().HTML(self._html(detail)))
            self._shown_at = time.monotonic()

    def _html(self, detail: str) -> str:
        done = f"{self._step:,} of {self._num_steps:,} {self._unit}"
        bar = f'<progress value="{self._step}" max="{max(self._num_steps, 1)}" style="width:12em"></progress>'
        return f"{bar} <code>{escape('  '.join(filter(None, [self._name, done, detail, self._epoch_text])))}</code>"


def _notebook_display() -> Any:
    return importlib.import_module("IPython.display")


def in_notebook() -> bool:
    """Tell whether a notebook's kernel runs this, whose output can be changed in place."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


def progress_for(choice: str = "auto") -> Progress:
    """Return what suits ("auto") or what is named: "bar", "plain", "silent".

    "auto" gives bars at a terminal, lines that change in place in a notebook, and plain lines elsewhere.
    """
    if choice == "auto" and in_notebook():
        return NotebookProgress()
    if choice == "auto":
        choice = "bar" if sys.stderr.isatty() else "plain"
    makers: dict[str, type[BarProgress | PlainProgress | SilentProgress]] = {
        "bar": BarProgress,
        "plain": PlainProgress,
        "silent": SilentProgress,
    }
    if choice not in makers:
        from limbeck.errors import unknown_name

        raise unknown_name("progress display", choice, ["auto", *makers])
    return makers[choice]()


def _epoch_text(record: EpochRecord) -> str:
    losses = "  ".join(f"{name} {value:.4f}" for name, value in record.train.items())
    validation = f"  validation {record.validation['accuracy']:.2%}" if record.validation else ""
    return (
        f"{losses}{validation}  {record.samples_per_second:,.0f} samples/s  data wait {record.data_wait_fraction:.0%}"
    )
