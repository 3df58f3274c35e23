"""What torchrun tells a process of its ranks, and who says what all of them have to say. Knows no torch until asked."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING

from limbeck.errors import InvalidValue, LimbeckError, RankLost

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

_MEETING_SECONDS = 300.0  # until all ranks have begun
_PREFIX = "limbeck"  # of keys


class _Parent:
    """The process that started this one, seen before torch is imported, which takes seconds."""

    def __init__(self) -> None:
        self.number = os.getppid()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._look_again)

    def _look_again(self) -> None:
        self.number = os.getppid()


_PARENT = _Parent()


def parent_has_ended() -> bool:
    """Tell whether the process that started this one has ended."""
    return os.getppid() != _PARENT.number


def num_ranks() -> int:
    """Return how many ranks torchrun started; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def rank_number() -> int:
    """Return this process's rank, from 0; 0 without torchrun."""
    return int(os.environ.get("RANK", "0")) if num_ranks() > 1 else 0


def local_rank() -> int:
    """Return this process's number on its machine, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def ranks_here() -> int:
    """Return how many ranks run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def rank_name() -> str:
    """Return what messages call this process: "rank 1 of 4"."""
    return f"rank {rank_number()} of {num_ranks()}"


def refuse_ranks() -> None:
    """Raise InvalidValue in one of several ranks that torchrun started."""
    if num_ranks() > 1:
        raise InvalidValue(
            "This runs in one process; torchrun's ranks would each do all of it.",
            received=f"{num_ranks()} ranks",
            expected="one process; ranks are for limbeck distill (one student or several, from teachers), train, "
            "cache, and reproduce where a recipe trains one network at a time",
            remedy="start it without torchrun, or with --nproc-per-node 1",
        )


@cache
def agent_store() -> Store:
    """Return the store of keys that torchrun's agent keeps for all ranks, and for all attempts."""
    from torch.distributed.rendezvous import rendezvous

    store: Store = next(rendezvous("env://", timeout=timedelta(seconds=_MEETING_SECONDS)))[0]
    return store


def meeting_name() -> str:
    """Wait for all ranks of this attempt, and return a name that no other attempt has.

    Keys of an attempt before stand in the store still, and an attempt's number may differ from machine to machine. So
    each rank writes a word of its own, and all agree when each has read the same words.

    Raises:
        RankLost: not all have come in time.
    """
    store, ranks, until = agent_store(), range(num_ranks()), time.monotonic() + _MEETING_SECONDS
    store.set(f"{_PREFIX}/word/{rank_number()}", uuid.uuid4().hex)
    while time.monotonic() < until:
        words = store.multi_get([f"{_PREFIX}/word/{rank}" for rank in ranks])
        name = hashlib.sha256(b" ".join(words)).hexdigest()
        store.set(f"{_PREFIX}/met/{name}/{rank_number()}", "")
        if store.check([f"{_PREFIX}/met/{name}/{rank}" for rank in ranks]):
            return name
        time.sleep(0.05)
    raise RankLost("Not all ranks have begun.", received=f"fewer than {num_ranks()} in {_MEETING_SECONDS:g} s")


def message_of(error: LimbeckError) -> str | None:
    """Return what this rank prints of an error; None where another rank has printed the same, or its cause.

    One mistake gives one message, however many ranks it stops: the first to say it says it.
    """
    if num_ranks() == 1:
        return str(error)
    text, attempt = f"{rank_name()}: {error}", f"{_PREFIX}/attempt/{os.environ.get('TORCHELASTIC_RESTART_COUNT')}"
    try:
        store = agent_store()
        if isinstance(error, RankLost):  # the other told its own error before it ended
            is_first = not store.check([f"{attempt}/cause"]) and store.add(f"{attempt}/lost", 1) == 1
        else:
            fact = hashlib.sha256(f"{type(error).__name__} {error.fact}".encode()).hexdigest()
            is_first = store.add(f"{attempt}/said/{fact}", 1) == 1
            store.set(f"{attempt}/cause", text)
    except (RuntimeError, ValueError):  # the agent has gone, too
        return text
    return text if is_first else None
