"""Checkpoints of a sharded student: a folder for each, written by all ranks while the training goes on.

The tensors go through ``torch.distributed.checkpoint``, which writes a file for each rank. ``index.json``, sealed and
written last, names every file with its SHA-256, and holds all that is no tensor: a folder without it is half-written.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from limbeck.errors import CheckpointError, OutputError, RecordError
from limbeck.models.sharding import is_dtensor, sharded_zeros
from limbeck.ranks.group import Ranks, background_group, rank_lost
from limbeck.records import make_folder, read_sealed_json, sealed_text, write_text
from limbeck.records.files import hash_file, remedy_of
from limbeck.training.checkpoint import check_identity

FORMAT, VERSION = "limbeck-sharded-checkpoint", 1
INDEX = "index.json"
STEP = "step-"  # begins the name of a checkpoint's folder


def folder_beside(checkpoint: Path) -> Path:
    """Return where a sharded student is saved in place of a file: "run/checkpoint" for "run/checkpoint.pt"."""
    return checkpoint.with_suffix("")


class ShardedCheckpoints:
    """The checkpoints of one training, of which the last is kept. All ranks call the same methods in the same order.

    Args:
        folder: on a file system of all ranks.
        ranks: of the training.
    """

    def __init__(self, folder: Path, ranks: Ranks) -> None:
        self.folder, self.ranks = folder, ranks
        self._group = background_group()
        self._in_flight: Future[None] | None = None

    def load(self, *, identity: dict[str, str]) -> dict[str, Any] | None:
        """Return the state of the last checkpoint that is whole, with each rank's shards; None where there is none.

        Raises:
            CheckpointError: one that is damaged, or belongs to another run.
        """
        found = self.ranks.from_first(lambda: _last_whole(self.folder))
        if found is None:
            return None
        place, index = found
        self.ranks.from_first(lambda: check_identity(place, index["identity"], identity))
        names = sorted(index["files"])[self.ranks.number :: self.ranks.size]
        damaged = [name for name in names if _hash_of(place / name) != index["files"][name]]
        for name in itertools.chain(*self.ranks.gather(damaged)):
            raise CheckpointError(
                f"The checkpoint {place} is damaged.",
                received=f"{name}: missing, or bytes whose SHA-256 differs from the one they were written with",
                remedy="delete it to start this network again",
            )
        tensors = {
            key: sharded_zeros(tuple(shape), getattr(torch, dtype), ranks=self.ranks)
            if is_shared
            else torch.zeros(shape, dtype=getattr(torch, dtype))
            for key, (shape, dtype, is_shared) in index["tensors"].items()
        }
        _read(tensors, place, self._group)
        return _joined(json.loads(index["plain"]), tensors)  # type: ignore[no-any-return]

    def save(self, state: dict[str, Any], *, step: int, identity: dict[str, str]) -> None:
        """Copy a state to host memory, and let it be written while the training goes on; wait for the one before.

        Args:
            state: tensors, whole or sharded, and plain values, in dicts and lists.
            step: of the training.
            identity: what tells this run from others.
        Raises:
            OutputError: the folder, or the checkpoint before, could not be written.
        """
        from torch.distributed.checkpoint.filesystem import FileSystemWriter
        from torch.distributed.checkpoint.state_dict_saver import async_save

        self.finish()
        place = self.ranks.from_first(lambda: _free_place(self.folder, step))
        tensors: dict[str, Tensor] = {}
        plain = _split(state, tensors, "")
        index = {
            "format": FORMAT,
            "version": VERSION,
            "step": step,
            "identity": identity,
            "ranks": self.ranks.size,
            "tensors": {
                key: [list(value.shape), str(value.dtype).removeprefix("torch."), is_dtensor(value)]
                for key, value in tensors.items()
            },
            "plain": json.dumps(plain),
        }
        written = async_save(tensors, storage_writer=FileSystemWriter(place), process_group=self._group)
        assert isinstance(written, Future), "no staging of its own was asked for"
        self._in_flight = Future()
        written.add_done_callback(partial(self._seal, place, index, self._in_flight))

    @property
    def has_failed(self) -> bool:
        """Whether it is known that the checkpoint in flight could not be written."""
        in_flight = self._in_flight
        return in_flight is not None and in_flight.done() and in_flight.exception() is not None

    def finish(self) -> None:
        """Wait until the checkpoint in flight is whole.

        Raises:
            OutputError: it could not be written.
            RankLost: another rank has ended.
        """
        if self._in_flight is not None:
            in_flight, self._in_flight = self._in_flight, None
            in_flight.result()

    def _seal(self, place: Path, index: dict[str, Any], sealed: Future[None], written: Future[Any]) -> None:
        """Write the index once all ranks have written, and remove the checkpoint before: in the writing thread."""
        try:
            problem = _told(written.exception(), place)
            own = {} if problem else self._hashes(place)
            told: list[Any] = [None] * self.ranks.size
            dist.all_gather_object(told, (problem, own), group=self._group)
            problem = next((one for one, _ in told if one is not None), None)
            if problem is None:
                files = {name: digest for _, hashes in told for name, digest in hashes.items()}
                outcome = [self._end(place, {**index, "files": files}) if self.ranks.is_first else None]
                dist.broadcast_object_list(outcome, src=0, group=self._group)
                problem = outcome[0]
            if problem is not None:
                raise problem
            sealed.set_result(None)
        except RuntimeError as error:
            sealed.set_exception(rank_lost(error))
        except BaseException as error:
            sealed.set_exception(error)

    def _hashes(self, place: Path) -> dict[str, str]:
        """Return the SHA-256 of the files that this rank wrote."""
        own = list(place.glob(f"__{self.ranks.number}_*"))
        if self.ranks.is_first:
            own.append(place / ".metadata")
        return {path.name: hash_file(path) for path in own}

    def _end(self, place: Path, index: dict[str, Any]) -> OutputError | None:
        try:
            write_text(place / INDEX, sealed_text(index))
        except OutputError as error:
            return error
        for other in self.folder.glob(f"{STEP}*"):
            if other != place:
                shutil.rmtree(other, ignore_errors=True)
        return None


def _last_whole(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """Return the checkpoint of the most steps that has an index, and that.

    Raises:
        CheckpointError: its index was changed, or is of another release.
    """
    places = [path.parent for path in folder.glob(f"{STEP}*/{INDEX}")]
    if not places:
        return None
    place = max(places, key=lambda path: path.name)
    try:
        return place, read_sealed_json(place / INDEX, format_name=FORMAT, version=VERSION)
    except RecordError as error:
        raise CheckpointError(
            f"The checkpoint {place} is damaged.",
            received=error.fact,
            remedy="delete it to start this network again",
        ) from error


def _free_place(folder: Path, step: int) -> Path:
    """Make the folder of a new checkpoint."""
    make_folder(folder)
    for again in range(100):
        place = folder / f"{STEP}{step:010d}-{again:02d}"
        if not (place / INDEX).exists():
            shutil.rmtree(place, ignore_errors=True)  # half-written
            return make_folder(place)
    raise OutputError(f"{folder} holds a hundred checkpoints of step {step}.", remedy="remove them")


def _read(tensors: dict[str, Tensor], place: Path, group: dist.ProcessGroup) -> None:
    from torch.distributed.checkpoint.state_dict_loader import load

    from limbeck.training.plain_unpickling import PlainReader

    try:
        reader = PlainReader(place)
        reader.read_metadata()  # which torch would look for elsewhere after an error
        load(tensors, storage_reader=reader, process_group=group)
    except BaseException as error:
        cause = _cause(error)
        if not isinstance(cause, Exception):
            raise
        raise CheckpointError(
            f"{place} is no checkpoint of such a training.",
            received=f"{type(cause).__name__}: {cause}".partition("\n")[0][:200],
            remedy="delete it to start this network again",
        ) from error


def _hash_of(path: Path) -> str | None:
    with contextlib.suppress(OSError):
        return hash_file(path)
    return None


def _told(error: BaseException | None, place: Path) -> OutputError | None:
    """Return why a checkpoint could not be written."""
    if error is None:
        return None
    cause = _cause(error)
    return OutputError(
        f"Cannot write the checkpoint {place}.",
        received=(isinstance(cause, OSError) and cause.strerror) or f"{type(cause).__name__}: {cause}"[:200],
        expected="a writable folder with free space",
        remedy=remedy_of(cause) if isinstance(cause, OSError) else None,
    )


def _cause(error: BaseException) -> BaseException:
    """Return an error, or of the errors of all ranks, which torch gathers into one, the first: one of a disk if any."""
    causes = [cause for cause, _ in getattr(error, "failures", {}).values()] or [error]
    return next((cause for cause in causes if isinstance(cause, OSError)), causes[0])


def _split(value: Any, tensors: dict[str, Tensor], key: str) -> Any:
    """Return a state as JSON holds it, with the keys of its tensors, which go into ``tensors``."""
    if isinstance(value, Tensor):
        tensors[key] = value.detach()
        return {"tensor": key}
    if isinstance(value, dict):
        return {"items": [[name, _split(one, tensors, f"{key}/{name}")] for name, one in value.items()]}
    if isinstance(value, list | tuple):
        return [_split(one, tensors, f"{key}/{number}") for number, one in enumerate(value)]
    return value


def _joined(plain: Any, tensors: dict[str, Tensor]) -> Any:
    """Return the state that ``_split`` took apart; its tuples are lists."""
    if isinstance(plain, list):
        return [_joined(one, tensors) for one in plain]
    if not isinstance(plain, dict):
        return plain
    if "tensor" in plain:
        return tensors[plain["tensor"]]
    return {name: _joined(one, tensors) for name, one in plain["items"]}
