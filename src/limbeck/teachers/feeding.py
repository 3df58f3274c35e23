"""How a batch reaches a teacher that has a device, a dtype, a batch size or a transform of its own."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from limbeck.errors import InvalidValue
from limbeck.inputs import Inputs, cast_floats, device_of, move, num_rows, slice_rows
from limbeck.models import fingerprint

Transform = Callable[[Inputs], Inputs]


@dataclass(frozen=True, eq=False)
class Feeding:
    """A teacher's own way to take its inputs.

    Args:
        device: where it runs; None: where the inputs are.
        dtype: of its floating inputs; None: as they come.
        batch_size: rows at once; None: the whole batch.
        transform: of the very view that the student sees, e.g. to another size or normalisation.
    Raises:
        InvalidValue: a batch size below 1.
    """

    device: torch.device | None = None
    dtype: torch.dtype | None = None
    batch_size: int | None = None
    transform: Transform | None = None

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise InvalidValue("A teacher's batch_size must be at least 1.", received=self.batch_size, expected=">= 1")

    @property
    def is_plain(self) -> bool:
        """Whether a batch is taken as it comes."""
        return self.device is None and self.dtype is None and self.batch_size is None and self.transform is None

    @property
    def identity(self) -> str:
        """What decides the outputs: the dtype and the transform; empty without them."""
        parts = ["" if self.dtype is None else str(self.dtype), _identity_of(self.transform)]
        return " ".join(part for part in parts if part)

    def __call__(self, run: Callable[[Inputs], Tensor], inputs: Inputs) -> Tensor:
        """Return ``run`` of the inputs, in pieces where a batch size is set, on the inputs' device."""
        if self.is_plain:
            return run(inputs)
        size = self.batch_size or max(num_rows(inputs), 1)
        rows = [self._run(run, slice_rows(inputs, k, k + size)) for k in range(0, max(num_rows(inputs), 1), size)]
        outputs = rows[0] if len(rows) == 1 else torch.cat(rows)
        return outputs.to(device_of(inputs))

    def _run(self, run: Callable[[Inputs], Tensor], inputs: Inputs) -> Tensor:
        inputs = move(inputs, self.device) if self.device is not None else inputs
        inputs = self.transform(inputs) if self.transform is not None else inputs
        outputs = run(cast_floats(inputs, self.dtype) if self.dtype is not None else inputs)
        return outputs.float() if self.dtype is not None and outputs.dtype.itemsize < 4 else outputs


def _identity_of(transform: Transform | None) -> str:
    """Return text that tells a transform: a module's fingerprint, its own ``fingerprint``, or name and source."""
    if transform is None:
        return ""
    if isinstance(transform, nn.Module):
        return f"transform {fingerprint(transform)}"
    if isinstance(own := getattr(transform, "fingerprint", None), str):
        return f"transform {own}"
    name = getattr(transform, "__qualname__", type(transform).__qualname__)
    try:
        source = inspect.getsource(transform if hasattr(transform, "__code__") else type(transform))
    except (OSError, TypeError):
        source = repr(type(transform))
    return f"transform {name} {hashlib.sha256(source.encode()).hexdigest()[:16]}"
