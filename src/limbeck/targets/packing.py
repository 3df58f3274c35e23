"""Numbers as bytes, for whole batches: little-endian words, integers of 1 to 4 bytes, and fields of 1 to 16 bits."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

from limbeck.errors import StoreError

MAX_FIELD_BITS = 16


def to_bytes(values: Tensor) -> Tensor:
    """Return the little-endian bytes of each row, uint8 (n, columns x item size), of a matrix (n, columns).

    Example:
        >>> to_bytes(torch.tensor([[1, 258]], dtype=torch.int16))
        tensor([[1, 0, 2, 1]], dtype=torch.uint8)
    """
    _require_little_endian()
    return values.contiguous().view(torch.uint8)


def from_bytes(records: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the numbers of ``dtype`` that :func:`to_bytes` made bytes of.

    Args:
        records: uint8, shape (n, bytes), also a slice of wider records.
        dtype: whose size divides the bytes.
    """
    _require_little_endian()
    if len(records) == 1 or not records.is_contiguous() or records.storage_offset() % dtype.itemsize:
        # One row out of the middle of wider ones counts as contiguous, but keeps a start and strides that do not fit.
        records = torch.empty(records.shape, dtype=torch.uint8, device=records.device).copy_(records)
    return records.view(dtype)


def id_bytes(num_classes: int) -> int:
    """Return how many bytes a class id takes: the fewest that hold ``num_classes - 1``.

    Example:
        >>> id_bytes(256), id_bytes(257), id_bytes(14_000), id_bytes(70_000)
        (1, 2, 2, 3)
    """
    return max(1, -(-(num_classes - 1).bit_length() // 8))


def pack_ids(ids: Tensor, *, num_bytes: int) -> Tensor:
    """Return class ids as unsigned little-endian integers of ``num_bytes``.

    Args:
        ids: int64, shape (n, k), 0 <= id < 256 ** num_bytes.
        num_bytes: 1 to 4.
    Returns:
        uint8, shape (n, k x num_bytes).
    """
    return to_bytes(ids).view(*ids.shape, 8)[..., :num_bytes].reshape(len(ids), ids.shape[1] * num_bytes)


def unpack_ids(records: Tensor, *, num_bytes: int) -> Tensor:
    """Return the ids, int64 (n, k), that :func:`pack_ids` made bytes of.

    Example:
        >>> unpack_ids(pack_ids(torch.tensor([[2049, 13_999]]), num_bytes=2), num_bytes=2)
        tensor([[ 2049, 13999]])
    """
    digits = records.reshape(len(records), records.shape[1] // num_bytes, num_bytes)
    wide = digits.new_zeros(*digits.shape[:2], 8)
    wide[..., :num_bytes] = digits
    return from_bytes(wide, torch.int64)[..., 0]


class BitFields:
    """Unsigned fields of fixed widths, one behind the other, lowest bit first: the layout of one record.

    Args:
        widths: bits of each field, 1 to 16.
    Example:
        >>> fields = BitFields([3, 12, 1])
        >>> packed = fields.pack(torch.tensor([[5, 4095, 0]]))
        >>> packed
        tensor([[253, 127]], dtype=torch.uint8)
        >>> fields.unpack(packed)
        tensor([[   5, 4095,    0]], dtype=torch.int32)
    """

    def __init__(self, widths: Sequence[int]) -> None:
        starts = [0, *accumulate(widths)]
        self.num_bytes = -(-starts[-1] // 8)
        self._first_byte = torch.tensor([start // 8 for start in starts[:-1]], dtype=torch.int64)
        self._shift = torch.tensor([start % 8 for start in starts[:-1]], dtype=torch.int32)
        self._mask = torch.tensor([(1 << width) - 1 for width in widths], dtype=torch.int32)
        self._is_bytes = all(width == 8 for width in widths)

    def pack(self, values: Tensor) -> Tensor:
        """Return uint8 records (n, num_bytes) of values (n, fields), each below 2 ** its width."""
        if self._is_bytes:
            return values.to(torch.uint8)
        self._follow(values.device)
        shifted = values.to(torch.int32) << self._shift  # at most 23 bits: three bytes
        packed = shifted.new_zeros(len(values), self.num_bytes + 2)
        for place in range(3):  # fields share no bit, so adding their bytes is combining them
            packed.index_add_(1, self._first_byte + place, (shifted >> (8 * place)) & 0xFF)
        return packed[:, : self.num_bytes].to(torch.uint8)

    def unpack(self, records: Tensor) -> Tensor:
        """Return the values, int32 (n, fields), of records (n, num_bytes)."""
        if self._is_bytes:
            return records.to(torch.int32)
        self._follow(records.device)
        wide = torch.nn.functional.pad(records, (0, 2)).to(torch.int32)
        values = wide.index_select(1, self._first_byte)
        for place in (1, 2):
            values |= wide.index_select(1, self._first_byte + place) << (8 * place)
        return (values >> self._shift) & self._mask

    def _follow(self, device: torch.device) -> None:
        if self._mask.device != device:
            self._first_byte = self._first_byte.to(device)
            self._shift, self._mask = self._shift.to(device), self._mask.to(device)


def _require_little_endian() -> None:
    if sys.byteorder != "little":
        raise StoreError(
            "Stores are written and read on little-endian machines.", received="a big-endian machine",
            remedy="collect and train on x86-64 or ARM",
        )  # fmt: skip
