"""Inputs of networks: a tensor, a mapping of named tensors or a tuple, one row a sample, handled alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from limbeck.errors import ShapeMismatch

Inputs: TypeAlias = Tensor | Mapping[str, "Inputs"] | tuple["Inputs", ...]
"""What a network is called with: a tensor is its one argument, a mapping its keyword arguments, a tuple its positional
arguments; they may be nested. The first axis of every tensor is the sample."""


def map_inputs(function: Callable[[Tensor], Tensor], inputs: Inputs) -> Inputs:
    """Return inputs of the same structure with ``function`` applied to every tensor.

    Example:
        >>> map_inputs(lambda tensor: tensor + 1, {"a": torch.zeros(1), "b": (torch.ones(1),)})
        {'a': tensor([1.]), 'b': (tensor([2.]),)}
    """
    if isinstance(inputs, Tensor):
        return function(inputs)
    if isinstance(inputs, Mapping):
        return {name: map_inputs(function, part) for name, part in inputs.items()}
    if isinstance(inputs, tuple):
        return tuple(map_inputs(function, part) for part in inputs)
    raise ShapeMismatch(
        "Inputs are tensors, mappings of them or tuples of them.",
        received=type(inputs).__name__,
        expected="torch.Tensor, a mapping or a tuple",
        remedy="convert each part with torch.as_tensor first",
    )


def named_tensors(inputs: Inputs, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield each tensor with its path, in order.

    Example:
        >>> [name for name, _ in named_tensors({"a": torch.zeros(1), "b": (torch.ones(1), torch.ones(1))})]
        ['a', 'b.0', 'b.1']
    """
    if isinstance(inputs, Tensor):
        yield prefix, inputs
        return
    parts = inputs.items() if isinstance(inputs, Mapping) else enumerate(inputs)
    for name, part in parts:
        yield from named_tensors(part, f"{prefix}.{name}" if prefix else str(name))


def num_rows(inputs: Inputs) -> int:
    """Return the number of samples.

    Raises:
        ShapeMismatch: no tensor at all, one without a first axis, or tensors of different lengths.
    """
    if isinstance(inputs, Tensor) and inputs.dim():
        return len(inputs)
    lengths = {name: len(tensor) if tensor.dim() else None for name, tensor in named_tensors(inputs)}
    if len(set(lengths.values())) != 1 or None in lengths.values():
        raise ShapeMismatch(
            "The parts of the inputs are not of one length.",
            received=", ".join(f"{name or 'inputs'}: {length}" for name, length in lengths.items()) or "no tensor",
            expected="tensors whose first axis is the sample, all of the same length",
        )
    return int(next(iter(lengths.values())) or 0)


def take_rows(inputs: Inputs, positions: Tensor) -> Inputs:
    """Return the samples at ``positions`` (int64, shape (n,)); each tensor stays on its device."""
    return map_inputs(lambda tensor: tensor.index_select(0, positions.to(tensor.device)), inputs)


def slice_rows(inputs: Inputs, start: int, end: int) -> Inputs:
    """Return the samples from ``start`` up to ``end``, as views."""
    return map_inputs(lambda tensor: tensor[start:end], inputs)


def move(inputs: Inputs, device: torch.device | str | None, *, non_blocking: bool = False) -> Inputs:
    """Return the inputs on ``device``; no copy where they are there already."""
    if isinstance(inputs, Tensor):
        return inputs.to(device, non_blocking=non_blocking)
    return map_inputs(lambda tensor: tensor.to(device, non_blocking=non_blocking), inputs)


def cast_floats(inputs: Inputs, dtype: torch.dtype) -> Inputs:
    """Return the inputs with floating tensors as ``dtype``; integers and booleans stay what they are."""
    return map_inputs(lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor, inputs)


def device_of(inputs: Inputs) -> torch.device:
    """Return the device of the first tensor."""
    return next(named_tensors(inputs))[1].device


def describe(inputs: Inputs) -> str:
    """Return shapes and dtypes in one line, for messages.

    Example:
        >>> describe({"input_ids": torch.zeros(2, 5, dtype=torch.int64), "mask": torch.ones(2, 5)})
        'input_ids: (2, 5) int64, mask: (2, 5) float32'
    """
    parts = [
        f"{name}: {tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}".removeprefix(": ")
        for name, tensor in named_tensors(inputs)
    ]
    return ", ".join(parts)
