"""Where inputs come from: in memory or read on demand, by position."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import torch
from torch import Tensor

from limbeck.inputs import Inputs, map_inputs, named_tensors, num_rows, take_rows

if TYPE_CHECKING:
    from typing_extensions import TypeIs

READ_CHUNK = 1024  # samples read at once where a whole set is passed over


class InputSource(Protocol):
    """Where raw inputs come from: an object with a length that reads samples by position.

    That is all that speech, video or text need to become a data set. A source may also have

    - ``sample_shape`` (a tuple of int) and ``dtype``, so that nothing is read to learn them;
    - ``content_digest(positions) -> str``, so that a fingerprint need not read every input;
    - ``is_replayable``: False where reading twice may give different inputs;
    - ``read_view(positions, ids, *, seed, view) -> Inputs``, where reading depends on Python's, NumPy's or torch's
      random state (see ``limbeck.data.random_state``);
    - ``draws_segments``: True where ``read_view`` draws frames of clips, for views that ask for it (``Segments``);
    - ``raw_items(positions, ids, *, seed, view) -> list``: single samples, for a user's own transform;
    - ``lengths``: int64 of shape (n,), for batches of similar length;
    - ``reading``: how many workers its owner reads it with (``ReadSettings``).
    """

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def __getitem__(self, positions: Tensor, /) -> Inputs:
        """Return the raw inputs at ``positions`` (int64, shape (n,)), stacked to (n, ...)."""
        ...


RawInputs: TypeAlias = Inputs | InputSource
"""Inputs in memory, or a source that reads them on demand."""


def is_in_memory(inputs: RawInputs) -> TypeIs[Inputs]:
    """Whether inputs are tensors already, alone, in a mapping or in a tuple."""
    return isinstance(inputs, (Tensor, Mapping, tuple))


class Selected:
    """Some positions of another source, still read on demand.

    Args:
        source: what is read.
        positions: int64, shape (n,).
        reading: how it is read in place of the source's own way.
    """

    def __init__(self, source: InputSource, positions: Tensor, *, reading: Any = None) -> None:
        self.source = source
        self.positions = positions.cpu()
        if reading is not None:
            self.reading = reading

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, positions: Tensor) -> Inputs:
        return self.source[self.positions[positions.cpu()]]

    def __getattr__(self, name: str) -> Any:
        """Whatever else the source offers, for the chosen positions; AttributeError where it does not."""
        if name in _BY_POSITION:
            offered = getattr(self.source, name)
            return lambda positions, *rest, **settings: offered(self.positions[positions.cpu()], *rest, **settings)
        if name == "lengths":
            return self.source.lengths[self.positions]  # type: ignore[attr-defined]
        if name in _AS_IT_IS:
            return getattr(self.source, name)
        raise AttributeError(name)

    def content_digest(self, positions: Tensor) -> str:
        """Return the source's digest of the chosen positions."""
        return content_digest(self.source, self.positions[positions.cpu()])


_BY_POSITION = frozenset({"read_view", "raw_items"})
_AS_IT_IS = frozenset({"sample_shape", "dtype", "is_ragged", "is_replayable", "draws_segments", "reading"})


def position_chunks(positions: Tensor, size: int = READ_CHUNK) -> Iterator[Tensor]:
    """Yield the positions in runs of at most ``size``."""
    for start in range(0, len(positions), size):
        yield positions[start : start + size]


def split_rows(inputs: Inputs) -> list[Inputs]:
    """Return the samples of a batch one by one, without the first axis."""
    return [map_inputs(lambda part, row=row: part[row], inputs) for row in range(num_rows(inputs))]  # type: ignore[misc]


def content_digest(source: RawInputs, positions: Tensor) -> str:
    """SHA-256 of dtype, shape and bytes at ``positions``, in that order, or what the source says itself."""
    own: Any = None if is_in_memory(source) else getattr(source, "content_digest", None)
    if own is not None:
        return str(own(positions))
    digests: dict[str, Any] = {}
    for chunk in position_chunks(positions):
        inputs = _rows(source, chunk) if is_in_memory(source) else source[chunk]
        for name, tensor in named_tensors(inputs):
            if name not in digests:
                digests[name] = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape[1:])}".encode())
            digests[name].update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    if list(digests) == [""]:
        return str(digests[""].hexdigest())
    joint = hashlib.sha256(b"named inputs")
    for name, digest in sorted(digests.items()):
        joint.update(f"{name}\0{digest.hexdigest()}\n".encode())
    return joint.hexdigest()


def _rows(inputs: Inputs, positions: Tensor) -> Inputs:
    """Return the rows at ``positions``, without a copy where they follow each other."""
    start, end = int(positions[0]), int(positions[-1]) + 1
    if end - start == len(positions) and bool((positions.diff() == 1).all()):
        return map_inputs(lambda tensor: tensor[start:end], inputs)
    return take_rows(inputs, positions)
