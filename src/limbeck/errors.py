"""One tree of errors. Each message gives the fact, what was received, what was expected, and the remedy."""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "InvalidValue",
    "JobFailure",
    "JobsFailed",
    "LimbeckError",
    "MissingPackage",
    "ModelError",
    "NotConverged",
    "OutputError",
    "RankLost",
    "RecordError",
    "ShapeMismatch",
    "StoreError",
    "TeacherError",
    "TrainingDiverged",
    "UnknownName",
]


class LimbeckError(Exception):
    """Something that the user can mend. The command line prints it without a traceback and exits with code 2.

    Args:
        fact: one sentence: what is wrong.
        received: what was given, shortened to what matters.
        expected: what would have been right.
        remedy: what to do now.
    """

    def __init__(
        self, fact: str, *, received: object = None, expected: object = None, remedy: str | None = None
    ) -> None:
        self.fact = fact
        self.received = received
        self.expected = expected
        self.remedy = remedy
        super().__init__(fact)

    def __str__(self) -> str:
        lines = [self.fact]
        lines += [
            f"  {name}: {value}"
            for name, value in (("received", self.received), ("expected", self.expected), ("remedy", self.remedy))
            if value is not None
        ]
        return "\n".join(lines)


class InvalidValue(LimbeckError, ValueError):
    """A number or option outside its range."""


class ShapeMismatch(LimbeckError, ValueError):
    """Two tensors whose shapes do not go together."""


class UnknownName(LimbeckError, LookupError):
    """A name that nothing here has; the near ones are listed."""


class DataError(LimbeckError):
    """A data set that cannot be found, read or used."""


class TeacherError(LimbeckError):
    """A teacher that breaks its contract: awake, trainable, changed, or of other classes than the student."""


class StoreError(LimbeckError):
    """A store of soft targets that is damaged, unfinished, or of another teacher, data set, view or class order."""


class ModelError(LimbeckError):
    """A model that cannot be built, saved or loaded."""


class CheckpointError(LimbeckError):
    """A checkpoint that cannot be read or belongs to another run."""


class ConfigError(LimbeckError):
    """A configuration with a wrong key or value."""


class OutputError(LimbeckError):
    """An output folder that cannot be written."""


class RecordError(LimbeckError):
    """A record that cannot be read."""


class NotConverged(LimbeckError):
    """An iteration that stopped before its result was as good as asked for."""


class TrainingDiverged(LimbeckError):
    """A loss that became NaN or infinite."""


class RankLost(LimbeckError):
    """Another process of the same job that has ended or does not answer."""


class MissingPackage(LimbeckError, ImportError):
    """A package of an extra that is not installed."""


@dataclass(frozen=True)
class JobFailure:
    """Why a job is not done.

    Args:
        job: its name.
        problem: an exception's class, "exit code 3", "signal SIGKILL".
        message: the exception's.
        num_attempts: how often it was tried.
        work_dir: the folder that it left, with the traceback and what its next attempt goes on from.
    """

    job: str
    problem: str
    message: str
    num_attempts: int
    work_dir: str


class JobsFailed(LimbeckError):
    """Jobs that failed while all that could be done was done.

    Args:
        failures: each job that failed.
        not_run: name of each job that was not begun, and the failed one that it waits for.
        num_jobs: of all.
    """

    def __init__(self, failures: Sequence[JobFailure], *, not_run: Mapping[str, str], num_jobs: int) -> None:
        self.failures = tuple(failures)
        self.not_run = dict(not_run)
        lines = [
            f"{failure.job}: {failure.problem}: {failure.message} "
            f"({failure.num_attempts} attempt{'s' * (failure.num_attempts != 1)}, {failure.work_dir})"
            for failure in failures
        ]
        lines += [f"{job}: not run, it waits for {need}" for job, need in not_run.items()]
        super().__init__(
            f"{len(self.failures)} of {num_jobs} jobs failed.",
            received="\n    ".join(line.replace("\n", "\n    ") for line in lines),
            remedy="mend the cause and run the same again: what is done stays, the rest goes on from those folders",
        )


def near_names(name: str, known: Iterable[str], *, count: int = 3) -> list[str]:
    """Return up to ``count`` known names that look like ``name``, nearest first.

    Example:
        >>> near_names("digit", ["mnist", "digits", "cifar10"])
        ['digits']
    """
    return difflib.get_close_matches(name, list(known), n=count, cutoff=0.5)


def shortened(names: Collection[str], *, most: int = 8) -> str:
    """Return the first names, and how many more there are.

    Example:
        >>> shortened(["a", "b", "c", "d"], most=2)
        'a, b and 2 more'
    """
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(itertools.islice(names, most)) + more


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownName:
    """Return the error for a name that is not among the known ones.

    Example:
        >>> print(unknown_name("data set", "digit", ["digits", "mnist"]))
        There is no data set named 'digit'.
          received: digit
          expected: one of digits, mnist
          remedy: did you mean digits?
    """
    names = sorted(known)
    near = near_names(name, names)
    return UnknownName(
        f"There is no {kind} named {name!r}.",
        received=name,
        expected="one of " + ", ".join(names),
        remedy=f"did you mean {' or '.join(near)}?" if near else None,
    )


def _is_finite(value: object) -> bool:
    """Return whether a value is a finite number, and no text or truth value."""
    try:
        return not isinstance(value, (str, bytes, bool)) and math.isfinite(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return False


def require_positive(name: str, value: float) -> None:
    """Raise InvalidValue unless ``value`` is a finite number above 0."""
    if not (_is_finite(value) and value > 0):
        raise InvalidValue(f"{name} must be above 0.", received=value, expected="a finite number > 0")


def require_not_negative(name: str, value: float) -> None:
    """Raise InvalidValue unless ``value`` is a finite number of at least 0."""
    if not (_is_finite(value) and value >= 0):
        raise InvalidValue(f"{name} must not be negative.", received=value, expected="a finite number >= 0")


def require_fraction(name: str, value: float, *, below_one: bool = False) -> None:
    """Raise InvalidValue unless 0 <= value <= 1 (or < 1 where ``below_one``)."""
    if not (_is_finite(value) and value >= 0 and (value < 1 if below_one else value <= 1)):
        expected = "a number in [0, 1)" if below_one else "a number in [0, 1]"
        raise InvalidValue(f"{name} must be a fraction.", received=value, expected=expected)
