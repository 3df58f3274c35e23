"""Outputs for several batches, encoded together."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from limbeck.errors import ShapeMismatch
from limbeck.targets import Codec
from limbeck.targets.codec import encode

BLOCK_NUMBERS = 1 << 18  # logits of each teacher that wait at most, unless one batch has more


class RecordBuffer:
    """Keeps what the teachers say of some batches, where they say it, until it is worth encoding.

    With few classes an operation on one batch costs more in its call than in its arithmetic, and on an accelerator
    every copy to the host waits for the teacher. Only dense codecs get more than one batch at once: they treat every
    number alone, whereas a matrix product rounds differently for another number of rows.

    Args:
        codecs: one for each teacher, of the same number of classes.
        batch_size: of the largest batch.
    Example:
        >>> import torch
        >>> from limbeck.targets import Dense16
        >>> block = RecordBuffer([Dense16(2)], batch_size=4)
        >>> block.add([torch.tensor([[0.0, 1.0]])])
        >>> block.add([torch.tensor([[3.0, 1.0], [0.0, 0.0]])])
        >>> [records.shape for records in block.take_records()]
        [torch.Size([3, 4])]
    """

    def __init__(self, codecs: Sequence[Codec], *, batch_size: int) -> None:
        self._codecs = list(codecs)
        num_batches = max(1, BLOCK_NUMBERS // (batch_size * (codecs[0].num_positions or 1) * codecs[0].num_classes))
        if not all(codec.is_dense for codec in codecs):
            num_batches = 1
        self._capacity, self._holds_one_batch = num_batches * batch_size, num_batches == 1
        self._waiting: list[Tensor] = []  # of each teacher, with room behind the rows that wait
        self._num_rows = 0

    def has_room(self, num_rows: int) -> bool:
        """Return whether so many rows more can wait."""
        return self._num_rows == 0 or (not self._holds_one_batch and self._num_rows + num_rows <= self._capacity)

    def add(self, outputs: Sequence[Tensor]) -> None:
        """Take in each teacher's logits, shape (rows, classes) or (rows, time, classes), for which there must be room.

        Several are copied: a compiled teacher may write its next outputs to the same place. A single one is left there.

        Raises:
            ShapeMismatch: another number of classes than that of the codec.
        """
        for codec, logits in zip(self._codecs, outputs, strict=True):
            if logits.shape[-1] != codec.num_classes:
                raise ShapeMismatch(
                    "A teacher's outputs have another number of classes than before.",
                    received=tuple(logits.shape),
                    expected=f"(batch, {codec.num_classes})",
                )
        start, self._num_rows = self._num_rows, self._num_rows + len(outputs[0])
        if self._holds_one_batch:
            self._waiting = list(outputs)
            return
        if not self._waiting:
            self._waiting = [logits.new_empty((self._capacity, *logits.shape[1:])) for logits in outputs]
        for waiting, logits in zip(self._waiting, outputs, strict=True):
            waiting[start : self._num_rows] = logits

    def take_records(self) -> list[Tensor]:
        """Return the records of all that waits, uint8 (rows, record_bytes), on the host, and begin anew."""
        num_rows, self._num_rows = self._num_rows, 0
        return [
            encode(codec, logits[:num_rows]).cpu() for codec, logits in zip(self._codecs, self._waiting, strict=True)
        ]
