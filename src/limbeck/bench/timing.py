"""Times of functions that take turns, so that a slow minute of the machine falls on all of them."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import torch

from limbeck.errors import InvalidValue


@dataclass(frozen=True)
class Timing:
    """Seconds of one function over the rounds, by the clock of :func:`interleaved`."""

    median_seconds: float
    low_seconds: float  # a quarter of the rounds were faster
    high_seconds: float  # a quarter of the rounds were slower
    seconds: tuple[float, ...]  # of every round

    @property
    def num_rounds(self) -> int:
        """How many rounds were timed."""
        return len(self.seconds)

    def ratio_to(self, floor: Timing) -> float:
        """Return the median over the rounds of this function's time over the floor's in the same round.

        A machine that is slow for a while is slow for both.
        """
        return statistics.median(own / other for own, other in zip(self.seconds, floor.seconds, strict=True))


def interleaved(
    functions: Mapping[str, Callable[[], object]],
    *,
    num_rounds: int = 20,
    warmup: int = 2,
    clock: Callable[[], float] | None = None,
) -> dict[str, Timing]:
    """Time each function once per round, in an order that rotates from round to round.

    Args:
        functions: name and function without arguments; what it returns is dropped.
        num_rounds: how often each function is timed, at least 1.
        warmup: rounds before those, not counted.
        clock: gives seconds; ``time.perf_counter`` where not given. Where others use the machine and each function is
            one process's work, ``time.process_time``.
    Returns:
        Median and quartiles of the seconds, by name, in the given order. Where there is an accelerator, its queue is
        emptied before the clock starts and before it stops.
    Raises:
        InvalidValue: no functions, fewer than 1 round or a negative ``warmup``.
    Example:
        >>> list(interleaved({"sum": lambda: sum(range(10))}, num_rounds=3))
        ['sum']
    """
    if not functions:
        raise InvalidValue("There is nothing to time.", received="no functions", expected="at least one")
    if num_rounds < 1:
        raise InvalidValue("num_rounds must be at least 1.", received=num_rounds, expected="an integer >= 1")
    if warmup < 0:
        raise InvalidValue("warmup must not be negative.", received=warmup, expected="an integer >= 0")
    names = list(functions)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(-warmup, num_rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            elapsed = _elapsed_seconds(functions[name], clock or time.perf_counter)
            if turn >= 0:
                seconds[name].append(elapsed)
    return {name: _timing(values) for name, values in seconds.items()}


def seconds_by_way(timings: Mapping[str, Timing]) -> dict[str, dict[str, float]]:
    """Return medians and quartiles in seconds, by name, JSON-able."""
    return {
        name: {"median": timing.median_seconds, "low": timing.low_seconds, "high": timing.high_seconds}
        for name, timing in timings.items()
    }


def reached(ratios: Mapping[str, float], targets: Mapping[str, float]) -> dict[str, bool]:
    """Return for each target whether its way's ratio to the floor keeps it."""
    return {name: ratios[name] <= target for name, target in targets.items()}


def machine_facts() -> dict[str, Any]:
    """Return what a reader of a benchmark must know: versions, processor, threads, accelerator; JSON-able."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return {
        "limbeck": _version("limbeck"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "num_cpus": os.cpu_count(),
        "num_threads": torch.get_num_threads(),
        "accelerator": None if accelerator is None else accelerator.type,
    }


def _elapsed_seconds(function: Callable[[], object], clock: Callable[[], float]) -> float:
    _synchronise()
    start = clock()
    function()
    _synchronise()
    return clock() - start


def _synchronise() -> None:
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


def _timing(seconds: list[float]) -> Timing:
    if len(seconds) == 1:
        return Timing(seconds[0], seconds[0], seconds[0], tuple(seconds))
    low, median, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return Timing(median, low, high, tuple(seconds))


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    """The processor's name: Linux keeps it in /proc/cpuinfo, elsewhere platform knows."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
