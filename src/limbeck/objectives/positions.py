"""Outputs of many positions, (batch, time, classes), as rows of the valid ones: so every objective takes them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from torch import Tensor

from limbeck.data import IGNORE_INDEX, Batch, has_positions
from limbeck.errors import ShapeMismatch
from limbeck.targets import SoftTargets


@dataclass(frozen=True, eq=False)
class ValidTargets(SoftTargets):
    """A teacher's soft targets at the valid positions of a batch.

    Args:
        targets: of all positions: logits (batch, time, classes).
        valid: bool, shape (batch, time).
    """

    targets: SoftTargets
    valid: Tensor

    def logits_at(self, temperature: float) -> Tensor:
        """Return the logits at the valid positions, shape (positions, classes)."""
        logits = self.targets.logits_at(temperature)
        if logits.ndim == 3:
            logits = logits[:, : self.valid.shape[1]]  # kept as long as the longest sample of the set
        if logits.shape[:2] != self.valid.shape:
            raise ShapeMismatch(
                "Teacher and labels have different positions.",
                received=f"teacher {tuple(logits.shape)}, labels {tuple(self.valid.shape)}",
                expected="(batch, time, classes) and (batch, time), the same batch and time",
            )
        return logits[self.valid]

    def members(self) -> tuple[tuple[float, SoftTargets], ...]:
        """Return what each of several teachers says at the valid positions, with its share."""
        return tuple((share, ValidTargets(member, self.valid)) for share, member in self.targets.members())


def valid_rows(outputs: Tensor, targets: SoftTargets | None, batch: Batch) -> tuple[Tensor, SoftTargets | None, Batch]:
    """Return outputs, targets and labels of the positions that count, one row each; others as they are.

    A position counts where its label is not -100. One that counts and has no label (-1) takes part in the means over
    all examples. With the counts of the whole step, means then run over all valid positions of it: a batch with much
    padding has no smaller a loss.

    Args:
        outputs: logits (batch, time, classes) where labels are (batch, time).
        targets: the teacher's at the same positions.
        batch: its labels say which positions count; each position has its sample's weight.
    Raises:
        ShapeMismatch: outputs that do not have the positions of the labels.
    """
    if not has_positions(batch.labels):
        _refuse_more_axes(outputs, batch)
        return outputs, targets, batch
    labels = batch.labels
    if outputs.ndim != 3 or outputs.shape[:2] != labels.shape:
        raise ShapeMismatch(
            "Outputs and labels have different positions.",
            received=f"outputs {tuple(outputs.shape)}, labels {tuple(labels.shape)}",
            expected="outputs (batch, time, classes) for labels (batch, time)",
            remedy="move the classes to the last axis: logits=lambda output: output.movedim(1, -1)",
        )
    valid = labels != IGNORE_INDEX
    weights = None if batch.weights is None else batch.weights.unsqueeze(1).expand_as(labels)[valid]
    rows = dataclasses.replace(batch, labels=labels[valid], weights=weights)
    return outputs[valid], None if targets is None else ValidTargets(targets, valid), rows


def _refuse_more_axes(outputs: Tensor, batch: Batch) -> None:
    """Raise where outputs have axes that labels say nothing of: a softmax over the last would be over another thing."""
    if isinstance(outputs, Tensor) and outputs.ndim > 3:
        raise ShapeMismatch(
            "A network of one label a sample gave outputs of more axes: which of them are the classes?",
            received=f"outputs {tuple(outputs.shape)}, labels {tuple(batch.labels.shape)}",
            expected="(batch, classes)",
            remedy="pool the positions in the network, or give a label for every position, (batch, time)",
        )
