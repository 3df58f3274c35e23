"""The order of an epoch: a function of (seed, epoch, ids), cut into batches afterwards."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from limbeck.data.counter import counter_bits
from limbeck.errors import InvalidValue

_CHUNK = 1 << 20  # ids whose random bits are made at once


def epoch_order(ids: Tensor, *, seed: int, epoch: int) -> Tensor:
    """Positions of the samples in the order of one epoch.

    Samples are sorted by 64 random bits of (seed, epoch, id). Those bits differ for different ids, so the sequence of
    *ids* does not depend on how the samples are stored, on the batch size or on where a run resumes.

    Args:
        ids: unique, int64, shape (n,).
        seed: any integer.
        epoch: which epoch; any integer.
    Returns:
        int64, shape (n,): a permutation of 0 .. n - 1, on the device of ``ids``.
    Raises:
        InvalidValue: ids of another dtype or shape.
    Example:
        >>> ids = torch.tensor([10, 11, 12, 13])
        >>> stored_otherwise = ids.flip(0)
        >>> first = ids[epoch_order(ids, seed=0, epoch=1)]
        >>> bool((first == stored_otherwise[epoch_order(stored_otherwise, seed=0, epoch=1)]).all())
        True
    """
    if ids.device.type != "cpu" or len(ids) <= _CHUNK:
        return torch.argsort(_sort_keys(ids, seed, epoch))
    keys = np.empty(len(ids), dtype=np.int64)
    for start in range(0, len(ids), _CHUNK):
        keys[start : start + _CHUNK] = _sort_keys(ids[start : start + _CHUNK], seed, epoch).numpy()
    return torch.from_numpy(np.argsort(keys))  # half the memory of torch's


def _sort_keys(ids: Tensor, seed: int, epoch: int) -> Tensor:
    return counter_bits(ids, seed=seed, stream="epoch order", view=epoch)[:, 0]


def batch_positions(order: Tensor, batch_size: int, drop_last: bool = False) -> list[Tensor]:
    """Cut an order into batches.

    Args:
        order: positions, int64, shape (n,).
        batch_size: samples per batch, at least 1.
        drop_last: leave out a last batch that is not full.
    Returns:
        The batches in order, each a view of ``order`` of shape (batch_size,); the last may be shorter.
    Raises:
        InvalidValue: a batch size below 1, or ``drop_last`` that leaves no batch at all.
    Example:
        >>> [batch.tolist() for batch in batch_positions(torch.arange(5), 2)]
        [[0, 1], [2, 3], [4]]
    """
    if batch_size < 1:
        raise InvalidValue("batch_size must be at least 1.", received=batch_size, expected="batch_size >= 1")
    if drop_last:
        if 0 < len(order) < batch_size:
            raise InvalidValue(
                "Dropping the last batch leaves nothing.",
                received=f"{len(order)} samples, batch_size {batch_size}",
                expected=f"batch_size <= {len(order)}",
                remedy="take a smaller batch or keep the last one",
            )
        order = order[: len(order) - len(order) % batch_size]
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def epoch_batches(ids: Tensor, *, seed: int, epoch: int, batch_size: int, drop_last: bool = False) -> list[Tensor]:
    """Positions of one epoch's batches: :func:`epoch_order`, then :func:`batch_positions`.

    Args:
        ids: of the samples, int64, shape (samples,).
        seed: of the order.
        epoch: from 0; another order in each.
        batch_size: samples in a batch.
        drop_last: leave out the last batch where it is smaller.
    Example:
        >>> [len(batch) for batch in epoch_batches(torch.arange(10), seed=0, epoch=0, batch_size=4)]
        [4, 4, 2]
    """
    return batch_positions(epoch_order(ids, seed=seed, epoch=epoch), batch_size, drop_last)
