"""A batch: what one step of training or inference takes in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from limbeck.data.checks import IGNORE_INDEX, has_positions
from limbeck.inputs import Inputs, map_inputs, named_tensors


@dataclass
class Batch:
    """What one step of training or inference takes in.

    Args:
        ids: int64, shape (n,).
        inputs: a tensor, mapping or tuple; floats are float32, augmented and normalised; integers stay integers.
        labels: int64, shape (n,), -1 where unknown, or another kind that ``Samples`` knows.
        view: which view the inputs show; None for the clean one.
        partner_labels: with mixup, labels of the partners, as ``labels``.
        partner_weight: with mixup, weights of the partners in [0, 1], float32, shape (n,).
        weights: of the samples in the loss, float32, shape (n,); None where all count alike.
        teacher_inputs: the same view as the teacher takes it, where that is something else; see ``Views``.
    """

    ids: Tensor
    inputs: Inputs
    labels: Tensor
    view: int | None = None
    partner_labels: Tensor | None = None
    partner_weight: Tensor | None = None
    weights: Tensor | None = None
    teacher_inputs: Inputs | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def part(self, start: int, end: int) -> Batch:
        """Return the samples from ``start`` up to ``end``, as a batch that shares this one's memory."""
        return self._mapped(lambda tensor: tensor[start:end])

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Batch:
        """Return the batch on ``device``."""
        return self._mapped(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory, from where an accelerator copies while it computes."""
        return self._mapped(lambda tensor: tensor.pin_memory())

    def _mapped(self, function: Callable[[Tensor], Tensor]) -> Batch:
        changed: dict[str, Any] = {}
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                changed[name] = function(value)
            elif value is not None and name in ("inputs", "teacher_inputs"):
                changed[name] = map_inputs(function, value)
            else:
                changed[name] = value
        return Batch(**changed)


def without_padding(batch: Batch) -> Batch:
    """Return the batch with labels of positions cut to the length of its inputs, where only ignored ones go.

    Inputs are padded to the longest of a batch, labels to the longest of the set.
    """
    if not has_positions(batch.labels):
        return batch
    length = next((part.shape[1] for _, part in named_tensors(batch.inputs) if part.dim() >= 2), batch.labels.shape[1])
    if bool((batch.labels[:, length:] == IGNORE_INDEX).all()):
        return dataclasses.replace(batch, labels=batch.labels[:, :length])
    return batch
