"""What does attempts at jobs on Ray: a task for each, or actors that do one after the other."""

from __future__ import annotations

import importlib
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck.jobs.work import Report, bound_threads, perform

GRACE_SECONDS = 30.0  # that a job has to end its step and write its checkpoint


@dataclass(frozen=True)
class Start:
    """Command: begin an attempt at a job, pickled by cloudpickle."""

    name: str
    packed: bytes
    root: str


class Tasks:
    """A Ray task for each attempt; Ray queues what it has no room for.

    Args:
        ray: the module, connected.
        num_threads: of an attempt; as many CPUs are reserved.
        num_gpus: that an attempt reserves.
    """

    def __init__(self, ray: Any, num_threads: int, num_gpus: int) -> None:
        self._ray, self._num_threads, self._task = ray, num_threads, ray.remote(attempt)
        self._options = {"num_cpus": num_threads, "num_gpus": num_gpus, "max_retries": 0}

    def take(self, start: Start) -> list[tuple[Any, Start]]:
        """Begin an attempt; return the futures of all that have begun."""
        task = self._task.options(name=start.name, **self._options)
        return [(task.remote(start.packed, start.root, self._num_threads), start)]

    def ended(self, future: Any, *, is_lost: bool) -> list[tuple[Any, Start]]:
        """Take note of an attempt's end; return the futures of all that have begun by it."""
        return []

    def stop(self, running: Sequence[Any]) -> None:
        """Interrupt every task as Ctrl-C would; end what goes on nevertheless."""
        try:
            for future in running:
                self._ray.cancel(future)
            if running:
                self._ray.wait(running, num_returns=len(running), timeout=GRACE_SECONDS)
        finally:
            for future in running:
                self._ray.cancel(future, force=True)


class Actors:
    """As many actors as the cluster has room for, each with one attempt at a time; one that is lost is replaced.

    What a job keeps in its process, such as a network that it has loaded, is there for the actor's next.

    Args:
        ray: the module, connected.
        num_threads: of an actor; as many CPUs are reserved.
        num_gpus: that an actor reserves.
        nodes: resources of each node.
    """

    def __init__(self, ray: Any, num_threads: int, num_gpus: int, nodes: Sequence[Mapping[str, float]]) -> None:
        self._ray, self._num_threads = ray, num_threads
        options = {"num_cpus": num_threads, "num_gpus": num_gpus, "max_restarts": 0, "max_task_retries": 0}
        self._kind = ray.remote(_Actor).options(**options)
        room = [
            min(node.get("CPU", 0) // num_threads, node.get("GPU", 0) // num_gpus if num_gpus else float("inf"))
            for node in nodes
        ]
        self._most = max(1, int(sum(room)))
        self._idle: list[Any] = []
        self._at_work: dict[Any, Any] = {}  # actors by their future
        self._waiting: deque[Start] = deque()

    def take(self, start: Start) -> list[tuple[Any, Start]]:
        """Begin an attempt where an actor is free; return the futures of all that have begun."""
        self._waiting.append(start)
        return self._begin()

    def ended(self, future: Any, *, is_lost: bool) -> list[tuple[Any, Start]]:
        """Give an actor its next attempt; return the futures of all that have begun by it."""
        actor = self._at_work.pop(future)
        if not is_lost:
            self._idle.append(actor)
        return self._begin()

    def stop(self, running: Sequence[Any]) -> None:
        """End every actor; what it was at is not whole, and is begun again."""
        for actor in (*self._idle, *self._at_work.values()):
            self._ray.kill(actor)

    def _begin(self) -> list[tuple[Any, Start]]:
        begun = []
        while self._waiting and (self._idle or len(self._at_work) < self._most):
            start = self._waiting.popleft()
            actor = self._idle.pop() if self._idle else self._kind.remote()
            future = actor.attempt.remote(start.packed, start.root, self._num_threads)
            self._at_work[future] = actor
            begun.append((future, start))
        return begun


class _Actor:
    """Does attempts in one process."""

    def attempt(self, packed: bytes, root: str, num_threads: int) -> Report:
        """Do as :func:`attempt` does."""
        return attempt(packed, root, num_threads)


def attempt(packed: bytes, root: str, num_threads: int) -> Report:
    """Unpack a job after the threads are bounded, do it, report."""
    clock = time.perf_counter()
    try:
        bound_threads(num_threads)
        job = importlib.import_module("ray").cloudpickle.loads(packed)
    except Exception as error:
        return Report(time.perf_counter() - clock, type(error).__name__, str(error))
    return perform(job, Path(root))
