"""The process that talks to Ray: a driver that loses its raylet is ended by Ray, and must take nothing with it."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import pickle
import queue
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from limbeck.errors import InvalidValue, LimbeckError
from limbeck.jobs.ray_hands import Actors, Start, Tasks
from limbeck.jobs.work import Report

CONNECT_SECONDS = 10.0
LOOK_SECONDS = 0.1  # between two looks at new commands while tasks run
OBJECT_STORE_BYTES = 100 * 2**20  # reports are small; outputs go to folders


@dataclass(frozen=True)
class Connection:
    """Which Ray, and what the jobs take of it.

    Args:
        address: of a cluster, see :class:`limbeck.jobs.RayRunner`; None for the Ray of this machine.
        threads_per_job: CPUs that a task reserves.
        num_cpus: of a Ray that has to be started.
        program: the file that the user runs; tasks find the modules beside it.
        keeps_workers: whether jobs go to actors, which keep in memory what a job has loaded for the next.
        takes_gpus: whether a task or actor reserves a GPU where the cluster has any.
    """

    address: str | None
    threads_per_job: int
    num_cpus: int
    program: str
    keeps_workers: bool = False
    takes_gpus: bool = False


def serve() -> None:
    """Be the driver: read a Connection, then Start commands from standard input; write what comes of them.

    The first reply is None or the LimbeckError that there is no connection for; each later one a job's name and its
    Report. The end of the input interrupts what still runs.
    """
    commands, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what Ray prints must not get among the replies
    connection: Connection = pickle.load(commands)
    sys.argv = [connection.program]
    try:
        ray = connect(connection)
    except LimbeckError as error:
        _send(replies, error)
        return
    try:
        _send(replies, None)
        _Driver(ray, replies, _hands(ray, connection)).run(_queued(commands))
    finally:
        ray.shutdown()


def connect(connection: Connection) -> Any:
    """Connect this process and return the module ``ray``.

    Raises:
        InvalidValue: nothing answers at the address; no node has as many CPUs as a job takes.
    """
    ray = importlib.import_module("ray")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a Ray of ours reports to nobody
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    address = connection.address or os.environ.get("RAY_ADDRESS") or running_here()
    if address is None:
        bounds = {"num_cpus": connection.num_cpus, "object_store_memory": OBJECT_STORE_BYTES}
        ray.init("local", include_dashboard=False, **bounds, **quiet)
    else:
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
    largest = int(max((node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]), default=0))
    if 0 < largest < connection.threads_per_job:
        ray.shutdown()
        raise InvalidValue(
            "No node of the Ray cluster has enough CPUs for a job.",
            received=f"{connection.threads_per_job} threads per job",
            expected=f"at most {largest}",
        )
    return ray


def _hands(ray: Any, connection: Connection) -> Tasks | Actors:
    """Return what does the jobs of a connection."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    num_gpus = 1 if connection.takes_gpus and any(node.get("GPU", 0) >= 1 for node in nodes) else 0
    if connection.keeps_workers:
        return Actors(ray, connection.threads_per_job, num_gpus, nodes)
    return Tasks(ray, connection.threads_per_job, num_gpus)


@dataclass
class _Driver:
    """Attempts that run, by their future."""

    ray: Any
    replies: BinaryIO
    hands: Tasks | Actors
    running: dict[Any, tuple[str, float]] = field(default_factory=dict)  # name of the job, when it began

    def run(self, commands: queue.Queue[Start | None]) -> None:
        """Do as told until the commands end."""
        try:
            while True:
                command = self._next(commands)
                if isinstance(command, Start):
                    self._begin(self.hands.take(command))
                elif command is None:
                    return
                else:
                    self._report()
        finally:
            running, self.running = list(self.running), {}
            self.hands.stop(running)

    def _begin(self, begun: list[tuple[Any, Start]]) -> None:
        for future, start in begun:
            self.running[future] = start.name, time.perf_counter()

    def _next(self, commands: queue.Queue[Start | None]) -> Start | str | None:
        """Return a command, None at their end, or "none yet" where tasks run that may have ended."""
        try:
            return commands.get(block=not self.running)
        except queue.Empty:
            return "none yet"

    def _report(self) -> None:
        ended, _ = self.ray.wait(list(self.running), num_returns=1, timeout=LOOK_SECONDS)
        for future in ended:
            name, begun = self.running.pop(future)
            is_lost = False
            try:
                report = self.ray.get(future)
            except self.ray.exceptions.LocalRayletDiedError:
                self.running.clear()
                raise  # nothing runs any more: the next attempt begins with another Ray
            except self.ray.exceptions.RayError as error:
                is_lost = True
                report = Report(time.perf_counter() - begun, type(error).__name__, str(error).strip())
            _send(self.replies, (name, report))
            self._begin(self.hands.ended(future, is_lost=is_lost))


def _queued(commands: BinaryIO) -> queue.Queue[Start | None]:
    """Return a queue that a thread fills with the commands, and with None at their end."""
    filled: queue.Queue[Start | None] = queue.Queue()

    def fill() -> None:
        with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
            while True:
                filled.put(pickle.load(commands))
        filled.put(None)

    threading.Thread(target=fill, daemon=True).start()
    return filled


def _send(replies: BinaryIO, reply: object) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more
        pickle.dump(reply, replies)
        replies.flush()


def running_here() -> str | None:
    """Return the address of the Ray last started on this machine, if it replies: one that died leaves its address."""
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    try:
        address = Path(folder, "ray", "ray_current_cluster").read_text("utf-8").strip()
        _knock(address)
    except (OSError, InvalidValue):
        return None
    return address


def host_and_port(address: str) -> tuple[str, int]:
    """Return the parts of an address.

    Raises:
        InvalidValue: it has no host or no port.
    """
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
    socket.create_connection(host_and_port(address), timeout=CONNECT_SECONDS).close()
