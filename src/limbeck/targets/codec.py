"""The contract of a codec: logits to records of one fixed size and back to soft targets, for whole batches."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from limbeck.errors import InvalidValue, ShapeMismatch
from limbeck.targets.soft_targets import SoftTargets

_CACHED_ELEMENTS = 1 << 18


class Codec(ABC):
    """How one teacher's logits for one sample become bytes.

    A record depends on its own row of logits alone, and not on a constant added to that row: only differences between
    a row's logits mean anything. What is decoded holds at any temperature.
    """

    name: ClassVar[str]  # as manifests and settings call it
    keeps_top1: ClassVar[bool]  # whether the largest logit is always the largest again
    is_dense: ClassVar[bool]  # whether it decodes to DenseTargets, so that a small store is worth decoding once for all
    independent: bool = False  # whether it keeps independent labels, whose logits mean something by themselves
    num_classes: int
    num_positions: int | None = None  # rows of logits in a record, where a sample has one for each position

    @property
    @abstractmethod
    def record_bytes(self) -> int:
        """Bytes of one record: of every one."""

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """Return the settings that, with the arrays, build it again; JSON can hold them."""

    @abstractmethod
    def arrays(self) -> dict[str, Tensor]:
        """Return what all records share, by name; empty for most."""

    @abstractmethod
    def encode(self, logits: Tensor) -> Tensor:
        """Return one record for each row.

        Args:
            logits: shape (n, classes), any float dtype.
        Returns:
            uint8, shape (n, record_bytes), on the same device.
        Raises:
            ShapeMismatch: another number of classes.
            InvalidValue: NaN or infinity (dense16 takes -inf).
        """

    @abstractmethod
    def decode(self, records: Tensor) -> SoftTargets:
        """Return the soft targets of records, uint8 (n, record_bytes), on the same device."""


class WrappedCodec(Codec):
    """Keeps its records as another codec does, of logits that it prepares: in subclasses ``encode`` and ``decode``.

    Args:
        rows: the codec that makes the bytes.
        mark: the parameter, with its value, by which such records are known.
    """

    def __init__(self, rows: Codec, mark: Mapping[str, Any]) -> None:
        self.rows, self._mark = rows, dict(mark)
        # What the class of a codec says of itself, this one says as the other does.
        self.name, self.keeps_top1, self.is_dense = rows.name, rows.keeps_top1, rows.is_dense  # type: ignore[misc]

    @property
    def record_bytes(self) -> int:
        return self.rows.record_bytes

    def parameters(self) -> dict[str, Any]:
        return self.rows.parameters() | self._mark

    def arrays(self) -> dict[str, Tensor]:
        return self.rows.arrays()


def max_shifted(logits: Tensor, *, num_classes: int, codec: str, allow_minus_infinity: bool = False) -> Tensor:
    """Return float32 logits less each row's largest, so that the largest is 0; checked first.

    The difference is taken in float32, or in float64 where the logits are float64.
    """
    if logits.ndim != 2 or logits.shape[1] != num_classes:
        raise ShapeMismatch(
            f"The codec {codec} was made for other logits.",
            received=tuple(logits.shape),
            expected=f"(batch, {num_classes})",
        )
    wide = logits if logits.dtype == torch.float64 else logits.to(torch.float32)
    shifted = (wide - wide.amax(dim=1, keepdim=True)).to(torch.float32)
    total = float(shifted.detach().sum())
    suspect = math.isnan(total) if allow_minus_infinity else not math.isfinite(total)
    if suspect:  # a sum that is finite has finite parts; one that is not may have overflowed
        wrong = shifted.isnan() if allow_minus_infinity else ~shifted.isfinite()
        if bool(wrong.any()):
            raise InvalidValue(
                "A teacher's logits are not finite.",
                received=f"row {int(wrong.any(dim=1).nonzero()[0])} of the batch",
                expected="finite logits" + ("; -inf for an impossible class" if allow_minus_infinity else ""),
                remedy=None
                if allow_minus_infinity
                else "the codec dense16 keeps -inf; mend NaN and +inf in the teacher",
            )
    return shifted


def encode(codec: Codec, logits: Tensor) -> Tensor:
    """Return the records of logits; on the CPU in parts that stay in its cache, several times faster for many classes.

    Args:
        codec: of the records.
        logits: shape (n, classes).
    """
    rows = max(1, _CACHED_ELEMENTS // max(1, logits[:1].numel()))
    if logits.device.type != "cpu" or len(logits) <= rows:
        return codec.encode(logits)
    return torch.cat([codec.encode(part) for part in torch.split(logits, rows)])
