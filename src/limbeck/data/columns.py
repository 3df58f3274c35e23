"""Which part of an item, or which column of a table, is the input, the label and the weight."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.errors import DataError, near_names

LABEL_NAMES = ("label", "labels", "target", "targets", "y")
WEIGHT_NAMES = ("weight", "weights", "sample_weight", "sample_weights")
INPUT_NAMES = ("inputs", "input", "image", "img", "x", "features")  # alone, the value itself is the input
ID_NAMES = ("id", "ids", "idx", "__index_level_0__")


@dataclass(frozen=True)
class Example:
    """One item of a data set, or whole columns of a table, in its parts.

    Args:
        inputs: what the network is called with.
        label: None where there is none.
        weight: of the sample in the loss; None where there is none.
    """

    inputs: Any
    label: Any = None
    weight: Any = None


def split_item(item: Any, *, label_column: str | None = None, name: str = "data") -> Example:
    """Return the parts of an item as a data set yields it.

    Args:
        item: inputs alone; (inputs, label); (inputs, label, weight) with a float weight; or a mapping or named tuple,
            in which the label is called ``label``, ``labels``, ``target``, ``targets`` or ``y``, the weight
            ``weight``, ``weights``, ``sample_weight`` or ``sample_weights``, and the rest are inputs: a single one
            called ``inputs``, ``input``, ``image``, ``img``, ``x`` or ``features`` by itself, others by name.
        label_column: the label's name in a mapping, where it is another.
        name: of the data set, for messages.
    Raises:
        DataError: a tuple of another length, or a third element that is no weight.
    Example:
        >>> split_item({"image": 3, "label": 1})
        Example(inputs=3, label=1, weight=None)
        >>> split_item(({"a": 1}, 0, 0.5)).weight
        0.5
    """
    fields = getattr(item, "_fields", None)
    if fields is not None and any(field in LABEL_NAMES + INPUT_NAMES for field in fields):
        item = item._asdict()
    if isinstance(item, Mapping):
        return _split_mapping(item, label_column, name)
    if not isinstance(item, (tuple, list)):
        return Example(item)
    if len(item) == 3 and not is_weight(item[2]):
        raise DataError(
            f"The third element of an item of {name} is no sample weight.",
            received=_what(item[2]),
            expected="(inputs, label) or (inputs, label, weight) with a weight of type float",
            remedy="return weights as floats, leave an index out, and several inputs as one tuple: ((a, b), label)",
        )
    if not 1 <= len(item) <= 3:
        raise DataError(
            f"An item of {name} has {len(item)} elements.",
            received=", ".join(map(_what, item[:6])),
            expected="inputs, (inputs, label) or (inputs, label, weight)",
            remedy="give several inputs as one tuple or mapping: ((a, b), label)",
        )
    return Example(*item)


def is_weight(value: Any) -> bool:
    """Whether a third element is a sample weight: floats, not an index."""
    if isinstance(value, (Tensor, np.ndarray)):
        return bool(torch.as_tensor(value).is_floating_point())
    if isinstance(value, (list, tuple)):
        return bool(value) and all(isinstance(one, (float, np.floating)) for one in value)
    return isinstance(value, (float, np.floating))


def label_name(names: Iterable[str], label_column: str | None, name: str) -> str | None:
    """Return which of ``names`` is the label; None where none is.

    Raises:
        DataError: a ``label_column`` that is not there, or several names that could be it.
    """
    known = list(names)
    if label_column is not None:
        if label_column not in known:
            near = near_names(label_column, known)
            raise DataError(
                f"{name} has no column {label_column!r}.",
                received=", ".join(known[:20]),
                remedy=f"did you mean {near[0]}?" if near else "give the name of the column that holds the labels",
            )
        return label_column
    found = [candidate for candidate in LABEL_NAMES if candidate in known]
    if len(found) > 1:
        raise DataError(
            f"{name} has several columns that could be the label.",
            received=", ".join(found),
            remedy=f"say which: label_column={found[0]!r}",
        )
    return found[0] if found else None


def weight_name(names: Iterable[str]) -> str | None:
    """Return which of ``names`` is the sample weight; None where none is."""
    return next((candidate for candidate in names if candidate in WEIGHT_NAMES), None)


def _split_mapping(item: Mapping[str, Any], label_column: str | None, name: str) -> Example:
    label, weight = label_name(item, label_column, name), weight_name(item)
    rest = {
        key: value
        for key, value in item.items()
        if key not in (label, weight, *ID_NAMES) and not is_text(value) and value is not None
    }
    if not rest:
        raise DataError(
            f"An item of {name} has no inputs.",
            received=", ".join(f"{key}: {_what(value)}" for key, value in item.items()),
            expected="numbers or images beside the label; text must be tokenised first",
            remedy="map a tokenizer over the data set: data.map(lambda row: tokenizer(row['text'], truncation=True))",
        )
    inputs: Any = next(iter(rest.values())) if len(rest) == 1 and next(iter(rest)) in INPUT_NAMES else rest
    return Example(inputs, None if label is None else item[label], None if weight is None else item[weight])


def is_text(value: Any) -> bool:
    """Whether a value, or the first of a list or array of them, is a string."""
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "US" or (value.dtype == object and value.size > 0 and is_text(value.flat[0]))
    while isinstance(value, (list, tuple)) and value:
        value = value[0]
    return isinstance(value, (str, bytes))


def left_out(item: Any, label: str | None) -> list[str]:
    """Return the names in a mapping item that are neither inputs nor label nor weight: ids and texts."""
    if not isinstance(item, Mapping):
        return []
    return [
        key
        for key, value in item.items()
        if key != label and key not in WEIGHT_NAMES and (key in ID_NAMES or is_text(value) or value is None)
    ]


def _what(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return type(value).__name__ + (f" of shape {tuple(shape)}" if shape is not None else "")
