"""A data set that says which sample each item is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from limbeck.data.columns import split_item
from limbeck.data.data_sets import read_item
from limbeck.errors import DataError


class IndexedDataset(Dataset[tuple[int, Any, Any]]):
    """A map-style data set that yields (id, inputs, label), for a training loop of your own with stored targets.

    Args:
        dataset: with ``__len__`` and ``__getitem__(int)``; items as :func:`split_item` takes them.
        ids: unique integers, as many as samples; by default the position, as in ``as_samples``.
        label_column: see :func:`split_item`.
    Example:
        >>> import torch
        >>> from torch.utils.data import DataLoader
        >>> pairs = [(torch.zeros(3), 0), (torch.ones(3), 1)]
        >>> for ids, inputs, labels in DataLoader(IndexedDataset(pairs), batch_size=2):
        ...     ids, labels  # teacher_logits = store.lookup(ids)
        (tensor([0, 1]), tensor([0, 1]))
    """

    def __init__(
        self, dataset: Any, *, ids: Sequence[int] | Tensor | None = None, label_column: str | None = None
    ) -> None:
        self.dataset = dataset
        self.ids: list[int] | None = None if ids is None else [int(one) for one in ids]
        self.label_column = label_column
        if self.ids is not None and (len(self.ids) != len(dataset) or len(set(self.ids)) != len(self.ids)):
            raise DataError(
                "The ids do not go with the data set.",
                received=f"{len(self.ids)} ids, {len(set(self.ids))} of them different, {len(dataset)} samples",
                expected="one id for each sample, none twice",
            )

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, position: int) -> Any:
        example = split_item(read_item(self.dataset, position, "the data set"), label_column=self.label_column)
        number = position if self.ids is None else self.ids[position]
        label = -1 if example.label is None else example.label
        head = (number, example.inputs, label)
        return head if example.weight is None else (*head, example.weight)
