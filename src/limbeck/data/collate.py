"""Sequences of different lengths in one batch: padding, and an order that puts similar lengths together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from limbeck.data.checks import IGNORE_INDEX
from limbeck.data.counter import counter_bits
from limbeck.data.order import batch_positions, epoch_order
from limbeck.data.samples import Samples
from limbeck.errors import DataError, InvalidValue

MASK_NAME = "attention_mask"
Collate = Callable[[Sequence[Any]], Any]
_LABEL_NAMES = frozenset({"label", "labels", "target", "targets"})


@dataclass(frozen=True)
class PadCollate:
    """Stack samples, the sequences among them padded at the end to the longest of the batch.

    A sequence is a tensor whose first axis differs between samples. Labels are padded with -100, which no loss counts,
    masks with 0, everything else with ``pad_id``, or what ``pad_values`` says. A mapping with ``input_ids`` gets an
    ``attention_mask`` (int64, 1 where a token stands, 0 where padding) if it has none.

    Args:
        pad_id: what sequences are padded with, usually the tokenizer's ``pad_token_id``.
        pad_values: for parts by name instead.
        multiple_of: lengths are rounded up to a multiple of this; 1 for none.
        max_length: longer sequences are cut; None for none.
        mask_for: the part that a mask is made for; None for no mask.
    Raises:
        InvalidValue: a multiple or length below 1.
    Example:
        >>> batch = PadCollate()([{"input_ids": torch.tensor([5, 6])}, {"input_ids": torch.tensor([7])}])
        >>> batch["input_ids"].tolist(), batch["attention_mask"].tolist()
        ([[5, 6], [7, 0]], [[1, 1], [1, 0]])
    """

    pad_id: int = 0
    pad_values: Mapping[str, float] = field(default_factory=dict)
    multiple_of: int = 1
    max_length: int | None = None
    mask_for: str | None = "input_ids"

    def __post_init__(self) -> None:
        if self.multiple_of < 1 or (self.max_length is not None and self.max_length < 1):
            raise InvalidValue(
                "Lengths are at least 1.", received=f"multiple_of={self.multiple_of}, max_length={self.max_length}"
            )

    def __call__(self, items: Sequence[Any]) -> Any:
        """Return the items as one batch of the same structure; numbers become tensors of shape (n,)."""
        return self._joined(items, "")

    def pad_value(self, name: str) -> float:
        """Return what a part is padded with."""
        if name in self.pad_values:
            return self.pad_values[name]
        return IGNORE_INDEX if name in _LABEL_NAMES else 0 if name.endswith("mask") else self.pad_id

    def _joined(self, items: Sequence[Any], name: str) -> Any:
        first = items[0]
        if isinstance(first, Mapping):
            return self._joined_mappings(items)
        if isinstance(first, tuple) or (isinstance(first, list) and first and not isinstance(first[0], (int, float))):
            return tuple(self._joined([item[place] for item in items], name) for place in range(len(first)))
        return self._padded([torch.as_tensor(item) for item in items], name)

    def _joined_mappings(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        joined = {name: self._joined([item[name] for item in items], name) for name in items[0]}
        if self.mask_for not in joined or MASK_NAME in joined:
            return joined
        longest = joined[self.mask_for].shape[1]
        most = longest if self.max_length is None else min(longest, self.max_length)
        lengths = torch.tensor([min(len(item[self.mask_for]), most) for item in items])
        return {**joined, MASK_NAME: (torch.arange(longest)[None] < lengths[:, None]).to(torch.int64)}

    def _padded(self, parts: list[Tensor], name: str) -> Tensor:
        if parts[0].dim() == 0:
            return torch.stack(parts)
        parts = [part[: self.max_length] for part in parts] if _is_sequence(parts[0]) else parts
        lengths = {len(part) for part in parts}
        longest = max(lengths)
        if _is_sequence(parts[0]):
            longest = -(-longest // self.multiple_of) * self.multiple_of
        if lengths == {longest} and len({part.shape for part in parts}) == 1:
            return torch.stack(parts)
        if len({part.shape[1:] for part in parts}) > 1:
            raise DataError(
                "Only the first axis of a sequence can differ in length.",
                received=", ".join(str(tuple(shape)) for shape in sorted({part.shape for part in parts})[:4]),
                expected="(time, ...) with the same further axes",
                remedy="give a collate function of your own",
            )
        padded = parts[0].new_full((len(parts), longest, *parts[0].shape[1:]), self.pad_value(name))
        for row, part in zip(padded, parts, strict=True):
            row[: len(part)] = part
        return padded


def pad_collate(pad_id: int = 0, **settings: Any) -> Collate:
    """Return a collate function that pads sequences; the arguments are those of :class:`PadCollate`."""
    return PadCollate(pad_id, **settings)


@dataclass(frozen=True)
class LengthBuckets:
    """An order of passes in which the samples of a batch have similar lengths, so that little is padded.

    The shuffled order of the pass is cut into pieces of ``batches_per_bucket`` batches, each is sorted by length, and
    the batches are shuffled again; the last, which may be short, stays last. The sequence of ids is a function of
    (seed, pass, ids, lengths) and the batch size, whoever reads them.

    Args:
        lengths: of the samples, int64, shape (n,), in the order in which they are stored; None asks the source.
        batches_per_bucket: how many batches are sorted together, at least 1.
    Raises:
        InvalidValue: fewer than one batch.
    Example:
        >>> samples = Samples("toy", torch.arange(4), torch.zeros(4, 1), torch.zeros(4).long(), ("a",))
        >>> order = LengthBuckets(torch.tensor([9, 1, 9, 1])).positions(samples, seed=0, epoch=0, batch_size=2)
        >>> sorted(sorted(batch.tolist()) for batch in order.split(2))
        [[0, 2], [1, 3]]
    """

    lengths: Tensor | None = None
    batches_per_bucket: int = 50

    def __post_init__(self) -> None:
        if self.batches_per_bucket < 1:
            raise InvalidValue("A bucket holds at least one batch.", received=self.batches_per_bucket)

    def num_batches(self, samples: Samples, batch_size: int) -> int:
        """Return how many batches one pass has."""
        return -(-len(samples) // batch_size)

    def positions(self, samples: Samples, *, seed: int, epoch: int, batch_size: int) -> Tensor:
        """Return positions of the samples in the order of one pass, int64, shape (n,), on the CPU.

        Raises:
            DataError: no lengths, or another number of them than samples.
        """
        lengths = self.lengths if self.lengths is not None else getattr(samples.inputs, "lengths", None)
        if lengths is None or len(lengths) != len(samples):
            raise DataError(
                "Buckets need the length of every sample.",
                received="no lengths" if lengths is None else f"{len(lengths)} lengths, {len(samples)} samples",
                remedy="give LengthBuckets(lengths=...), int64 of shape (n,)",
            )
        order, ids = epoch_order(samples.ids, seed=seed, epoch=epoch).cpu(), samples.ids.cpu()
        pieces = [
            piece[torch.argsort(lengths[piece], stable=True)]
            for piece in batch_positions(order, self.batches_per_bucket * batch_size)
        ]
        batches = batch_positions(torch.cat(pieces), batch_size)
        full = [batch for batch in batches if len(batch) == batch_size]
        firsts = torch.stack([ids[batch[0]] for batch in full]) if full else torch.empty(0, dtype=torch.int64)
        shuffled = torch.argsort(counter_bits(firsts, seed=seed, stream="bucket order", view=epoch)[:, 0]).tolist()
        return torch.cat([full[place] for place in shuffled] + batches[len(full) :])


def _is_sequence(part: Tensor) -> bool:
    return part.dim() in (1, 2)
