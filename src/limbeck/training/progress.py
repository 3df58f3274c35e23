"""What a person sees while networks train, and the log that keeps every scalar."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from limbeck.errors import OutputError
from limbeck.records import EpochRecord

if TYPE_CHECKING:
    from rich.progress import Progress as RichBars
    from rich.progress import TaskID

PLAIN_INTERVAL_SECONDS = 5.0


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


def progress_for(choice: str = "auto") -> Progress:
    """Return bars at a terminal and plain lines elsewhere ("auto"), or what is named: "bar", "plain", "silent"."""
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


class EventLog:
    """``events.jsonl``: one JSON object a line, appended, each with the event's name, the network's and the time.

    Args:
        path: the file; None keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._start = time.monotonic()
        self._may_be_cut = True  # what an earlier process wrote may end in half a line

    def write(self, event: str, network: str, **values: Any) -> None:
        """Append one event. Values that are dataclasses are written as objects; NaN is written as null.

        Raises:
            OutputError: the file cannot be written.
        """
        if self._path is None:
            return
        content = {"event": event, "network": network, "log_seconds": round(time.monotonic() - self._start, 3)}
        for name, value in values.items():
            content[name] = dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value  # type: ignore[arg-type]
        try:
            with open(self._path, "a", encoding="utf-8") as file:
                if self._may_be_cut and file.tell() and not _ends_with_newline(self._path):
                    file.write("\n")  # the last line was cut when its process was killed
                self._may_be_cut = False
                file.write(json.dumps(_finite(content)) + "\n")
        except OSError as error:
            raise OutputError(
                f"Cannot write {self._path}.", received=error.strerror, expected="a writable folder with free space"
            ) from error


def _ends_with_newline(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not (float("-inf") < value < float("inf")):
        return None
    return value
