"""How a set of independent trainings parallelises."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from limbeck.errors import InvalidValue


@dataclass(frozen=True)
class WorkAndSpan:
    """What independent jobs cost one worker, and what they cost where each has its own.

    Args:
        num_jobs: how many there are.
        work_seconds: of all jobs together: the time on one worker.
        span_seconds: of the longest one, the critical path: no number of workers takes less.
    """

    num_jobs: int
    work_seconds: float
    span_seconds: float

    @property
    def parallelism(self) -> float:
        """Work over span: the most workers that are kept busy; 1 for one job."""
        return self.work_seconds / self.span_seconds


def work_and_span(elapsed_seconds: Sequence[float]) -> WorkAndSpan:
    """Return the work and the span of jobs that need nothing of each other, such as specialists; a mixture is one job.

    Args:
        elapsed_seconds: of each job, such as ``TrainedSpecialist.elapsed_seconds``, on like machines with as many
            threads each.
    Raises:
        InvalidValue: no jobs, or a time that is not finite and above 0.
    Example:
        >>> work_and_span([10.0, 30.0, 20.0])
        WorkAndSpan(num_jobs=3, work_seconds=60.0, span_seconds=30.0)
        >>> work_and_span([10.0, 30.0, 20.0]).parallelism
        2.0
    """
    times = [float(seconds) for seconds in elapsed_seconds]
    if not times or not all(math.isfinite(seconds) and seconds > 0 for seconds in times):
        raise InvalidValue("Every job takes some time.", received=times, expected="at least one, finite, above 0")
    return WorkAndSpan(len(times), math.fsum(times), max(times))
