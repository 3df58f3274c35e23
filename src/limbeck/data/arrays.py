"""Arrays, tensors and lists as inputs and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.data.checks import IGNORE_INDEX, UNLABELLED, Task
from limbeck.errors import DataError
from limbeck.inputs import Inputs, describe


def as_inputs(inputs: Any, name: str) -> Inputs:
    """Return uint8 images (n, C, H, W), float32 features or int64 numbers (n, ...), or a mapping or tuple of tensors.

    See :func:`as_samples` for the rule.
    """
    if isinstance(inputs, Mapping):
        return {str(part): _as_part(value, f"{name} ({part})") for part, value in inputs.items()}
    if isinstance(inputs, tuple):
        return tuple(_as_part(value, f"{name} ({place})") for place, value in enumerate(inputs))
    return as_tensor(inputs, name)


def as_tensor(inputs: Any, name: str) -> Tensor:
    """Return one array, tensor or list as inputs: uint8 images, float32 features or int64 numbers."""
    tensor = _tensor(inputs, name)
    if tensor.dtype == torch.uint8 and tensor.dim() >= 3:
        return _channel_first(tensor, name)
    if tensor.dim() >= 2 and not tensor.is_complex():
        return tensor.to(torch.float32) if tensor.dtype == torch.uint8 else _kept(tensor)
    raise DataError(
        f"The inputs of {name} have a type that is neither image nor feature.",
        received=describe(tensor),
        expected="uint8 images, float features or integers, of at least two axes",
        remedy="give features as (n, features), single numbers as (n, 1)",
    )


def _as_part(value: Any, name: str) -> Inputs:
    if isinstance(value, (Mapping, tuple)):
        return as_inputs(value, name)
    return _kept(_tensor(value, name))


def _tensor(value: Any, name: str) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach()
    array = _as_array(value, name)
    if array.dtype.kind in "US":
        raise DataError(
            f"The inputs of {name} are words.",
            received=f"an array of {array.dtype}",
            expected="numbers",
            remedy="give numbers as such: array.astype(float); token ids for texts",
        )
    return torch.from_numpy(array)


def _kept(tensor: Tensor) -> Tensor:
    """Floats as float32, integers as int64; uint8 and bool as they are."""
    if tensor.is_floating_point():
        return tensor.to(torch.float32)
    return tensor if tensor.dtype in (torch.uint8, torch.bool) or tensor.is_complex() else tensor.to(torch.int64)


def as_labels(
    labels: Any,
    count: int,
    class_names: tuple[str, ...],
    name: str,
    *,
    task: Task | None = None,
    input_lengths: Sequence[int] = (),
) -> tuple[Tensor, tuple[str, ...]]:
    """Return labels of a kind that ``Samples`` knows and, where they are words and no names are known, the words.

    Args:
        labels: None; words or class indices (n,), -1 or None where unknown; lists of class indices, one a position;
            float rows (n, classes); bool rows (n, labels), or integer ones of 0 and 1.
        count: n.
        class_names: where known.
        name: for messages.
        task: "multi_label" takes integer rows as multi-hot, "single_label" as positions.
        input_lengths: second axis of each part of the inputs: where rows of 0 and 1 have such a length, they could be
            either, and ``task`` must say which.
    Raises:
        DataError: something else.
    """
    if labels is None:
        return torch.full((count,), UNLABELLED), ()
    if not isinstance(labels, Tensor):
        labels = _labels_array(labels, name)
        if labels.dtype.kind in "US":
            return _indices_of_words(labels.astype(str), class_names, name)
        labels = torch.from_numpy(labels)
    labels = labels.detach()
    if labels.dim() == 2 and labels.shape[1] == 1 and not labels.is_floating_point() and task is None:
        labels = labels[:, 0]
    is_index = not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool)
    if labels.dim() == 1 and is_index:
        return labels.to(torch.int64), ()
    if labels.dim() == 2 and labels.dtype == torch.bool:
        return labels, ()
    if labels.dim() == 2 and labels.is_floating_point():
        return labels.to(torch.float32), ()
    if labels.dim() == 2 and is_index:
        return _integer_rows(labels.to(torch.int64), name, task, input_lengths), ()
    raise DataError(
        f"The labels of {name} are not class indices.",
        received=f"{labels.dtype} of shape {tuple(labels.shape)}",
        expected="integers of shape (n,) or (n, positions), float rows (n, classes), or bool rows (n, labels)",
        remedy="give whole floats as .long(), soft labels as one row of probabilities for each sample",
    )


def _integer_rows(labels: Tensor, name: str, task: Task | None, input_lengths: Sequence[int]) -> Tensor:
    if task is None:
        looks_multi_hot = bool(((labels == 0) | (labels == 1)).all())
        if looks_multi_hot and labels.shape[1] in input_lengths:
            raise DataError(
                f"The labels of {name} could be multi-hot rows or a class for each position.",
                received=f"rows of {labels.shape[1]} zeros and ones, inputs of the same length",
                remedy='say which: task="multi_label", or task="single_label" for a class at each position',
            )
        task = "multi_label" if looks_multi_hot else "single_label"
    if task == "single_label":
        return labels
    return labels.to(torch.float32) if bool((labels == UNLABELLED).any()) else labels.to(torch.bool)


def _labels_array(labels: Any, name: str) -> np.ndarray[Any, Any]:
    if isinstance(labels, (list, tuple)) and labels:
        labels = [UNLABELLED if label is None else label for label in labels]
        rows = [np.asarray(row) for row in labels] if any(np.ndim(row) == 1 for row in labels) else []
        if rows and all(row.dtype.kind in "iu" and row.ndim == 1 for row in rows) and len({*map(len, rows)}) > 1:
            padded = np.full((len(rows), max(map(len, rows))), IGNORE_INDEX, dtype=np.int64)
            for place, row in enumerate(rows):
                padded[place, : len(row)] = row
            return padded
    return _as_array(labels, name)


def _as_array(values: Any, name: str) -> np.ndarray[Any, Any]:
    try:
        if isinstance(values, (list, tuple)) and values and all(isinstance(value, Tensor) for value in values):
            values = torch.stack(list(values)).numpy()
        array = np.asarray(values)
        if array.dtype == object and array.size and all(isinstance(value, str) for value in array.flat):
            array = array.astype(str)
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataError(
            f"{name} holds rows of different shapes or types.",
            received=str(error),
            expected="one shape for all",
            remedy="pad sequences: as_samples(list_of_items, collate=pad_collate())",
        ) from error
    if array.dtype.kind not in "biufUS":
        raise DataError(f"{name} holds values that are not numbers.", received=f"an array of {array.dtype}")
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:  # which torch does not know
        array = array.astype(np.float64)
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.int64)
    array = np.ascontiguousarray(array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("=")))
    return array if array.flags.writeable else array.copy()


def _channel_first(images: Tensor, name: str) -> Tensor:
    if images.dim() == 3:
        return images[:, None]
    if images.dim() == 4 and images.shape[1] in (1, 3):
        return images
    if images.dim() == 4 and images.shape[3] in (1, 3):
        return images.permute(0, 3, 1, 2).contiguous()
    has_alpha = images.dim() == 4 and 4 in (images.shape[1], images.shape[3])
    raise DataError(
        f"The images of {name} have neither one nor three channels.",
        received=f"uint8 of shape {tuple(images.shape)}",
        expected="(n, H, W), (n, C, H, W) or (n, H, W, C) with C 1 or 3",
        remedy="convert RGBA or CMYK to RGB" if has_alpha else "features must be float32",
    )


def _indices_of_words(words: Any, class_names: tuple[str, ...], name: str) -> tuple[Tensor, tuple[str, ...]]:
    present, indices = np.unique(words, return_inverse=True)
    known = class_names or tuple(str(word) for word in present)
    places = {word: index for index, word in enumerate(known)}
    for word in present.tolist():
        if word not in places:
            where = int(np.flatnonzero(words == word)[0])
            raise DataError(
                f"{name} has a label that is no class: {word!r} at position {where}.",
                expected="one of " + ", ".join(known),
            )
    order = torch.tensor([places[str(word)] for word in present])
    return order[torch.from_numpy(indices.reshape(words.shape))], known
