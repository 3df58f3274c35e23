"""Which samples of a batch a rank takes, and how the parts of its step lie in the global batch's."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from limbeck.training.checks import part_bounds


@dataclass(frozen=True)
class Part:
    """One forward pass of a step.

    Args:
        start: its first row in the rank's batch.
        end: the row behind its last.
        first: where its first row lies in the part that all ranks make together.
        total: the rows of that.
    """

    start: int
    end: int
    first: int
    total: int


@dataclass(frozen=True)
class Share:
    """A rank's samples of one batch.

    Args:
        rows: bounds of the rank's samples in the global batch, one pair a part.
        parts: its forward passes.
        num_samples: of the global batch.
        is_divided: whether each rank has samples of its own. A last batch with too few for that is computed by every
            rank as by one process alone, and counts once.
    """

    rows: tuple[tuple[int, int], ...]
    parts: tuple[Part, ...]
    num_samples: int
    is_divided: bool

    def of(self, positions: Tensor) -> Tensor:
        """Return the rank's positions of the global batch's."""
        return torch.cat([positions[start:end] for start, end in self.rows])


@lru_cache(maxsize=256)
def share_of(num_samples: int, *, num_parts: int, rank: int, num_ranks: int) -> Share:
    """Deal a batch to ranks: each takes a run of every part, as equal as can be, so that a part is one process's.

    Args:
        num_samples: of the global batch.
        num_parts: forward passes of a step.
        rank: whose share, from 0.
        num_ranks: of all.
    Example:
        >>> [share_of(5, num_parts=1, rank=rank, num_ranks=2).rows for rank in (0, 1)]
        [((0, 2),), ((2, 5),)]
    """
    bounds = part_bounds(num_samples, num_parts)
    if num_ranks == 1 or any(end - start < num_ranks for start, end in bounds):
        parts = tuple(Part(start, end, 0, end - start) for start, end in bounds)
        return Share(((0, num_samples),), parts, num_samples, is_divided=False)
    rows, own, taken = [], [], 0
    for start, end in bounds:
        first, last = (start + (end - start) * number // num_ranks for number in (rank, rank + 1))
        rows.append((first, last))
        own.append(Part(taken, taken + last - first, first - start, end - start))
        taken += last - first
    return Share(tuple(rows), tuple(own), num_samples, is_divided=True)
