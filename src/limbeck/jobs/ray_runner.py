"""Jobs on Ray: on this machine, or on a cluster that shares the folder of outputs."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

from limbeck.errors import InvalidValue, LimbeckError, MissingPackage
from limbeck.jobs.job import Job
from limbeck.jobs.ray_driver import Connection, host_and_port
from limbeck.jobs.ray_hands import GRACE_SECONDS, Start
from limbeck.jobs.work import Report, count_cpus

START = "from limbeck.jobs.ray_driver import serve; serve()"
SHUTDOWN_SECONDS = 30.0  # that Ray has to end its own processes


class RayRunner:
    """Runs every attempt as a Ray task that reserves a CPU for each thread.

    A process of its own talks to Ray, so that a Ray that dies is a failed attempt and no more. A Ray that this process
    is connected to is used and left. Otherwise the one of RAY_ADDRESS, or that of this machine, is joined; where none
    answers on this machine one is started, and ended at the end. The modules of the jobs' functions are installed
    wherever tasks run.

    Args:
        address: ``ray://HOST:PORT`` of a cluster's client server; None for this machine.
        keeps_workers: do attempts by actors, which keep in memory what a job has loaded for the next; closing ends them
            without asking.
        takes_gpus: reserve a GPU for each attempt where the cluster has any.

    Raises:
        MissingPackage: Ray is not installed.
        InvalidValue: an address without a host or a port.
    """

    def __init__(self, address: str | None = None, *, keeps_workers: bool = False, takes_gpus: bool = False) -> None:
        if importlib.util.find_spec("ray") is None:
            raise MissingPackage("Ray is not installed.", remedy="pip install 'limbeck[ray]'")
        self.address = address
        self._way = {"keeps_workers": keeps_workers, "takes_gpus": takes_gpus}
        if address is not None:
            host_and_port(address)
        self._threads = 1
        self._driver: _DriverProcess | None = None
        self._begun: dict[str, float] = {}  # when the jobs that run were handed over
        self._unsent: list[tuple[str, Report]] = []

    def open(self, threads_per_job: int | None) -> None:
        """Connect, and let Ray queue what it has no CPUs for.

        Raises:
            InvalidValue: nothing answers at the address; no node has as many CPUs as a job takes.
        """
        self._threads = threads_per_job or 1
        self._driver = self._connected()

    def start(self, job: Job, root: Path) -> None:
        """Hand a task to Ray, connecting again where Ray was lost. A job that cannot be sent has failed."""
        try:
            packed = importlib.import_module("ray").cloudpickle.dumps(job)  # takes functions of a script by value
        except Exception as error:
            self._unsent.append((job.name, Report(0.0, type(error).__name__, f"cannot be sent to Ray: {error}")))
            return
        try:
            if self._driver is None:
                self._driver = self._connected()
        except LimbeckError as error:
            self._unsent.append((job.name, Report(0.0, type(error).__name__, str(error))))
            return
        self._begun[job.name] = time.perf_counter()
        self._driver.send(Start(job.name, packed, str(root)))

    def wait(self) -> list[tuple[str, Report]]:
        """Wait for a report, or for the end of the process that talks to Ray, which loses all that runs."""
        if self._unsent:
            unsent, self._unsent = self._unsent, []
            return unsent
        assert self._driver is not None, "nothing was started"
        try:
            name, report = self._driver.receive()
        except (EOFError, OSError):
            problem = self._driver.end()
            self._driver = None
            lost, self._begun = self._begun, {}
            now = time.perf_counter()
            return [(name, Report(now - begun, "RayLost", problem)) for name, begun in lost.items()]
        del self._begun[name]
        return [(name, report)]

    def close(self) -> None:
        """Interrupt every task as Ctrl-C would, end what goes on nevertheless, and leave Ray as it was."""
        driver, self._driver = self._driver, None
        self._begun = {}
        if driver is not None:
            driver.end()

    def _connected(self) -> _DriverProcess:
        driver = _DriverProcess()
        num_cpus = max(count_cpus(), self._threads)
        address, program = self.address or _used_here(), os.path.abspath(sys.argv[0])
        driver.send(Connection(address, self._threads, num_cpus, program, **self._way))
        try:
            refusal = driver.receive()
        except (EOFError, OSError) as error:
            raise InvalidValue(
                "Ray could not be started.", received=driver.end(), expected="a Ray that starts or can be joined"
            ) from error
        except BaseException:
            driver.end()
            raise
        if refusal is not None:
            driver.end()
            raise refusal
        return driver


class _DriverProcess:
    """The other end of :func:`limbeck.jobs.ray_driver.serve`, out of reach of a Ctrl-C in the terminal."""

    def __init__(self) -> None:
        path = os.pathsep.join(os.path.abspath(folder) for folder in sys.path)  # tasks find what this process finds
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by end
        self._process = subprocess.Popen(
            [sys.executable, "-c", START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=os.environ | {"PYTHONPATH": path},
            start_new_session=True,
        )

    def send(self, command: Connection | Start) -> None:
        """Send; where the process has ended, :meth:`receive` finds out."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            pickle.dump(command, self._process.stdin)
            self._process.stdin.flush()

    def receive(self) -> Any:
        """Wait for a reply.

        Raises:
            EOFError, OSError: the process has ended.
        """
        assert self._process.stdout is not None
        return pickle.load(self._process.stdout)

    def end(self) -> str:
        """Let the process interrupt its tasks and end; return how it ended, with the last line it wrote."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            process.wait(GRACE_SECONDS + SHUTDOWN_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        self._errors.close()
        return (
            f"the process that talks to Ray ended with code {process.returncode}: {lines[-1] if lines else 'no word'}"
        )


def _used_here() -> str | None:
    """Return the address of the Ray that this process is connected to, if it is."""
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return None
    if ray.util.client.ray.is_connected():
        raise InvalidValue(
            "This process is connected to a Ray through its client server.",
            received="ray",
            expected="the address of the cluster",
            remedy="choose ray://HOST:PORT as runner",
        )
    return str(ray.get_runtime_context().gcs_address)
