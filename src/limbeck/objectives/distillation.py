"""The weighted sum of soft targets and labels: Hinton's objective."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.data import Batch
from limbeck.errors import require_positive
from limbeck.losses import distillation_gradient, hard_label_gradient, soft_target_loss
from limbeck.objectives.hard_labels import ignored_label, is_small, mean_hard_label_loss, never_zero, read_hard_means
from limbeck.objectives.objective import (
    Counts,
    DeferredLoss,
    LossParts,
    Objective,
    as_it_is,
    backward_by_autograd,
    count_valid,
    example_sum,
    logits_for,
    names_of,
    require_some_weight,
    sums_by_batch,
)
from limbeck.targets import SoftTargets


@dataclass(frozen=True)
class Distillation(Objective):
    r"""Soft targets at T and labels at T = 1.

    .. math:: L = w_{soft}\, T^2\, \overline{KL(p \| q)} + w_{hard}\, \overline{CE(y, q_{T=1})}

    The soft mean runs over all examples, the hard one over the labelled ones. T² is always there, so that the soft
    gradient's size does not depend on T, and L is continuous in both weights down to 0.

    Args:
        temperature: T > 0.
        hard_weight: >= 0, "considerably lower" than the soft one.
        soft_weight: >= 0; the two must not both be 0.
    Raises:
        InvalidValue: outside these ranges.
    References:
        Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 2.
    """

    temperature: float
    hard_weight: float = 0.1
    soft_weight: float = 0.9

    def __post_init__(self) -> None:
        require_positive("temperature", self.temperature)
        require_some_weight(hard_weight=self.hard_weight, soft_weight=self.soft_weight)

    @property
    def needs_teacher(self) -> bool:
        return self.soft_weight > 0

    @property
    def part_names(self) -> tuple[str, ...]:
        return names_of(soft=self.soft_weight, hard=self.hard_weight)

    def __call__(
        self, outputs: Tensor, targets: SoftTargets | None, batch: Batch, *, counts: Counts | None = None
    ) -> LossParts:
        counts = counts or count_valid(batch)
        terms: dict[str, tuple[float, Tensor]] = {}
        if self.soft_weight > 0:
            terms["soft"] = (self.soft_weight, self._mean_soft_target_loss(outputs, targets, batch, counts))
        if self.hard_weight > 0:
            terms["hard"] = (self.hard_weight, mean_hard_label_loss(outputs, batch, counts))
        return LossParts.weighted(terms)

    def backward(
        self,
        outputs: Tensor,
        targets: SoftTargets | None,
        batch: Batch,
        *,
        counts: Counts,
        scale: Callable[[Tensor], Tensor] = as_it_is,
    ) -> Tensor | DeferredLoss:
        if not is_small(outputs, batch, counts):
            return backward_by_autograd(self, outputs, targets, batch, counts, scale)
        labelled, ignored = never_zero(counts.labelled), ignored_label(counts)
        teacher_logits = None
        if self.soft_weight == 0:
            gradient = hard_label_gradient(
                outputs, batch.labels, num_labelled=labelled / self.hard_weight, ignore_label=ignored
            )
        else:
            teacher_logits = logits_for(outputs, targets, temperature=self.temperature, objective=self)
            gradient = distillation_gradient(
                outputs,
                teacher_logits,
                batch.labels,
                temperature=self.temperature,
                soft_weight=self.soft_weight,
                hard_weight=self.hard_weight,
                num_examples=float(counts.examples),
                num_labelled=labelled,
                ignore_label=ignored,
            )
        outputs.backward(scale(gradient))  # type: ignore[no-untyped-call]
        return DeferredLoss(outputs.detach(), teacher_logits, batch.labels, counts)

    def read(self, losses: Sequence[DeferredLoss]) -> Tensor:
        means = {}
        if self.soft_weight > 0:
            means["soft"] = self._read_soft_means(losses)
        if self.hard_weight > 0:
            means["hard"] = read_hard_means(losses)
        weights = {"soft": self.soft_weight, "hard": self.hard_weight}
        total = torch.stack([weights[name] * mean for name, mean in means.items()]).sum(dim=0)
        return torch.stack([total, *means.values()], dim=1)

    def _read_soft_means(self, losses: Sequence[DeferredLoss]) -> Tensor:
        outputs = torch.cat([loss.outputs for loss in losses])
        teacher_logits = torch.cat([loss.teacher_logits for loss in losses if loss.teacher_logits is not None])
        values = soft_target_loss(outputs, teacher_logits, temperature=self.temperature)
        examples = torch.tensor([loss.counts.examples for loss in losses], device=values.device)
        return sums_by_batch(values, losses) / examples

    def _mean_soft_target_loss(
        self, outputs: Tensor, targets: SoftTargets | None, batch: Batch, counts: Counts
    ) -> Tensor:
        teacher_logits = logits_for(outputs, targets, temperature=self.temperature, objective=self)
        losses = soft_target_loss(outputs, teacher_logits, temperature=self.temperature)
        return example_sum(losses, batch) / counts.examples
