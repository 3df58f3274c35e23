"""Jobs on Ray: on this machine, or on a cluster that shares the folder of outputs."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from limbeck.errors import InvalidValue, MissingPackage
from limbeck.jobs.job import Job
from limbeck.jobs.work import Report, bound_threads, count_cpus, perform

GRACE_SECONDS = 30.0  # that a job has to end its step and write its checkpoint
CONNECT_SECONDS = 10.0


class RayRunner:
    """Runs every attempt as a Ray task that reserves a CPU for each thread.

    A Ray that this process is connected to is used and left. Otherwise the one of RAY_ADDRESS, or that of this
    machine, is joined; where none answers on this machine one is started, and ended at the end. The modules of the
    jobs' functions are installed wherever tasks run.

    Args:
        address: ``ray://HOST:PORT`` of a cluster's client server; None for this machine.

    Raises:
        MissingPackage: Ray is not installed.
        InvalidValue: an address without a host or a port.
    """

    def __init__(self, address: str | None = None) -> None:
        if importlib.util.find_spec("ray") is None:
            raise MissingPackage("Ray is not installed.", remedy="pip install 'limbeck[ray]'")
        self.address = address
        if address is not None:
            _host_and_port(address)
        self._threads = 1
        self._ours = False
        self._names: dict[Any, str] = {}  # of the tasks that run, by their future
        self._begun: dict[str, float] = {}
        self._unsent: list[tuple[str, Report]] = []

    def open(self, threads_per_job: int | None) -> None:
        """Connect, and let Ray queue what it has no CPUs for.

        Raises:
            InvalidValue: nothing answers at the address, or this process uses a Ray already; no node has as many CPUs
                as a job takes.
        """
        ray = _ray()
        self._threads = threads_per_job or 1
        if not ray.is_initialized():
            self._connect(ray)
            self._ours = True
        elif self.address is not None:
            raise InvalidValue(
                "This process is connected to a Ray already.",
                received=self.address,
                expected="ray, which uses that one",
                remedy="or call ray.shutdown() before",
            )
        largest = int(max((node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]), default=0))
        if 0 < largest < self._threads:
            raise InvalidValue(
                "No node of the Ray cluster has enough CPUs for a job.",
                received=f"{self._threads} threads per job",
                expected=f"at most {largest}",
            )
        self._task = ray.remote(_work)

    def start(self, job: Job, root: Path) -> None:
        """Hand a task to Ray. A job that cannot be sent has failed."""
        try:
            packed = _ray().cloudpickle.dumps(job)  # takes functions of a script by value
        except Exception as error:
            self._unsent.append((job.name, Report(0.0, type(error).__name__, f"cannot be sent to Ray: {error}")))
            return
        task = self._task.options(name=job.name, num_cpus=self._threads, max_retries=0)
        self._names[task.remote(packed, str(root), self._threads)] = job.name
        self._begun[job.name] = time.perf_counter()

    def wait(self) -> list[tuple[str, Report]]:
        """Wait for a report, or for Ray to say that a task is lost."""
        if self._unsent:
            unsent, self._unsent = self._unsent, []
            return unsent
        ray = _ray()
        ended, _ = ray.wait(list(self._names), num_returns=1)
        reports = []
        for future in ended:
            name = self._names.pop(future)
            try:
                report = ray.get(future)
            except ray.exceptions.RayError as error:
                elapsed = time.perf_counter() - self._begun[name]
                report = Report(elapsed, type(error).__name__, str(error).strip())
            reports.append((name, report))
        return reports

    def close(self) -> None:
        """Interrupt every task as Ctrl-C would, end what goes on nevertheless, and leave Ray as it was."""
        ray = _ray()
        running, self._names = list(self._names), {}
        try:
            for future in running:
                ray.cancel(future)
            if running:
                ray.wait(running, num_returns=len(running), timeout=GRACE_SECONDS)
        finally:
            for future in running:
                ray.cancel(future, force=True)
            if self._ours:
                ray.shutdown()
                self._ours = False

    def _connect(self, ray: Any) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a Ray of ours reports to nobody
        quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
        address = self.address or os.environ.get("RAY_ADDRESS") or running_here()
        if address is None:
            ray.init("local", num_cpus=max(count_cpus(), self._threads), include_dashboard=False, **quiet)
            return
        try:
            if ":" in address:  # Ray itself would try for minutes
                _knock(address)
            ray.init(address, **quiet)
        except (OSError, RuntimeError) as error:
            raise InvalidValue(
                "No Ray cluster answers.",
                received=f"{address}: {str(error).strip().splitlines()[0]}",
                expected="a running cluster; for ray://, started with ray start --head --ray-client-server-port 10001",
                remedy="look at host and port, and whether Ray has the token here that the cluster asks for",
            ) from error


def running_here() -> str | None:
    """Return the address of the Ray last started on this machine, if it answers: one that died leaves its address."""
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    try:
        address = Path(folder, "ray", "ray_current_cluster").read_text("utf-8").strip()
        _knock(address)
    except (OSError, InvalidValue):
        return None
    return address


def _work(packed: bytes, root: str, num_threads: int) -> Report:
    """What a task does: unpack the job after the threads are bounded, do it, report."""
    clock = time.perf_counter()
    try:
        bound_threads(num_threads)
        job = _ray().cloudpickle.loads(packed)
    except Exception as error:
        return Report(time.perf_counter() - clock, type(error).__name__, str(error))
    return perform(job, Path(root))


def _ray() -> Any:
    return importlib.import_module("ray")


def _host_and_port(address: str) -> tuple[str, int]:
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or port is None:
        raise InvalidValue("This is not the address of a Ray cluster.", received=address, expected="ray://HOST:PORT")
    return host, port


def _knock(address: str) -> None:
    """Fail within seconds where nobody listens."""
    socket.create_connection(_host_and_port(address), timeout=CONNECT_SECONDS).close()
