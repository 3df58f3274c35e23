"""A ready tensor of logits as a teacher."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from limbeck.data import Samples, Views
from limbeck.errors import ShapeMismatch, TeacherError
from limbeck.inputs import Inputs, device_of
from limbeck.targets import DenseTargets, SoftTargets
from limbeck.teachers.module import check_magnitude
from limbeck.teachers.outputs import SMOOTHING, Outputs
from limbeck.teachers.teacher import Teacher


class LogitsTeacher(Teacher):
    """Outputs that are already there, looked up by sample id; they hold for the clean view only.

    Args:
        logits: shape (samples, classes), any float dtype.
        ids: shape (samples,), int64, unique; 0, 1, 2, ... where not given.
        name: shown in records.
        fingerprint: of the teacher that gave the logits; of the logits themselves where not given.
        outputs: what the matrix holds: "logits", "log_probs", "probs" or "label_probs"; see :class:`Outputs`.
        smoothing: of probabilities; see :class:`Outputs`.
    Raises:
        ShapeMismatch: logits that are not a matrix, or ids of another number.
        TeacherError: NaN or infinity among the logits, ones beyond float32, an id twice, or probabilities that
            were not said to be some.
    """

    def __init__(
        self,
        logits: Tensor,
        *,
        ids: Tensor | None = None,
        name: str = "stored logits",
        fingerprint: str | None = None,
        outputs: str | None = None,
        smoothing: float = SMOOTHING,
    ) -> None:
        self.has_ids = ids is not None
        ids = torch.arange(len(logits)) if ids is None else ids
        if logits.ndim not in (2, 3) or ids.shape != logits.shape[:1]:
            raise ShapeMismatch(
                "Stored logits are a matrix with one row for each id.",
                received=f"logits {tuple(logits.shape)}, ids {tuple(ids.shape)}",
                expected="logits (samples, classes) or (samples, time, classes), ids (samples,)",
            )
        if bool(logits.isnan().any()) or bool(logits.isposinf().any()):
            row = int((logits.isnan() | logits.isposinf()).flatten(1).any(dim=1).nonzero()[0])
            raise TeacherError("The stored logits hold NaN or infinity.", received=f"sample id {int(ids[row])}")
        check_magnitude(logits, name=name)
        if fingerprint is None and outputs in (None, "logits") and bool(logits.isneginf().any()):
            row = int(logits.isneginf().flatten(1).any(dim=1).nonzero()[0])
            raise TeacherError(
                "The stored logits rule a class out.",
                received=f"-inf at sample id {int(ids[row])}",
                expected="finite logits",
                remedy='probabilities with zeros are given as such, with outputs="probs" and smoothing',
            )
        taken_as = Outputs(name, outputs=outputs, smoothing=smoothing)
        self._note = taken_as.note
        self._taken_as = taken_as if fingerprint is None else None
        if fingerprint is None:  # a matrix that people give; a collected one was looked at as it came
            logits = taken_as(logits).logits
        order = ids.argsort()
        self._ids = ids[order].contiguous()
        if bool((self._ids[1:] == self._ids[:-1]).any()):
            raise TeacherError("A sample id stands twice in the stored logits.", expected="unique ids")
        self._logits = logits.detach()[order].contiguous()
        self._ids_are_positions = torch.equal(self._ids, torch.arange(len(ids), device=ids.device))
        self._name = name
        self._fingerprint = fingerprint or _tensors_fingerprint(self._ids, self._logits)

    @property
    def name(self) -> str:
        return self._name

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @property
    def reads_inputs(self) -> bool:
        return False

    @property
    def runs(self) -> bool:
        return False

    @property
    def notes(self) -> tuple[str, ...]:
        return () if self._note is None else (self._note,)

    @property
    def num_rows(self) -> int:
        """How many samples it has a row for."""
        return len(self._ids)

    @property
    def num_classes(self) -> int | None:
        return self._logits.shape[-1]

    def __call__(self, ids: Tensor, inputs: Inputs, *, view: int | None = None) -> SoftTargets:
        if self._ids.device != ids.device:
            self._ids, self._logits = self._ids.to(ids.device), self._logits.to(ids.device)
        positions = ids if self._ids_are_positions else self._positions(ids)
        try:
            logits = self._logits.index_select(0, positions)
        except IndexError as error:
            raise self._unknown(ids[(ids < 0) | (ids >= len(self._ids))]) from error
        return DenseTargets(logits.to(device_of(inputs), non_blocking=True))

    def _positions(self, ids: Tensor) -> Tensor:
        positions = torch.searchsorted(self._ids, ids).clamp_(max=len(self._ids) - 1)
        # The comparison waits for the device only where ids live on one; training keeps them on the host.
        if not torch.equal(self._ids[positions], ids):
            raise self._unknown(ids[self._ids[positions] != ids])
        return positions

    def _unknown(self, ids: Tensor) -> TeacherError:
        return TeacherError(
            "The stored logits have no row for some samples.",
            received=f"{len(ids)} unknown ids, first {int(ids[0])}",
            expected="one row for each sample of the transfer set",
            remedy="pass ids= that match the data set, or collect the logits again",
        )

    def check_fits(self, samples: Samples, views: Views) -> None:
        """Raise TeacherError for augmented views, or probabilities for logits; a missing id is found when looked up."""
        if self._taken_as is not None:
            self._taken_as.check_fits(self._logits, samples.task)
        if not views.is_constant:
            raise TeacherError(
                f"The teacher {self._name} has outputs for the clean view only.",
                received="augmentations " + ", ".join(augmentation.name for augmentation in views.augmentations),
                expected="targets of the very pixels that the student sees",
                remedy="train without augmentation, give the teacher's network, or collect a store of these views",
            )


def _tensors_fingerprint(*tensors: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
