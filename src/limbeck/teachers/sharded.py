"""Teachers too large for one device: their weights are sharded over all ranks (FSDP2), and each batch is dealt to them.

Rank 0 does the whole job, as one process does. Its teacher's forward pass deals the rows of a batch to the ranks, each
of which gathers layer after layer, and collects the outputs. The other ranks do nothing but serve those passes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from limbeck.errors import TeacherError
from limbeck.inputs import Inputs, map_inputs, move, num_rows, take_rows
from limbeck.models.sharding import require_sharding, shard_network
from limbeck.ranks.group import Ranks
from limbeck.teachers.module import ModuleTeacher
from limbeck.teachers.teacher import Teacher


@contextlib.contextmanager
def sharded_over(teacher: Teacher, *, ranks: Ranks, device: torch.device) -> Iterator[bool]:
    """Share the weights of a teacher's networks out among ranks; serve rank 0's forward passes on the others.

    The block runs on rank 0 alone, as on one process; the other ranks are told that there is nothing to do when it has
    ended.

    Args:
        teacher: the same on each rank, its networks in host memory: whole there once, in turn on the device.
        ranks: at least two.
        device: of this rank.
    Yields:
        Whether this is rank 0.
    Raises:
        TeacherError: a teacher that is no network of torch's.
        InvalidValue: the CPU with a torch whose FSDP2 does not know it.
        RankLost: another rank has ended.
    """
    require_sharding(device, trains=False)
    networks = [_module_teacher(member) for member in teacher.members]
    dealers = [_Dealer(network, number, ranks, device) for number, network in enumerate(networks)]
    for network, dealer in zip(networks, dealers, strict=True):
        network.shard_weights(lambda module: shard_network(module, ranks=ranks, device=device), dealer)
    if not ranks.is_first:
        _serve(dealers, ranks)
        yield False
        return
    try:
        yield True
    finally:
        ranks.deal(lambda: [None] * ranks.size)


@dataclass(frozen=True)
class _Rows:
    """A rank's part of a forward pass."""

    network: int
    inputs: Inputs
    autocast: torch.dtype | None


@dataclass(frozen=True, eq=False)
class _Dealer:
    """Deals the rows of a batch to ranks, and puts their outputs together: on rank 0."""

    teacher: ModuleTeacher
    number: int
    ranks: Ranks
    device: torch.device

    def __call__(self, inputs: Inputs) -> Tensor:
        """Return the logits of all rows."""
        count, size = num_rows(inputs), self.ranks.size
        bounds = [(count * rank // size, count * (rank + 1) // size) for rank in range(size)]
        kind = self.device.type
        autocast = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        host = map_inputs(Tensor.cpu, inputs)
        # Each rank takes part in every pass: without a row of its own it computes the first, in vain.
        places = [torch.arange(start, end) if start < end else torch.tensor([0]) for start, end in bounds]
        parts = [_Rows(self.number, take_rows(host, place), autocast) for place in places]
        outputs = self.answer(self.ranks.deal(lambda: parts))
        rows = [own for own, (start, end) in zip(outputs, bounds, strict=True) if start < end]
        return torch.cat(rows).to(self.device)

    def answer(self, rows: _Rows) -> list[Tensor]:
        """Compute this rank's rows; return the outputs of all ranks."""
        kind = self.device.type
        with torch.no_grad(), torch.autocast(kind, dtype=rows.autocast, enabled=rows.autocast is not None):
            outputs = self.teacher.run_here(move(rows.inputs, self.device))
        return self.ranks.gather(outputs.cpu())


def _serve(dealers: Sequence[_Dealer], ranks: Ranks) -> None:
    nothing: list[Any] = []
    while (rows := ranks.deal(lambda: nothing)) is not None:
        dealers[rows.network].answer(rows)


def _module_teacher(member: Teacher) -> ModuleTeacher:
    while not isinstance(member, ModuleTeacher) and len(member.parts) == 1:
        member = member.parts[0]  # over other classes, for instance
    if isinstance(member, ModuleTeacher):
        return member
    raise TeacherError(
        f"The teacher {member.name} cannot be sharded over ranks.",
        received=type(member).__name__,
        expected="a network of torch's",
        remedy="leave --teacher-sharding out: each rank then has the whole teacher",
    )
