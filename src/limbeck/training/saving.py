"""How a training keeps its state: in one file that rank 0 writes, or a sharded student in a folder of all ranks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from limbeck.errors import CheckpointError
from limbeck.training.checkpoint import load_checkpoint, save_checkpoint
from limbeck.training.run import TrainingRun
from limbeck.training.sharded_checkpoint import STEP, ShardedCheckpoints, folder_beside


class Checkpoints(ABC):
    """The checkpoints of one training. All ranks call the same methods in the same order."""

    @abstractmethod
    def load(self) -> dict[str, Any] | None:
        """Return the state that was saved last; None where nothing was.

        Raises:
            CheckpointError: it is damaged, or belongs to another run.
        """

    @abstractmethod
    def save(self) -> None:
        """Save the state, or begin to; one that began before is ended first."""

    @abstractmethod
    def has_failed(self) -> bool:
        """Whether it is known that a save in the background failed."""

    @abstractmethod
    def finish(self) -> None:
        """Wait for the end of a save in the background; raise its error."""


def checkpoints_of(run: TrainingRun) -> Checkpoints:
    """Return how a training keeps its state.

    Raises:
        CheckpointError: there is one of the other kind.
    """
    path = run.checkpoint

    def checked() -> Path | None:
        if path is None:
            return None
        folder = folder_beside(path)
        if run.sharded is None and any(folder.glob(f"{STEP}*")):
            raise _other_kind(folder, "a sharded student", "add --student-sharding full, on several ranks")
        if run.sharded is not None and path.exists():
            raise _other_kind(path, "a student that is whole on each rank", "leave --student-sharding out")
        return folder

    folder = run.ranks.from_first(checked)
    if run.sharded is None:
        return _File(run)
    run.checkpoint = None if path is None else folder  # what is told of it
    return _Nothing() if folder is None else _Folder(run, ShardedCheckpoints(folder, run.ranks))


class _Nothing(Checkpoints):
    """Nothing is kept."""

    def load(self) -> None:
        return None

    def save(self) -> None:
        pass

    def has_failed(self) -> bool:
        return False

    def finish(self) -> None:
        pass


class _File(Checkpoints):
    """One sealed file, written at once by the rank that has its path."""

    def __init__(self, run: TrainingRun) -> None:
        self._run = run

    def load(self) -> dict[str, Any] | None:
        return self._run.ranks.from_first(self._read)

    def _read(self) -> dict[str, Any] | None:
        path = self._run.checkpoint
        return load_checkpoint(path, identity=self._run.identity()) if path is not None and path.exists() else None

    def save(self) -> None:
        run = self._run
        if run.checkpoint is not None:
            run.state.clock.tick()
            save_checkpoint(run.checkpoint, run.state.snapshot(), identity=run.identity())

    def has_failed(self) -> bool:
        return False

    def finish(self) -> None:
        pass


class _Folder(Checkpoints):
    """A folder that all ranks write in the background."""

    def __init__(self, run: TrainingRun, checkpoints: ShardedCheckpoints) -> None:
        self._run, self._checkpoints = run, checkpoints

    def load(self) -> dict[str, Any] | None:
        return self._checkpoints.load(identity=self._run.identity())

    def save(self) -> None:
        run = self._run
        run.state.clock.tick()
        self._checkpoints.save(run.state.snapshot(), step=run.state.step, identity=run.identity())

    def has_failed(self) -> bool:
        return self._checkpoints.has_failed

    def finish(self) -> None:
        self._checkpoints.finish()


def _other_kind(path: Path, of: str, remedy: str) -> CheckpointError:
    return CheckpointError(
        f"The checkpoint {path} is of {of}.", expected="one of a student that is trained in the same way", remedy=remedy
    )
