"""From sample ids to ranks, their places in ascending order of id, for a whole batch."""

from __future__ import annotations

import torch
from torch import Tensor

MISSING = -1  # no index: index_select refuses it
TABLE_BYTES = 64 << 20  # of a direct table at most
_TABLE_SLACK = 1 << 20  # entries that a direct table may have beyond four for each id
_IDS_PER_BUCKET = 64
_WIDEST_SPAN = 2**62  # beyond it, differences of ids overflow


class RankOfId:
    """Looks ranks up, the fastest way that the ids allow: as they are, by a table, or by bisection in a bucket.

    Buckets are equal stretches of the range of ids, a power of two wide, with 32 to 64 ids each on average. Where ids
    are spread evenly, six or seven steps find one, in memory that lies together; in any case as many as the largest
    bucket needs.

    Args:
        ids: unique, ascending, int64, shape (n,); may be mapped from a file.
    Example:
        >>> RankOfId(torch.tensor([3, 8, 9]))(torch.tensor([9, 3, 4]))
        tensor([ 2,  0, -1])
    """

    def __init__(self, ids: Tensor) -> None:
        self._ids = ids
        first, last = int(ids[0]), int(ids[-1])
        self._is_range = first == 0 and last == len(ids) - 1
        self._table: Tensor | None = None
        entries = last + 1 if first >= 0 else 0
        if not self._is_range and first >= 0 and entries <= min(4 * len(ids) + _TABLE_SLACK, TABLE_BYTES // 8):
            self._table = torch.full((entries,), MISSING, dtype=torch.int64)
            self._table[ids] = torch.arange(len(ids))
        self._first, self._last = first, last
        self._starts: Tensor | None = None  # of buckets, made at the first look-up
        self._shift, self._num_steps = 0, 0

    def __call__(self, ids: Tensor) -> Tensor:
        """Return ranks, int64, shape (batch,), on the host; an unknown id becomes no index, or raises IndexError."""
        if not ids.is_cpu:
            ids = ids.cpu()
        if self._is_range:
            return ids  # what is out of range is no index
        if self._table is not None:
            return self._table.index_select(0, ids)
        if self._last - self._first < _WIDEST_SPAN:
            return self._bisected(ids)
        ranks = torch.searchsorted(self._ids, ids).clamp_(max=len(self._ids) - 1)
        return torch.where(self._ids[ranks] == ids, ranks, MISSING)

    def _bisected(self, ids: Tensor) -> Tensor:
        if self._starts is None:
            self._make_buckets()
        assert self._starts is not None, "made just now"
        inside, most = ids.clamp(self._first, self._last), len(self._ids) - 1
        bucket = (inside - self._first) >> self._shift
        below, end = self._starts.index_select(0, bucket) - 1, self._starts.index_select(0, bucket + 1)
        for power in reversed(range(self._num_steps)):  # ids up to the rank ``below`` are smaller
            probed = below + (1 << power)
            is_below = (self._ids.index_select(0, probed.clamp(max=most)) < inside) & (probed < end)
            below = torch.where(is_below, probed, below)
        ranks = (below + 1).clamp_(max=most)
        return torch.where(self._ids.index_select(0, ranks) == ids, ranks, MISSING)

    def _make_buckets(self) -> None:
        """Find the rank of each bucket's first id, int64, shape (buckets + 1,), and the steps of a search."""
        span = self._last - self._first
        self._shift = max(1, span * min(_IDS_PER_BUCKET, len(self._ids)) // len(self._ids)).bit_length() - 1
        edges = self._first + (torch.arange((span >> self._shift) + 1) << self._shift)
        self._starts = torch.cat([torch.searchsorted(self._ids, edges), torch.tensor([len(self._ids)])])
        self._num_steps = int(self._starts.diff().max()).bit_length()
