"""One job, the hash that names its output, and the order of many."""

from __future__ import annotations

import graphlib
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck.errors import InvalidValue, unknown_name

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
KEY = re.compile(r"[A-Za-z0-9]+")
KEY_DIGITS = 16


@dataclass(frozen=True, eq=False)
class Job:
    """Something to be made once: a function that writes into a folder, and the hash of all that decides what.

    Args:
        name: what a person calls it; names a folder.
        key: see :func:`job_key`; of letters and digits.
        work: called as ``work(folder, *arguments)``. It writes its output into ``folder``, which may hold what an
            attempt before left: a checkpoint to go on from. It takes everything else from its arguments and from the
            folders of the jobs that it needs. For runners with other processes both are picklable: a function of a
            module's top level.
        arguments: of ``work``, after the folder.
        needs: names of the jobs that must be done before.

    Raises:
        InvalidValue: a name or a key that cannot name a folder.
    """

    name: str
    key: str
    work: Callable[..., object]
    arguments: tuple[Any, ...] = ()
    needs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise InvalidValue(
                "This name of a job cannot name a folder.", received=self.name, expected="letters, digits, _ . and -"
            )
        if not KEY.fullmatch(self.key):
            raise InvalidValue(
                f"The key of the job {self.name} cannot name a folder.",
                received=self.key,
                expected="letters and digits, as job_key gives them",
            )

    def place(self, root: Path) -> Path:
        """Return the folder of the output. The job is done if and only if it is there."""
        return root / f"{self.name}-{self.key}"

    def work_dir(self, root: Path) -> Path:
        """Return the folder that the output is made in, renamed to :meth:`place` when it is whole."""
        return root / f"{self.name}-{self.key}.partial"


def job_key(identity: Mapping[str, Any]) -> str:
    """Return the hash of everything that decides a job's output, in hexadecimal.

    Args:
        identity: plain values by name: settings, seeds, fingerprints of data, keys of the jobs it needs.

    Example:
        >>> job_key({"spec": "mlp", "seed": 0}) == job_key({"seed": 0, "spec": "mlp"})
        True
    """
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:KEY_DIGITS]


def checked(jobs: Sequence[Job]) -> list[Job]:
    """Return every job once, as given, when there is an order in which they can be done.

    Raises:
        InvalidValue: two jobs of one name and different keys; jobs that need each other in a circle.
        UnknownName: a job needs one that is not among them.
    """
    known: dict[str, Job] = {}
    for job in jobs:
        first = known.setdefault(job.name, job)
        if (first.key, first.needs) != (job.key, job.needs):
            raise InvalidValue(
                f"Two different jobs are named {job.name}.",
                received=f"keys {first.key} and {job.key}, needs {list(first.needs)} and {list(job.needs)}",
                expected="a name for each",
            )
    for job in known.values():
        for need in job.needs:
            if need not in known:
                error = unknown_name("job", need, known)
                error.fact = f"The job {job.name} needs {need}, which is not among the jobs."
                raise error
    try:
        graphlib.TopologicalSorter({job.name: job.needs for job in known.values()}).prepare()
    except graphlib.CycleError as error:
        raise InvalidValue(
            "Jobs need each other in a circle.",
            received=" needs ".join(reversed(error.args[1])),
            expected="an order in which they can be done",
        ) from error
    return list(known.values())
