"""Ways of one task timed in turns on a GPU, and their rows; a way that does not run is reported with its error."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from limbeck.bench.timing import interleaved

Way = Callable[[], object]


@dataclass(frozen=True)
class Scale:
    """How large everything is: on a GPU as it is to be measured, in a dry run so small that a CPU has done soon."""

    device: torch.device
    is_dry: bool
    num_rounds: int

    def of(self, full: Any, dry: Any) -> Any:
        """Return what a run of this scale uses."""
        return dry if self.is_dry else full

    def compiled(self, function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        """Return the function compiled; in a dry run traced, without a backend that needs a compiler."""
        if self.is_dry:
            return torch.compile(function, backend="eager")  # type: ignore[no-any-return]
        return torch.compile(function, **options)  # type: ignore[no-any-return]


@dataclass
class Table:
    """What one part measured."""

    title: str
    floor: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return asdict(self)


def timed(
    ways: Mapping[str, Callable[[], Way]], scale: Scale, *, calls: int = 1
) -> tuple[dict[str, tuple[float, ...]], dict[str, str]]:
    """Time ways in turns.

    Args:
        ways: name, and what sets the way up and returns the call that is timed. Each runs once before the rounds, so
            that compiling is not timed.
        scale: for the number of rounds.
        calls: units of work in one call, by which its seconds are divided.
    Returns:
        Seconds of every round by way, and why others did not run.
    """
    running: dict[str, Way] = {}
    failed: dict[str, str] = {}
    for name, set_up in ways.items():
        way = _tried(set_up)
        if isinstance(way, str):
            failed[name] = way
        else:
            running[name] = way
    timings = interleaved(running, num_rounds=scale.num_rounds, warmup=1) if running else {}
    return {name: tuple(value / calls for value in timing.seconds) for name, timing in timings.items()}, failed


def _tried(set_up: Callable[[], Way]) -> Way | str:
    """Return a way that has run once, or why it does not run."""
    try:
        way = set_up()
        way()
    except Exception as error:  # a library or a compiler that is missing, memory that does not suffice
        return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
    return way


def median_of(values: Sequence[float]) -> float:
    """Return the median."""
    return float(torch.tensor(values, dtype=torch.float64).median())


def rows_of(
    seconds: Mapping[str, Sequence[float]],
    failed: Mapping[str, str],
    *,
    floors: Mapping[str, str],
    targets: Mapping[str, float],
    more: Mapping[str, Mapping[str, Any]] | None = None,
) -> Iterable[dict[str, Any]]:
    """Yield a row for each way: median milliseconds, the ratio to its floor in the same round, target, reached."""
    for name, values in seconds.items():
        row: dict[str, Any] = {"way": name, "ms": 1e3 * median_of(values), **((more or {}).get(name) or {})}
        floor = floors.get(name)
        if floor in seconds and floor != name:
            row["ratio"] = median_of([own / other for own, other in zip(values, seconds[floor], strict=True)])
            row["floor"] = floor
        if name in targets and "ratio" in row:
            row |= {"target": targets[name], "reached": row["ratio"] <= targets[name]}
        yield row
    for name, reason in failed.items():
        yield {"way": name, "not_run": reason}
