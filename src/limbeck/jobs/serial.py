"""Jobs in this process, one after the other."""

from __future__ import annotations

from pathlib import Path

from limbeck.jobs.job import Job
from limbeck.jobs.work import Report, perform


class SerialRunner:
    """Runs one job at a time, here. Without ``threads_per_job`` torch's threads stay as they are."""

    def __init__(self) -> None:
        self._job: tuple[Job, Path] | None = None
        self._threads_before: int | None = None

    def open(self, threads_per_job: int | None) -> int:
        """Bound torch's threads where asked to."""
        if threads_per_job is not None:
            import torch

            self._threads_before = torch.get_num_threads()
            torch.set_num_threads(threads_per_job)
        return 1

    def start(self, job: Job, root: Path) -> None:
        """Take a job; :meth:`wait` does it."""
        self._job = job, root

    def wait(self) -> list[tuple[str, Report]]:
        """Do the job."""
        assert self._job is not None, "nothing was started"
        job, root = self._job
        self._job = None
        return [(job.name, perform(job, root))]

    def close(self) -> None:
        """Give torch its threads back."""
        if self._threads_before is not None:
            import torch

            torch.set_num_threads(self._threads_before)
            self._threads_before = None
