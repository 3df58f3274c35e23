"""One member's records: memory-mapped shards, gathered by (rank, view)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from limbeck.targets.codec import Codec
from limbeck.targets.soft_targets import DenseTargets, SoftTargets

_DECODE_RECORDS = 8192  # at once, where all are decoded


class MemberRecords:
    """Records in shards; record ``view x num_samples + rank`` stands at a fixed place.

    Args:
        files: the shards, in order.
        codec: of the records.
        num_samples: of one view.
        num_views: at least 1.
        records_per_shard: of all shards but the last.
        decode_once: keep all logits in memory, decoded at the first batch.
    """

    def __init__(
        self,
        files: Sequence[Path],
        *,
        codec: Codec,
        num_samples: int,
        num_views: int,
        records_per_shard: int,
        decode_once: bool,
    ) -> None:
        self._codec, self._num_samples, self._num_views = codec, num_samples, num_views
        self._records_per_shard, self._decode_once = records_per_shard, decode_once
        size = codec.record_bytes
        self._shards = [
            torch.from_file(str(file), size=file.stat().st_size, dtype=torch.uint8).view(-1, size) for file in files
        ]
        self._decoded: list[Tensor] = []  # by view

    def targets(self, ranks: Tensor, view: int, device: torch.device | None) -> SoftTargets:
        """Return the soft targets of ranks (batch,) in one view; IndexError for what is no rank."""
        if self._decode_once:
            logits = (self._decoded or self._decode_all())[view].index_select(0, ranks)
            return DenseTargets(logits if device is None else logits.to(device, non_blocking=True))
        records = self.gather(ranks, view)
        return self._codec.decode(records if device is None else records.to(device, non_blocking=True))

    def gather(self, ranks: Tensor, view: int) -> Tensor:
        """Return records, uint8 (batch, record_bytes)."""
        if len(self._shards) == 1 and self._num_views == 1:
            return self._shards[0].index_select(0, ranks)
        if bool(((ranks < 0) | (ranks >= self._num_samples)).any()):
            raise IndexError("a rank is out of range")
        places = ranks + view * self._num_samples
        if len(self._shards) == 1:
            return self._shards[0].index_select(0, places)
        shards = places // self._records_per_shard
        within = places - shards * self._records_per_shard
        gathered = torch.empty(len(ranks), self._codec.record_bytes, dtype=torch.uint8)
        for shard in torch.unique(shards).tolist():
            rows = (shards == shard).nonzero()[:, 0]
            gathered[rows] = self._shards[shard].index_select(0, within[rows])
        return gathered

    def _decode_all(self) -> list[Tensor]:
        total = self._num_samples * self._num_views
        of_positions = () if self._codec.num_positions is None else (self._codec.num_positions,)
        logits = torch.empty(total, *of_positions, self._codec.num_classes)
        start = 0
        for shard in self._shards:
            for block in torch.split(shard, _DECODE_RECORDS):
                logits[start : start + len(block)] = self._codec.decode(block).logits_at(1.0)
                start += len(block)
        self._decoded = list(torch.split(logits, self._num_samples))
        return self._decoded
