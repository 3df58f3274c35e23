"""Labels and weights of map-style data sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Subset

from limbeck.data.columns import Example, label_name, split_item, weight_name
from limbeck.data.data_sets import read_item
from limbeck.data.random_state import replayed_random_state


def read_labels(dataset: Any, *, name: str, label_column: str | None = None) -> tuple[Any, Any]:
    """Return labels and weights of a data set: from columns or ``targets`` where it has them, else from one pass.

    Args:
        dataset: map-style.
        name: for messages.
        label_column: see :func:`split_item`.
    Returns:
        Both as long as the data set; None where there are none.
    Raises:
        DataError: an item that cannot be understood, or a column that is not there.
    """
    if (columns := getattr(dataset, "column_names", None)) is not None:
        label, weight = label_name(columns, label_column, name), weight_name(columns)
        return tuple(None if one is None else _values(dataset[one]) for one in (label, weight))  # type: ignore[return-value]
    if len(dataset) == 0:
        return None, None
    with replayed_random_state() as set_to:
        set_to(0)
        first = split_item(read_item(dataset, 0, name), label_column=label_column, name=name)
        if first.weight is None and (shortcut := _targets(dataset)) is not None:
            return shortcut, None
        examples = [first]
        for position in range(1, len(dataset)):
            set_to(position)
            examples.append(split_item(read_item(dataset, position, name), label_column=label_column, name=name))
    return _column(examples, "label"), _column(examples, "weight")


def _values(column: Any) -> list[Any]:
    """A column as a list: in one slice, for single rows are taken from their table one by one."""
    return list(column[:])


def _targets(dataset: Any) -> Any:
    """``targets`` or ``labels`` of a data set, where they are what it returns; None elsewhere."""
    if isinstance(dataset, Subset):
        labels = _targets(dataset.dataset)
        if labels is None:
            return None
        indices = torch.as_tensor(dataset.indices)
        return labels[indices] if isinstance(labels, (Tensor, np.ndarray)) else [labels[i] for i in indices.tolist()]
    if isinstance(dataset, ConcatDataset):
        parts = [_targets(part) for part in dataset.datasets]
        return None if any(part is None for part in parts) else [label for part in parts for label in _listed(part)]
    if getattr(dataset, "target_transform", None) is None and getattr(dataset, "transforms", None) is None:
        for attribute in ("targets", "labels"):
            labels = getattr(dataset, attribute, None)
            if isinstance(labels, (list, tuple, Tensor, np.ndarray)) and len(labels) == len(dataset):
                return labels
    return None


def _listed(labels: Any) -> list[Any]:
    return list(labels.tolist() if isinstance(labels, (Tensor, np.ndarray)) else labels)


def _column(examples: Sequence[Example], what: str) -> Any:
    values = [getattr(example, what) for example in examples]
    if all(value is None for value in values):
        return None
    if all(isinstance(value, (Tensor, np.ndarray)) and np.ndim(value) for value in values):
        if len({tuple(value.shape) for value in values}) == 1:
            return torch.stack([torch.as_tensor(value) for value in values])
        return [torch.as_tensor(value).tolist() for value in values]
    return [value.item() if isinstance(value, (Tensor, np.generic)) else value for value in values]
