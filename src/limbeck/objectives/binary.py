"""Soft targets and labels of independent labels: multi-label and binary classifiers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.data import UNLABELLED, Batch
from limbeck.errors import ShapeMismatch, require_positive
from limbeck.losses import binary_hard_label_loss, binary_soft_target_loss
from limbeck.objectives.objective import (
    Counts,
    LossParts,
    Objective,
    example_sum,
    logits_for,
    names_of,
    require_some_weight,
)
from limbeck.targets import SoftTargets


@dataclass(frozen=True)
class BinaryDistillation(Objective):
    r"""Soft targets at T and labels at T = 1, label by label, for classifiers whose labels do not exclude each other.

    .. math:: L = w_{soft}\, T^2\, \overline{KL(B(p_c) \| B(q_c))} + w_{hard}\, \overline{CE(y_c, q_c)}

    with p = sigmoid(v / T) of the teacher and q = sigmoid(z / T) of the student, B a Bernoulli variable. The soft mean
    runs over all labels of all examples, the hard one over the known ones (-1 is unknown). With ``soft_weight`` 0 it is
    the baseline's objective.

    Args:
        temperature: T > 0.
        hard_weight: >= 0.
        soft_weight: >= 0; the two must not both be 0.
    Raises:
        InvalidValue: outside these ranges.
    """

    temperature: float = 1.0
    hard_weight: float = 1.0
    soft_weight: float = 0.0

    def __post_init__(self) -> None:
        require_positive("temperature", self.temperature)
        require_some_weight(hard_weight=self.hard_weight, soft_weight=self.soft_weight)

    @property
    def needs_teacher(self) -> bool:
        return self.soft_weight > 0

    @property
    def takes_independent_labels(self) -> bool:
        return True

    @property
    def part_names(self) -> tuple[str, ...]:
        return names_of(soft=self.soft_weight, hard=self.hard_weight)

    def count(
        self,
        batch: Batch,
        *,
        all_labelled: bool = False,
        label_smoothing: float = 0.0,
        class_weights: Tensor | None = None,
    ) -> Counts:
        """Return the counts of a batch; a label counts for itself, and only where it is known."""
        known = torch.ones_like(batch.labels, dtype=torch.float32)
        if batch.labels.is_floating_point():
            known = (batch.labels != UNLABELLED).float()
        examples: Tensor | float = float(len(batch)) if batch.weights is None else batch.weights.sum()
        return Counts(examples, example_sum(known.sum(dim=1), batch), label_smoothing, class_weights)

    def __call__(
        self, outputs: Tensor, targets: SoftTargets | None, batch: Batch, *, counts: Counts | None = None
    ) -> LossParts:
        counts = counts or self.count(batch)
        if outputs.shape != batch.labels.shape:
            raise ShapeMismatch(
                "Outputs and labels have different shapes.",
                received=f"outputs {tuple(outputs.shape)}, labels {tuple(batch.labels.shape)}",
                expected="(batch, labels) for both: one logit for each label",
            )
        terms: dict[str, tuple[float, Tensor]] = {}
        if self.soft_weight > 0:
            teacher_logits = logits_for(outputs, targets, temperature=self.temperature, objective=self)
            soft = binary_soft_target_loss(outputs, teacher_logits, temperature=self.temperature)
            terms["soft"] = (self.soft_weight, example_sum(soft, batch) / (counts.examples * outputs.shape[1]))
        if self.hard_weight > 0:
            hard = binary_hard_label_loss(
                outputs, batch.labels, label_smoothing=counts.label_smoothing, pos_weight=counts.class_weights
            )
            labelled = counts.labelled.clamp(min=1e-6) if isinstance(counts.labelled, Tensor) else counts.labelled
            terms["hard"] = (self.hard_weight, example_sum(hard, batch) / labelled)
        return LossParts.weighted(terms)
