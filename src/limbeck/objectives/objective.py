"""The contract of an objective."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from limbeck.data import UNLABELLED, Batch
from limbeck.targets import SoftTargets


@dataclass(frozen=True)
class Counts:
    """How many examples the means run over: of the whole optimiser step, whatever it is split into.

    Gradient accumulation passes the counts of the whole step to each of its parts (and so would ranks), so that the
    parts add up to the mean over all valid examples and not to a mean of means.
    """

    examples: int
    labelled: Tensor | float  # a scalar on the batch's device where it must be counted, which must not wait for it


@dataclass(frozen=True)
class LossParts:
    """One step's loss.

    ``total`` is what is minimised, a scalar with a graph; ``means`` are the unweighted parts, detached scalars, by
    name.
    """

    total: Tensor
    means: dict[str, Tensor]


class Objective(ABC):
    """What one training step minimises."""

    @property
    @abstractmethod
    def needs_teacher(self) -> bool:
        """Whether soft targets must be given."""

    @property
    @abstractmethod
    def part_names(self) -> tuple[str, ...]:
        """The names of the parts, in the order of ``LossParts.means``."""

    @abstractmethod
    def __call__(
        self, outputs: Tensor, targets: SoftTargets | None, batch: Batch, *, counts: Counts | None = None
    ) -> LossParts:
        """Return the loss of a batch.

        Args:
            outputs: the student's logits, shape (batch, classes).
            targets: what the teacher says of the same inputs; None where no teacher is needed.
            batch: ids and labels; unlabelled examples take no part in the means over labels.
            counts: of the whole step, where ``batch`` is a part of it.
        """


def count_valid(batch: Batch, *, all_labelled: bool = False) -> Counts:
    """Return the counts of a batch: all examples, and the labelled ones (with mixup, the share that is).

    Labels (networks, batch) are counted for each network.
    """
    examples = batch.labels.shape[-1]
    if all_labelled:  # known beforehand, so there is nothing to count in each step
        return Counts(examples=examples, labelled=float(examples))
    labelled = (batch.labels != UNLABELLED).float()
    if batch.partner_labels is not None and batch.partner_weight is not None:
        partner_labelled = (batch.partner_labels != UNLABELLED).float()
        labelled = labelled + batch.partner_weight * (partner_labelled - labelled)
    return Counts(examples=examples, labelled=labelled.sum(dim=-1))
