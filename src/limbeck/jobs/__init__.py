"""Independent jobs with dependencies: made once, in this process, in a few of this machine's, or on Ray."""

from limbeck.jobs.job import Job, job_key
from limbeck.jobs.processes import ProcessesRunner
from limbeck.jobs.ray_runner import RayRunner
from limbeck.jobs.run import JobOutcome, run_jobs, runner_from
from limbeck.jobs.runner import Runner
from limbeck.jobs.serial import SerialRunner
from limbeck.jobs.span import WorkAndSpan, work_and_span

__all__ = [
    "Job",
    "JobOutcome",
    "ProcessesRunner",
    "RayRunner",
    "Runner",
    "SerialRunner",
    "WorkAndSpan",
    "job_key",
    "run_jobs",
    "runner_from",
    "work_and_span",
]
