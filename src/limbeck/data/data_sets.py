"""Map-style data sets as a source of inputs, and their labels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.data.arrays import as_tensor
from limbeck.data.collate import Collate, PadCollate
from limbeck.data.columns import is_text, split_item
from limbeck.data.loading import ReadSettings
from limbeck.data.random_state import replayed_random_state, sample_seeds
from limbeck.data.sources import content_digest
from limbeck.errors import DataError, LimbeckError
from limbeck.inputs import Inputs, map_inputs, named_tensors

_PROBES = 256  # inputs of a data set that are read for its fingerprint


class DatasetInputs:
    """The inputs of a map-style data set, read on demand.

    Items are taken apart as :func:`split_item` says. An input may be a tensor, an array, a number sequence, a PIL
    image, or a mapping or tuple of them; bare uint8 images are brought into (C, H, W).

    Transforms inside the data set run whenever an input is read, under the random state of (seed, id, view): reading
    again gives the same input. What keeps a generator of its own cannot be replayed; ``is_replayable`` is then False.

    The digest covers length, type, shape and up to 256 evenly spread inputs, each read twice.

    Args:
        dataset: with ``__len__`` and ``__getitem__(int)``.
        name: for messages.
        collate: makes one batch, of items' structure, from a list of items, as a ``DataLoader``'s ``collate_fn`` does;
            None stacks inputs of one shape.
        label_column: the label's name in items that are mappings, where it is an unusual one.
        reading: how the owner reads it.
    """

    def __init__(
        self,
        dataset: Any,
        *,
        name: str = "data",
        collate: Collate | None = None,
        label_column: str | None = None,
        reading: ReadSettings | None = None,
    ) -> None:
        self.dataset = dataset
        self.name = name
        self.collate = collate
        self.label_column = label_column
        self.reading = reading
        self._replayable: bool | None = None

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, positions: Tensor) -> Inputs:
        return self.read_view(positions, positions, seed=0, view=None)

    def read_view(self, positions: Tensor, ids: Tensor, *, seed: int, view: int | None) -> Inputs:
        """Return the inputs at ``positions`` as one batch, read under the random state of (seed, id, view)."""
        items = self._items(positions, ids, seed=seed, view=view)
        if self.collate is not None:
            return self._collated(items, positions)
        examples = [split_item(item, label_column=self.label_column, name=self.name).inputs for item in items]
        return self._stacked([self._as_input(raw) for raw in examples], positions)

    def raw_items(self, positions: Tensor, ids: Tensor, *, seed: int, view: int | None) -> list[Any]:
        """Return the inputs at ``positions`` as the data set gives them."""
        items = self._items(positions, ids, seed=seed, view=view)
        return [split_item(item, label_column=self.label_column, name=self.name).inputs for item in items]

    @property
    def is_ragged(self) -> bool:
        """Whether batches may differ in the length of their sequences."""
        return self.collate is not None

    @cached_property
    def lengths(self) -> Tensor:
        """First axis of the longest part of each input, int64, shape (n,); every input is read once to learn it."""
        lengths = []
        for position in range(len(self)):
            at = torch.tensor([position])
            parts = named_tensors(self._as_input(self.raw_items(at, at, seed=0, view=None)[0]))
            lengths.append(max((len(part) for _, part in parts if part.dim()), default=1))
        return torch.tensor(lengths)

    @property
    def is_replayable(self) -> bool:
        """Whether a few inputs, read twice, came out the same."""
        if self._replayable is None:
            positions = torch.arange(len(self))[:: max(1, len(self) // 8)]
            self._replayable = content_digest(self[positions], torch.arange(len(positions))) == content_digest(
                self[positions], torch.arange(len(positions))
            )
        return self._replayable

    def content_digest(self, positions: Tensor) -> str:
        """Return a digest of the number of positions and of up to 256 inputs at them."""
        probed = positions[:: max(1, -(-len(positions) // _PROBES))]
        inputs, rows = self[probed], torch.arange(len(probed))
        parts = ", ".join(f"{name} {part.dtype} {tuple(part.shape[1:])}" for name, part in named_tensors(inputs))
        digest = hashlib.sha256(f"{len(positions)} {parts}".encode())
        content = content_digest(inputs, rows)
        if content == content_digest(self[probed], rows):
            digest.update(content.encode())
        else:
            self._replayable = False
            digest.update(b"random")
        return digest.hexdigest()

    def _items(self, positions: Tensor, ids: Tensor, *, seed: int, view: int | None) -> list[Any]:
        numbers = sample_seeds(ids, seed=seed, view=view)
        items = []
        with replayed_random_state() as set_to:
            for position, number in zip(positions.tolist(), numbers, strict=True):
                set_to(number)
                items.append(read_item(self.dataset, position, self.name))
        return items

    def _collated(self, items: list[Any], positions: Tensor) -> Inputs:
        assert self.collate is not None
        if isinstance(self.collate, PadCollate):  # ours takes inputs alone: labels need no padding here
            batch: Any = self.collate(
                [
                    self._as_input(split_item(item, label_column=self.label_column, name=self.name).inputs)
                    for item in items
                ]
            )
            return _floats_as_float32(batch)
        try:
            batch = self.collate(items)
        except LimbeckError:
            raise
        except Exception as error:
            raise DataError(
                f"The collate function failed on a batch of {self.name}.",
                received=f"{type(error).__name__}: {error}, at the samples {positions[:8].tolist()}",
                remedy="see the cause above",
            ) from error
        inputs = split_item(batch, label_column=self.label_column, name=self.name).inputs
        return _floats_as_float32(self._as_parts(dict(inputs) if isinstance(inputs, Mapping) else inputs))

    def _as_input(self, raw: Any) -> Inputs:
        """One sample without a first axis for the batch."""
        if isinstance(raw, (Mapping, tuple)):
            return self._as_parts(raw)
        value = _one_tensor(raw, self.name)
        return as_tensor(value[None], self.name)[0]

    def _as_parts(self, raw: Any) -> Inputs:
        if isinstance(raw, Mapping):
            return {
                str(key): self._as_parts(part) for key, part in raw.items() if not is_text(part) and part is not None
            }
        if isinstance(raw, tuple):
            return tuple(self._as_parts(part) for part in raw)
        return _one_tensor(raw, self.name)

    def _stacked(self, inputs: list[Inputs], positions: Tensor) -> Inputs:
        parts = [dict(named_tensors(one)) for one in inputs]
        for name, first in parts[0].items():
            for other, part in enumerate(parts):
                if name not in part or part[name].shape != first.shape:
                    shape = tuple(part[name].shape) if name in part else f"no {name}"
                    raise DataError(
                        f"The inputs of {self.name} have different shapes.",
                        received=f"{tuple(first.shape)} at position {int(positions[0])}, "
                        f"{shape} at position {int(positions[other])}" + (f", in {name}" if name else ""),
                        expected="one shape",
                        remedy="resize images in the data set's transform; pad sequences: "
                        "as_samples(data, collate=pad_collate())",
                    )
        return _floats_as_float32(_stack(inputs))


def read_item(dataset: Any, position: int, name: str) -> Any:
    """Return ``dataset[position]``; what goes wrong in its own code is shown as the cause, with the position.

    Raises:
        DataError: the data set raised.
    """
    try:
        return dataset[position]
    except LimbeckError:
        raise
    except Exception as error:
        raise DataError(
            f"{name} failed at sample {position} of {len(dataset)}.",
            received=f"{type(error).__name__}: {error}",
            expected="dataset[i] returns a sample for every i below len(dataset)",
            remedy="see the cause above: it is in the data set's own code, or in a transform of it",
        ) from error


def _one_tensor(raw: Any, name: str) -> Tensor:
    if isinstance(raw, Tensor):
        return raw.detach()
    if callable(getattr(raw, "convert", None)) and getattr(raw, "mode", "L") != "L":
        raw = raw.convert("RGB")  # a PIL image
    array = np.array(raw)
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"An input of {name} is not made of numbers.",
            received=f"{type(raw).__name__} of {array.dtype}",
            expected="tensors, arrays, numbers or PIL images",
            remedy="text is tokenised first, files are opened in the data set",
        )
    return torch.from_numpy(array.astype(np.int64) if array.dtype.kind == "u" and array.dtype.itemsize > 1 else array)


def _stack(inputs: list[Inputs]) -> Inputs:
    first = inputs[0]
    if isinstance(first, Tensor):
        return torch.stack(inputs)  # type: ignore[arg-type]
    if isinstance(first, Mapping):
        return {key: _stack([one[key] for one in inputs]) for key in first}  # type: ignore[index,call-overload]
    return tuple(_stack([one[place] for one in inputs]) for place in range(len(first)))  # type: ignore[index]


def _floats_as_float32(inputs: Inputs) -> Inputs:
    def kept(tensor: Tensor) -> Tensor:
        if tensor.is_floating_point():
            return tensor.to(torch.float32)
        return tensor if tensor.dtype in (torch.uint8, torch.bool) else tensor.to(torch.int64)

    return map_inputs(kept, inputs)
