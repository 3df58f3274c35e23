"""From sample ids to ranks, their places in ascending order of id, for a whole batch."""

from __future__ import annotations

import torch
from torch import Tensor

MISSING = -1  # no index: index_select refuses it
_TABLE_SLACK = 1 << 20  # entries that a direct table may have beyond four for each id


class RankOfId:
    """Looks ranks up, the fastest way that the ids allow: as they are, by a table, or by bisection.

    Args:
        ids: unique, ascending, int64, shape (n,).
    Example:
        >>> RankOfId(torch.tensor([3, 8, 9]))(torch.tensor([9, 3, 4]))
        tensor([ 2,  0, -1])
    """

    def __init__(self, ids: Tensor) -> None:
        self._ids = ids
        first, last = int(ids[0]), int(ids[-1])
        self._is_range = first == 0 and last == len(ids) - 1
        self._table: Tensor | None = None
        if not self._is_range and first >= 0 and last < 4 * len(ids) + _TABLE_SLACK:
            self._table = torch.full((last + 1,), MISSING, dtype=torch.int64)
            self._table[ids] = torch.arange(len(ids))

    def __call__(self, ids: Tensor) -> Tensor:
        """Return ranks, int64, shape (batch,), on the host; an unknown id becomes no index, or raises IndexError."""
        if not ids.is_cpu:
            ids = ids.cpu()
        if self._is_range:
            return ids  # what is out of range is no index
        if self._table is not None:
            return self._table.index_select(0, ids)
        ranks = torch.searchsorted(self._ids, ids).clamp_(max=len(self._ids) - 1)
        return torch.where(self._ids[ranks] == ids, ranks, MISSING)
