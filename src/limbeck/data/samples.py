"""Samples: inputs, labels and stable ids of one data set, in memory or read on demand."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor

from limbeck.data.checks import (
    IGNORE_INDEX,
    UNLABELLED,
    Task,
    check_class_names,
    check_ids,
    check_inputs,
    check_labels,
    check_lengths,
    check_weights,
    has_positions,
)
from limbeck.data.sources import RawInputs, Selected, content_digest, is_in_memory, split_rows
from limbeck.errors import DataError
from limbeck.inputs import Inputs, move, named_tensors, num_rows, take_rows


@dataclass(frozen=True, eq=False)
class Samples:
    """A fingerprinted set of samples, each with a stable id.

    Raw inputs are uint8 images (n, C, H, W) with 1 or 3 channels, which views scale by 1/255, float features
    (n, ...), or integers (n, ...) such as token ids, taken as they are; or a mapping or tuple of such tensors.

    Args:
        name: for messages, e.g. "mnist/train".
        ids: int64, shape (n,), unique; the identity of a sample wherever it is stored.
        inputs: n raw inputs: tensors, or a source that reads them on demand.
        labels: class indices, int64, shape (n,), ``UNLABELLED`` (-1) where unknown; or for each position of a
            sequence, int64, shape (n, positions), ``IGNORE_INDEX`` (-100) where none counts; or soft labels, float,
            shape (n, classes), each row a distribution; or multi-hot rows, bool or float, shape (n, labels), with
            ``task="multi_label"``. In rows of floats, -1 stands for what is unknown.
        class_names: in the order of the indices; may be empty where nothing is labelled.
        raw: the samples that these were prepared from (see ``Views.prepared``): fingerprints and ``is_image`` are
            theirs. None where ``inputs`` are raw themselves.
        prepared_by: fingerprint of the views that prepared ``inputs``; None where they are raw.
        weights: of the samples in the loss, float32, shape (n,), 0 or more; None where all count alike.
        task: "single_label" (one class each) or "multi_label" (each label for itself). By default multi_label where
            the labels are boolean.
        notes: plain sentences on what was decided while the data was taken over, for the record.
    Raises:
        DataError: no samples, lengths that differ, repeated ids, a label or weight out of range, NaN or infinity in
            the inputs.
    Example:
        >>> samples = Samples("toy", torch.tensor([3, 8]), torch.zeros(2, 4), torch.tensor([1, 0]), ("no", "yes"))
        >>> len(samples), samples.input_shape, samples.num_classes
        (2, (4,), 2)
    """

    name: str
    ids: Tensor
    inputs: RawInputs
    labels: Tensor
    class_names: tuple[str, ...]
    raw: Samples | None = dataclasses.field(default=None, repr=False)
    prepared_by: str | None = None
    weights: Tensor | None = None
    task: Task = None  # type: ignore[assignment]  # resolved below
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_names", tuple(self.class_names))
        if cast("Task | None", self.task) is None:
            object.__setattr__(self, "task", "multi_label" if self.labels.dtype == torch.bool else "single_label")
        check_class_names(self.class_names, self.name)
        in_memory = self.inputs if is_in_memory(self.inputs) else None
        num_inputs = len(self.inputs) if in_memory is None else num_rows(in_memory)
        check_lengths(self.name, num_ids=len(self.ids), num_inputs=num_inputs, num_labels=len(self.labels))
        check_ids(self.ids, self.name)
        check_labels(self.labels, self.ids, num_classes=self.num_classes, task=self.task, name=self.name)
        if self.weights is not None:
            check_weights(self.weights, self.ids, self.name)
        if in_memory is not None:
            check_inputs(in_memory, self.ids, self.name)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        where = "in memory" if self.in_memory else "read on demand"
        shapes = ", ".join(f"{name} {shape}".strip() for name, shape in self.input_shapes.items())
        return f"Samples({self.name!r}: {len(self)} samples, {self.num_classes} classes, inputs {shapes} {where})"

    @property
    def num_classes(self) -> int:
        """Number of class names."""
        return len(self.class_names)

    @property
    def in_memory(self) -> bool:
        """Whether the inputs are tensors, not read on demand."""
        return is_in_memory(self.inputs)

    @property
    def device(self) -> torch.device:
        """Where ids, labels and fetched inputs are."""
        return self.ids.device

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, e.g. (1, 28, 28) or (64,); of the first tensor where an input has several."""
        return next(iter(self.input_shapes.values()))

    @property
    def input_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each tensor of one input, by its path; that of a bare tensor is "".

        Where sequences differ in length, the shapes are those of the first sample.
        """
        return {name: shape for name, (shape, _) in self._shapes_and_dtypes.items()}

    @property
    def input_dtypes(self) -> dict[str, torch.dtype]:
        """Type of each raw tensor of one input, by its path."""
        return {name: dtype for name, (_, dtype) in self._shapes_and_dtypes.items()}

    @property
    def has_positions(self) -> bool:
        """Whether each position of a sample has a label of its own, as in token tagging."""
        return has_positions(self.labels)

    @property
    def is_image(self) -> bool:
        """Whether the raw inputs are uint8 images (C, H, W)."""
        parts = (self if self.raw is None else self.raw)._shapes_and_dtypes
        shape, dtype = parts.get("", ((), None))
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
        digest.update(content_digest(self.inputs, self.positions_by_id).encode())
        return digest.hexdigest()

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of ids, raw inputs, labels, weights and class names; the same however they are stored."""
        digest = hashlib.sha256(b"limbeck samples 1")
        digest.update(self.inputs_fingerprint.encode())
        if self.labels.dim() > 1:
            digest.update(f"{self.task} {self.labels.dtype} {tuple(self.labels.shape[1:])}".encode())
        digest.update(self.labels[self.positions_by_id].cpu().numpy().tobytes())
        if self.weights is not None:
            digest.update(b"weights" + self.weights[self.positions_by_id].cpu().numpy().tobytes())
        digest.update(repr(self.class_names).encode())
        return digest.hexdigest()

    def fetch(self, positions: Tensor, *, seed: int = 0, view: int | None = None) -> Inputs:
        """Return the inputs at ``positions`` (int64, shape (n,)), stacked to (n, ...), on this set's device.

        Where reading itself is random, as with transforms inside a data set, the random state is that of ``seed``,
        each id and ``view``; elsewhere those two change nothing.
        """
        if isinstance(self.inputs, Tensor):
            return self.inputs.index_select(0, positions.to(self.inputs.device))
        if is_in_memory(self.inputs):
            return take_rows(self.inputs, positions)
        ids = self.ids[positions.to(self.device)]
        read_view: Any = getattr(self.inputs, "read_view", None)
        if read_view is None:
            fetched = self.inputs[positions.cpu()]
        else:
            fetched = read_view(positions.cpu(), ids.cpu(), seed=seed, view=view)
        check_inputs(fetched, ids, self.name)
        return move(fetched, self.device)

    def items(self, positions: Tensor, *, seed: int = 0, view: int | None = None) -> list[Any]:
        """Return single raw samples (PIL images where the source has them), for a user's own transform."""
        raw_items: Any = getattr(self.inputs, "raw_items", None)
        if raw_items is None:
            return split_rows(self.fetch(positions, seed=seed, view=view))
        items: list[Any] = raw_items(positions.cpu(), self.ids[positions.to(self.device)].cpu(), seed=seed, view=view)
        return items

    def take(self, positions: Tensor) -> Samples:
        """Return the samples at ``positions`` with their ids; a source that reads on demand is not read."""
        positions = positions.to(self.device)
        inputs: RawInputs
        if is_in_memory(self.inputs):
            inputs = take_rows(self.inputs, positions)
        elif isinstance(self.inputs, Selected):
            source, kept = self.inputs.source, self.inputs.positions[positions.cpu()]
            inputs = Selected(source, kept, reading=vars(self.inputs).get("reading"))
        else:
            inputs = Selected(self.inputs, positions)
        return dataclasses.replace(
            self,
            ids=self.ids[positions],
            inputs=inputs,
            labels=self.labels[positions],
            raw=None if self.raw is None else self.raw.take(positions),
            weights=None if self.weights is None else self.weights[positions],
        )

    def positions_of(self, ids: Tensor) -> Tensor:
        """Return where the samples with these ids are, int64, shape (n,): ``samples.take(samples.positions_of(ids))``.

        Raises:
            DataError: an id that no sample has.
        """
        ids = ids.to(self.device)
        ranks = torch.searchsorted(self.ids, ids, sorter=self.positions_by_id).clamp_(max=len(self) - 1)
        positions = self.positions_by_id[ranks]
        wrong = (self.ids[positions] != ids).nonzero()
        if len(wrong):
            raise DataError(
                f"{self.name} has no sample with the id {int(ids[wrong[0, 0]])}.", expected="ids of its own"
            )
        return positions

    def labelled_positions(self) -> Tensor:
        """Return the positions with a label, or with one in any row or position of theirs, ascending, int64."""
        if self.labels.dim() == 1:
            return (self.labels != UNLABELLED).nonzero()[:, 0]
        if self.labels.dtype == torch.bool:
            return torch.arange(len(self), device=self.device)
        return (self.labels != self._unknown).any(dim=1).nonzero()[:, 0]

    def without_labels(self, positions: Tensor | None = None) -> Samples:
        """Return the same samples with the labels at ``positions`` (all where None) unknown."""
        labels = self.labels.float() if self.labels.dtype == torch.bool else self.labels.clone()
        if positions is None:
            labels.fill_(self._unknown)
        else:
            labels[positions.to(self.device)] = self._unknown
        return self._carry(dataclasses.replace(self, labels=labels), "inputs_fingerprint")

    def to(self, device: torch.device | str) -> Samples:
        """Return the samples with ids, labels and in-memory inputs on ``device``; others are moved as they are read."""
        if torch.device(device) == self.device:
            return self
        moved = dataclasses.replace(
            self,
            ids=self.ids.to(device),
            inputs=move(self.inputs, device) if is_in_memory(self.inputs) else self.inputs,
            labels=self.labels.to(device),
            weights=None if self.weights is None else self.weights.to(device),
        )
        return self._carry(moved, "inputs_fingerprint", "fingerprint")

    def _carry(self, other: Samples, *cached: str) -> Samples:
        """Hand what is already computed, and still true, on to a derived set."""
        other.__dict__.update({name: self.__dict__[name] for name in cached if name in self.__dict__})
        return other

    @property
    def _unknown(self) -> int:
        return IGNORE_INDEX if self.has_positions else UNLABELLED

    @cached_property
    def _shapes_and_dtypes(self) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        if not is_in_memory(self.inputs):
            shape, dtype = getattr(self.inputs, "sample_shape", None), getattr(self.inputs, "dtype", None)
            if shape is not None and dtype is not None:
                return {"": (shape, dtype)}
        first = self.inputs if is_in_memory(self.inputs) else self.fetch(torch.zeros(1, dtype=torch.int64))
        return {name: (tuple(tensor.shape[1:]), tensor.dtype) for name, tensor in named_tensors(first)}
