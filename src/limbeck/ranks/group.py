"""What the ranks of one job do together. One process alone has the same methods, which then cost nothing."""

from __future__ import annotations

import atexit
import contextlib
import re
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore

from limbeck.errors import LimbeckError, RankLost
from limbeck.ranks.launched import agent_store, meeting_name, num_ranks, parent_has_ended, rank_number, ranks_here

STEP_TIMEOUT = timedelta(minutes=10)  # a rank that is there, and does not come to the same step
WORK_TIMEOUT = timedelta(days=7)  # of what one rank does while the others wait: a collection, an evaluation
Value = TypeVar("Value")
_OF_CONNECTION = re.compile("gloo|nccl|connection (closed|reset)", re.IGNORECASE)


class Ranks(ABC):
    """The processes of one job, of which this is one. Every rank calls the same methods in the same order."""

    @property
    @abstractmethod
    def number(self) -> int:
        """Which one this is, from 0."""

    @property
    @abstractmethod
    def size(self) -> int:
        """How many there are."""

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which alone writes and shows progress."""
        return self.number == 0

    @abstractmethod
    def add_up(self, tensor: Tensor) -> Tensor:
        """Replace a tensor by its sum over all ranks, in place, the same bits on each; return it."""

    @abstractmethod
    def any_of(self, flags: Sequence[bool]) -> list[bool]:
        """Return which of some questions a rank answered with yes."""

    @abstractmethod
    def from_first(self, make: Callable[[], Value]) -> Value:
        """Return what ``make`` returns on rank 0, where alone it is called; its LimbeckError is raised on all.

        However long that takes, the others wait. Value and error are pickled.
        """

    @abstractmethod
    def gather(self, value: Value) -> list[Value]:
        """Return every rank's value, in their order, on each."""

    @abstractmethod
    def deal(self, make: Callable[[], Sequence[Value]]) -> Value:
        """Return this rank's of the values, one for each, that ``make`` returns on rank 0, where alone it is called.

        However long that takes, the others wait. Values are pickled.
        """


class OneProcess(Ranks):
    """No ranks: this process is all there is."""

    @property
    def number(self) -> int:
        return 0

    @property
    def size(self) -> int:
        return 1

    def add_up(self, tensor: Tensor) -> Tensor:
        return tensor

    def any_of(self, flags: Sequence[bool]) -> list[bool]:
        return list(flags)

    def from_first(self, make: Callable[[], Value]) -> Value:
        return make()

    def gather(self, value: Value) -> list[Value]:
        return [value]

    def deal(self, make: Callable[[], Sequence[Value]]) -> Value:
        return make()[0]


class ProcessRanks(Ranks):
    """Ranks that talk through torch.distributed: gloo, and NCCL where each has a GPU of its own.

    What is small and on the host goes through a group of gloo's of its own, which notices at once when a rank ends.
    """

    def __init__(self) -> None:
        end_with_parent()
        if not dist.is_initialized():
            with _answered():
                store = PrefixStore(meeting_name(), agent_store())
                dist.init_process_group(
                    _backend(), store=store, rank=rank_number(), world_size=num_ranks(), timeout=STEP_TIMEOUT
                )
            atexit.register(_leave)
        self._number, self._size = dist.get_rank(), dist.get_world_size()
        with _answered():
            self._waiting = dist.new_group(backend="gloo", timeout=WORK_TIMEOUT)

    @property
    def number(self) -> int:
        return self._number

    @property
    def size(self) -> int:
        return self._size

    def add_up(self, tensor: Tensor) -> Tensor:
        with _answered():
            dist.all_reduce(tensor)
        return tensor

    def any_of(self, flags: Sequence[bool]) -> list[bool]:
        votes = torch.tensor(flags, dtype=torch.int32)
        with _answered():
            dist.all_reduce(votes, op=dist.ReduceOp.MAX, group=self._waiting)
        return [bool(vote) for vote in votes.tolist()]

    def from_first(self, make: Callable[[], Value]) -> Value:
        made: list[Any] = [None, None]
        if self.is_first:
            try:
                made[0] = make()
            except LimbeckError as error:
                made[1] = error
        with _answered():
            dist.broadcast_object_list(made, src=0, group=self._waiting)
        value, problem = made
        if problem is not None:
            raise problem
        return value  # type: ignore[no-any-return]

    def gather(self, value: Value) -> list[Value]:
        values: list[Any] = [None] * self.size
        with _answered():
            dist.all_gather_object(values, value, group=self._waiting)
        return values

    def deal(self, make: Callable[[], Sequence[Value]]) -> Value:
        own: list[Any] = [None]
        values = list(make()) if self.is_first else None
        with _answered():
            dist.scatter_object_list(own, values, src=0, group=self._waiting)
        return own[0]  # type: ignore[no-any-return]


ALONE = OneProcess()


@cache
def ranks_of_process() -> Ranks:
    """Return the ranks that torchrun started, joined at the first call; this process alone without torchrun.

    Raises:
        RankLost: the others cannot be reached.
    """
    return ProcessRanks() if num_ranks() > 1 else ALONE


def end_with_parent() -> None:
    """Let the system send this process a SIGTERM when the one that started it ends, however it ends; Linux alone.

    Torchrun ends its ranks where it can. Killed, it cannot, and they would go on by themselves, with the folder locked.

    Raises:
        RankLost: it has ended already. The ranks would look for it for minutes.
    """
    torch.multiprocessing._prctl_pr_set_pdeathsig(signal.SIGTERM)  # type: ignore[attr-defined]
    if parent_has_ended():
        raise RankLost("torchrun has ended before its ranks began.", remedy="start it again")


def _backend() -> str:
    """Return NCCL for tensors on GPUs where each rank of this machine has one, and gloo for all others."""
    have_own_gpus = torch.cuda.is_available() and ranks_here() <= torch.cuda.device_count()
    return "cpu:gloo,cuda:nccl" if have_own_gpus and dist.is_nccl_available() else "gloo"


@contextlib.contextmanager
def _answered() -> Iterator[None]:
    """Tell a rank that has ended, or does not answer, as what it is."""
    try:
        yield
    except RuntimeError as error:
        raise rank_lost(error) from error


@contextlib.contextmanager
def loss_of_ranks_told() -> Iterator[None]:
    """Tell a rank that has ended where torch talks to it: in the passes of a sharded network."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and not _OF_CONNECTION.search(str(error)):
            raise
        raise rank_lost(error) from error


def background_group() -> dist.ProcessGroup:
    """Return a group of all ranks for a thread beside the training, which has groups of its own.

    Raises:
        RankLost: another rank has ended.
    """
    with _answered():
        group: dist.ProcessGroup = dist.new_group(backend="gloo", timeout=WORK_TIMEOUT)
    return group


def rank_lost(error: RuntimeError) -> RankLost:
    """Return the error of a rank that has ended, or does not answer; this one will not wait for it when it ends."""
    atexit.unregister(_leave)  # which would wait for it
    return RankLost(
        "Another rank has ended, or does not answer.",
        received=str(error).splitlines()[0][:200],
        remedy="see that rank's own message; run the same command again to go on from the last checkpoint "
        "(torchrun --max-restarts does so by itself)",
    )


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
