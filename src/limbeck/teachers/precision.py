"""Several teachers' forward passes over one batch, in the precision asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from limbeck.data import Batch
from limbeck.errors import TeacherError, unknown_name
from limbeck.targets import DenseTargets
from limbeck.teachers.teacher import Teacher

_AUTOCAST = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class Forward:
    """Runs teachers and returns their logits.

    Args:
        members: each gives logits that hold at every temperature; its networks run where they are.
        precision: "fp32", "bf16" or "fp16".
    Raises:
        UnknownName: another precision.
    """

    def __init__(self, members: Sequence[Teacher], *, precision: str) -> None:
        if precision not in _AUTOCAST:
            raise unknown_name("precision", precision, _AUTOCAST)
        self.members = tuple(members)
        self.precision = precision
        tensors = (tensor for member in members for module in member.modules for tensor in module.parameters())
        self._device = next((tensor.device for tensor in tensors), torch.device("cpu"))

    def __call__(self, batch: Batch) -> list[Tensor]:
        """Return each member's logits, shape (batch, classes), on its device.

        Raises:
            TeacherError: answers that hold at one temperature only.
        """
        inputs = batch.inputs.to(self._device, non_blocking=True)
        logits = []
        with self._autocast():
            for member in self.members:
                targets = member(batch.ids, inputs, view=batch.view)
                if not isinstance(targets, DenseTargets):
                    raise TeacherError(
                        f"The answers of {member.name} cannot be stored.",
                        received=type(targets).__name__,
                        expected="logits that hold at every temperature",
                    )
                logits.append(targets.logits)
        return logits

    def _autocast(self) -> AbstractContextManager[Any]:
        dtype = _AUTOCAST[self.precision]
        return contextlib.nullcontext() if dtype is None else torch.autocast(self._device.type, dtype=dtype)
