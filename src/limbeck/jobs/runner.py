"""What runs jobs: started here, finished there, one report an attempt."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from limbeck.errors import InvalidValue
from limbeck.jobs.job import Job
from limbeck.jobs.work import Report


class Runner(Protocol):
    """Runs attempts at jobs. Knows nothing of their order, of retries, and of what is done already."""

    def open(self, threads_per_job: int | None) -> int | None:
        """Get ready, and return how many attempts can run at once; None: as many as there are.

        Args:
            threads_per_job: CPU threads of each; None lets the runner choose.
        """

    def start(self, job: Job, root: Path) -> None:
        """Begin an attempt."""

    def wait(self) -> list[tuple[str, Report]]:
        """Wait until an attempt ends; return the names and reports of all that have."""

    def close(self) -> None:
        """Ask what still runs to stop, end what does not, and give everything back."""


def require_count(name: str, value: int | None, *, least: int = 1) -> None:
    """Raise InvalidValue where a count is given and is below ``least``."""
    if value is not None and value < least:
        raise InvalidValue(f"{name} must be at least {least}.", received=value, expected=f"an integer >= {least}")
