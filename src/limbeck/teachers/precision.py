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
from limbeck.inputs import Inputs, move
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
        devices = (member.device for member in members)
        self._device = next((device for device in devices if device is not None), torch.device("cpu"))

    def __call__(self, batch: Batch) -> list[Tensor]:
        """Return each member's logits, shape (batch, classes), on its device.

        Raises:
            TeacherError: answers that hold at one temperature only.
        """
        moved: dict[torch.device | None, Inputs] = {None: batch.inputs}
        for device in {member.device for member in self.members} - {None}:
            moved[device] = move(batch.inputs, device, non_blocking=True)
        with self._autocast():
            return [logits_of(member, batch, moved[member.device]) for member in self.members]

    def _autocast(self) -> AbstractContextManager[Any]:
        dtype = _AUTOCAST[self.precision]
        return contextlib.nullcontext() if dtype is None else torch.autocast(self._device.type, dtype=dtype)


def logits_of(teacher: Teacher, batch: Batch, inputs: Inputs) -> Tensor:
    """Return a member's logits, shape (batch, ..., classes), which hold at every temperature.

    Raises:
        TeacherError: soft targets that hold at one temperature only.
    """
    targets = teacher(batch.ids, inputs, view=batch.view)
    if isinstance(targets, DenseTargets):
        return targets.logits
    raise TeacherError(
        f"The soft targets of {teacher.name} cannot be stored.",
        received=type(targets).__name__,
        expected="logits that hold at every temperature (DenseTargets)",
        remedy="name the teachers that it pools in its members, or let it run in every step",
    )


def inputs_for(member: Teacher, batch: Batch) -> Inputs:
    """Return a batch's inputs where a member takes them."""
    return batch.inputs if member.device is None else move(batch.inputs, member.device, non_blocking=True)
