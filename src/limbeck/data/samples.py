"""Samples: inputs, labels and stable ids of one data set, in memory or read on demand."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from limbeck.data.checks import UNLABELLED, check_ids, check_inputs, check_labels, check_lengths

READ_CHUNK = 1024  # samples read at once where a whole set is passed over


class InputSource(Protocol):
    """Where raw inputs come from. A ``torch.Tensor`` is one.

    A source may also have ``sample_shape`` (a tuple of int) and ``dtype``, so that nothing is read to learn them,
    ``content_digest(positions) -> str``, so that a fingerprint need not read every input, and ``is_replayable``
    (False where reading twice may give different inputs).
    """

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def __getitem__(self, positions: Tensor, /) -> Tensor:
        """Return the raw inputs at ``positions`` (int64, shape (n,)), stacked to (n, ...)."""
        ...


@runtime_checkable
class DigestingSource(Protocol):
    """An input source that can identify its content without reading all of it."""

    def content_digest(self, positions: Tensor, /) -> str:
        """Return a digest of the inputs at ``positions``, in that order."""
        ...


class Selected:
    """Some positions of another source, still read on demand.

    Args:
        source: what is read.
        positions: int64, shape (n,).
    """

    def __init__(self, source: InputSource, positions: Tensor) -> None:
        self.source = source
        self.positions = positions.cpu()

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, positions: Tensor) -> Tensor:
        return self.source[self.positions[positions.cpu()]]

    @property
    def sample_shape(self) -> tuple[int, ...] | None:
        """Shape of one raw input, where the source knows it."""
        return getattr(self.source, "sample_shape", None)

    @property
    def dtype(self) -> torch.dtype | None:
        """Type of the raw inputs, where the source knows it."""
        return getattr(self.source, "dtype", None)

    @property
    def is_replayable(self) -> bool:
        """Whether the source gives the same inputs whenever it is read."""
        return bool(getattr(self.source, "is_replayable", True))

    def content_digest(self, positions: Tensor) -> str:
        """Return the source's digest of the chosen positions."""
        return _content_digest(self.source, self.positions[positions.cpu()])


@dataclass(frozen=True, eq=False)
class Samples:
    """A fingerprinted set of samples, each with a stable id.

    Raw inputs are uint8 images (n, C, H, W) with 1 or 3 channels, which views scale by 1/255, or float features
    (n, ...), taken as they are.

    Args:
        name: for messages, e.g. "mnist/train".
        ids: int64, shape (n,), unique; the identity of a sample wherever it is stored.
        inputs: n raw inputs: a tensor, or a source that reads them on demand.
        labels: int64, shape (n,), class indices, ``UNLABELLED`` (-1) where unknown.
        class_names: in the order of the indices; may be empty where nothing is labelled.
        raw: the samples that these were prepared from (see ``Views.prepared``): fingerprints and ``is_image`` are
            theirs. None where ``inputs`` are raw themselves.
        prepared_by: fingerprint of the views that prepared ``inputs``; None where they are raw.
    Raises:
        DataError: no samples, lengths that differ, repeated ids, a label out of range, NaN or infinity in the inputs.
    Example:
        >>> samples = Samples("toy", torch.tensor([3, 8]), torch.zeros(2, 4), torch.tensor([1, 0]), ("no", "yes"))
        >>> len(samples), samples.input_shape, samples.num_classes
        (2, (4,), 2)
    """

    name: str
    ids: Tensor
    inputs: InputSource
    labels: Tensor
    class_names: tuple[str, ...]
    raw: Samples | None = dataclasses.field(default=None, repr=False)
    prepared_by: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_names", tuple(self.class_names))
        check_lengths(self.name, num_ids=len(self.ids), num_inputs=len(self.inputs), num_labels=len(self.labels))
        check_ids(self.ids, self.name)
        check_labels(self.labels, self.ids, num_classes=self.num_classes, name=self.name)
        if isinstance(self.inputs, Tensor):
            check_inputs(self.inputs, self.ids, self.name)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        where = "in memory" if self.in_memory else "read on demand"
        return (
            f"Samples({self.name!r}: {len(self)} samples, {self.num_classes} classes, "
            f"inputs {self.input_shape} {where})"
        )

    @property
    def num_classes(self) -> int:
        """Number of class names."""
        return len(self.class_names)

    @property
    def in_memory(self) -> bool:
        """Whether the inputs are one tensor."""
        return isinstance(self.inputs, Tensor)

    @property
    def device(self) -> torch.device:
        """Where ids, labels and fetched inputs are."""
        return self.ids.device

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, e.g. (1, 28, 28) or (64,)."""
        return self._shape_and_dtype[0]

    @property
    def is_image(self) -> bool:
        """Whether the raw inputs are uint8 images (C, H, W)."""
        shape, dtype = (self if self.raw is None else self.raw)._shape_and_dtype
        return dtype == torch.uint8 and len(shape) == 3

    @property
    def is_replayable(self) -> bool:
        """Whether reading an input again gives the same bytes; without that, stored targets cannot belong to it."""
        return bool(getattr(self.inputs, "is_replayable", True))

    @cached_property
    def positions_by_id(self) -> Tensor:
        """Positions in ascending order of id, int64, shape (n,): the order that storage does not change."""
        return torch.argsort(self.ids)

    @cached_property
    def ranks(self) -> Tensor:
        """Each sample's place in ascending order of id, int64, shape (n,): the inverse of ``positions_by_id``."""
        return torch.argsort(self.positions_by_id)

    @cached_property
    def inputs_fingerprint(self) -> str:
        """SHA-256 (hex) of ids and raw inputs: what a teacher's outputs depend on.

        Labels and storage order do not count. For a source that reads on demand it covers what the source says of its
        content: see ``content_digest`` there.
        """
        if self.raw is not None:
            return self.raw.inputs_fingerprint
        digest = hashlib.sha256(b"limbeck inputs 1")
        digest.update(self.ids[self.positions_by_id].cpu().numpy().tobytes())
        digest.update(_content_digest(self.inputs, self.positions_by_id).encode())
        return digest.hexdigest()

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of ids, raw inputs, labels and class names; the same however the samples are stored."""
        digest = hashlib.sha256(b"limbeck samples 1")
        digest.update(self.inputs_fingerprint.encode())
        digest.update(self.labels[self.positions_by_id].cpu().numpy().tobytes())
        digest.update(repr(self.class_names).encode())
        return digest.hexdigest()

    def fetch(self, positions: Tensor) -> Tensor:
        """Return the inputs at ``positions`` (int64, shape (n,)), stacked to (n, ...), on this set's device."""
        if isinstance(self.inputs, Tensor):
            return self.inputs.index_select(0, positions.to(self.inputs.device))
        fetched = self.inputs[positions.cpu()]
        check_inputs(fetched, self.ids[positions.to(self.device)], self.name)
        return fetched.to(self.device)

    def take(self, positions: Tensor) -> Samples:
        """Return the samples at ``positions`` with their ids; a source that reads on demand is not read."""
        positions = positions.to(self.device)
        inputs: InputSource
        if isinstance(self.inputs, Tensor):
            inputs = self.inputs.index_select(0, positions.to(self.inputs.device))
        elif isinstance(self.inputs, Selected):
            inputs = Selected(self.inputs.source, self.inputs.positions[positions.cpu()])
        else:
            inputs = Selected(self.inputs, positions)
        raw = None if self.raw is None else self.raw.take(positions)
        return dataclasses.replace(self, ids=self.ids[positions], inputs=inputs, labels=self.labels[positions], raw=raw)

    def labelled_positions(self) -> Tensor:
        """Return the positions with a label, ascending, int64."""
        return (self.labels != UNLABELLED).nonzero()[:, 0]

    def without_labels(self, positions: Tensor | None = None) -> Samples:
        """Return the same samples with the labels at ``positions`` (all where None) unknown."""
        labels = self.labels.clone()
        if positions is None:
            labels.fill_(UNLABELLED)
        else:
            labels[positions.to(self.device)] = UNLABELLED
        return self._carry(dataclasses.replace(self, labels=labels), "inputs_fingerprint")

    def to(self, device: torch.device | str) -> Samples:
        """Return the samples with ids, labels and in-memory inputs on ``device``; others are moved as they are read."""
        if torch.device(device) == self.device:
            return self
        inputs = self.inputs.to(device) if isinstance(self.inputs, Tensor) else self.inputs
        moved = dataclasses.replace(self, ids=self.ids.to(device), inputs=inputs, labels=self.labels.to(device))
        return self._carry(moved, "inputs_fingerprint", "fingerprint")

    def _carry(self, other: Samples, *cached: str) -> Samples:
        """Hand what is already computed, and still true, on to a derived set."""
        other.__dict__.update({name: self.__dict__[name] for name in cached if name in self.__dict__})
        return other

    @cached_property
    def _shape_and_dtype(self) -> tuple[tuple[int, ...], torch.dtype]:
        if isinstance(self.inputs, Tensor):
            return tuple(self.inputs.shape[1:]), self.inputs.dtype
        shape, dtype = getattr(self.inputs, "sample_shape", None), getattr(self.inputs, "dtype", None)
        if shape is None or dtype is None:
            first = self.inputs[torch.zeros(1, dtype=torch.int64)]
            shape, dtype = tuple(first.shape[1:]), first.dtype
        return shape, dtype


def position_chunks(positions: Tensor, size: int = READ_CHUNK) -> Iterator[Tensor]:
    """Yield the positions in runs of at most ``size``."""
    for start in range(0, len(positions), size):
        yield positions[start : start + size]


def _content_digest(source: InputSource, positions: Tensor) -> str:
    """SHA-256 of dtype, shape and bytes at ``positions``, in that order, or what the source says itself."""
    if isinstance(source, DigestingSource):
        return source.content_digest(positions)
    digest = hashlib.sha256()
    for number, chunk in enumerate(position_chunks(positions)):
        inputs = _rows(source, chunk) if isinstance(source, Tensor) else source[chunk]
        if number == 0:
            digest.update(f"{inputs.dtype} {tuple(inputs.shape[1:])}".encode())
        digest.update(inputs.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def _rows(source: Tensor, positions: Tensor) -> Tensor:
    """Return the rows at ``positions``, without a copy where they follow each other."""
    start, end = int(positions[0]), int(positions[-1]) + 1
    if end - start == len(positions) and bool((positions.diff() == 1).all()):
        return source[start:end]
    return source.index_select(0, positions.to(source.device))
