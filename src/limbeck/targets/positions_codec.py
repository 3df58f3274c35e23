"""Records of sequences: one row of logits for each position, all kept by another codec."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from limbeck.errors import InvalidValue, ShapeMismatch
from limbeck.targets.codec import Codec, WrappedCodec
from limbeck.targets.soft_targets import DenseTargets, SoftTargets

NUM_POSITIONS = "num_positions"  # the parameter by which a codec's records are known to be of sequences


@dataclass(frozen=True, eq=False)
class PositionTargets(SoftTargets):
    """Soft targets of sequences, made of those of their rows.

    Args:
        rows: of batch x time rows, sample by sample.
        num_positions: time.
    """

    rows: SoftTargets
    num_positions: int

    def logits_at(self, temperature: float) -> Tensor:
        """Return z, shape (batch, time, classes)."""
        logits = self.rows.logits_at(temperature)
        return logits.view(-1, self.num_positions, logits.shape[-1])


class PositionsCodec(WrappedCodec):
    """Keeps a sequence as the records of its positions, one after the other.

    Args:
        rows: the codec of one position.
        num_positions: of every sequence; ignored ones are kept, too.
    Raises:
        InvalidValue: no positions.
    Example:
        >>> import torch
        >>> from limbeck.targets import Dense16
        >>> codec = PositionsCodec(Dense16(3), num_positions=2)
        >>> records = codec.encode(torch.zeros(5, 2, 3))
        >>> records.shape, codec.decode(records).logits_at(1.0).shape
        (torch.Size([5, 12]), torch.Size([5, 2, 3]))
    """

    num_positions: int

    def __init__(self, rows: Codec, *, num_positions: int) -> None:
        if num_positions < 1:
            raise InvalidValue("A sequence has positions.", received=num_positions, expected=">= 1")
        super().__init__(rows, {NUM_POSITIONS: num_positions})
        self.num_positions, self.num_classes = num_positions, rows.num_classes

    @property
    def record_bytes(self) -> int:
        return self.num_positions * self.rows.record_bytes

    def encode(self, logits: Tensor) -> Tensor:
        if logits.ndim != 3 or logits.shape[1] != self.num_positions:
            raise ShapeMismatch(
                f"The codec {self.name} was made for sequences of other positions.",
                received=tuple(logits.shape),
                expected=f"(batch, {self.num_positions}, {self.num_classes})",
            )
        return self.rows.encode(logits.flatten(0, 1)).view(len(logits), self.record_bytes)

    def decode(self, records: Tensor) -> SoftTargets:
        rows = self.rows.decode(records.reshape(-1, self.rows.record_bytes))
        if isinstance(rows, DenseTargets):
            return DenseTargets(rows.logits.view(-1, self.num_positions, self.num_classes))
        return PositionTargets(rows, self.num_positions)
