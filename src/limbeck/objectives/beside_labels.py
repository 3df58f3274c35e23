"""Objectives of one loss against the teacher's logits, and the labels beside it: DKD, DIST, standardised logits."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.data import Batch
from limbeck.errors import require_not_negative, require_positive
from limbeck.losses import (
    decoupled_loss,
    inter_class_correlation_loss,
    intra_class_correlation_loss,
    soft_target_loss,
    standardise_logits,
)
from limbeck.objectives.hard_labels import mean_hard_label_loss
from limbeck.objectives.objective import Counts, LossParts, Objective, count_valid, example_sum, logits_for, names_of
from limbeck.targets import SoftTargets


@dataclass(frozen=True)
class BesideLabels(Objective):
    r"""A loss against the teacher, and the labels' cross-entropy at T = 1 beside it.

    .. math:: L = w_{soft}\, \overline{\ell(z, v)} + w_{hard}\, \overline{CE(y, q_{T=1})}

    Abstract: what the loss is, is the subclass's.

    Args:
        temperature: T > 0.
        hard_weight: >= 0.
        soft_weight: > 0.
    Raises:
        InvalidValue: outside these ranges.
    """

    temperature: float = 4.0
    hard_weight: float = 0.1
    soft_weight: float = 0.9

    def __post_init__(self) -> None:
        require_positive("temperature", self.temperature)
        require_positive("soft_weight", self.soft_weight)
        require_not_negative("hard_weight", self.hard_weight)

    @property
    def needs_teacher(self) -> bool:
        return True

    @property
    def part_names(self) -> tuple[str, ...]:
        return names_of(soft=self.soft_weight, hard=self.hard_weight)

    @abstractmethod
    def mean_soft_loss(self, outputs: Tensor, teacher_logits: Tensor, batch: Batch, counts: Counts) -> Tensor:
        """Return the mean loss against the teacher's logits, shape ()."""

    def __call__(
        self, outputs: Tensor, targets: SoftTargets | None, batch: Batch, *, counts: Counts | None = None
    ) -> LossParts:
        counts = counts or count_valid(batch)
        teacher_logits = logits_for(outputs, targets, temperature=self.temperature, objective=self)
        terms = {"soft": (self.soft_weight, self.mean_soft_loss(outputs, teacher_logits, batch, counts))}
        if self.hard_weight > 0:
            terms["hard"] = (self.hard_weight, mean_hard_label_loss(outputs, batch, counts))
        return LossParts.weighted(terms)


@dataclass(frozen=True)
class DecoupledDistillation(BesideLabels):
    """Decoupled distillation (DKD): see :func:`limbeck.losses.decoupled_loss`.

    A sample without a label takes the teacher's likeliest class in its place.

    Args:
        temperature: T > 0.
        hard_weight: >= 0.
        soft_weight: > 0.
        target_weight: alpha >= 0, of the label's class against the rest.
        others_weight: beta >= 0, of the other classes among themselves.
        warmup_views: >= 0; the loss of view v, from 0, counts min(v / warmup_views, 1): the first pass has labels alone
            (the paper's code: 20). A view without a number counts 1, and so does each where this is 0. Where fewer
            numbered views are shown in turn, their first ones count little every time.
    References:
        Zhao et al. 2022, arXiv:2203.08679.
    """

    target_weight: float = 1.0
    others_weight: float = 8.0
    warmup_views: float = 0.0

    def __post_init__(self) -> None:
        BesideLabels.__post_init__(self)
        require_not_negative("target_weight", self.target_weight)
        require_not_negative("others_weight", self.others_weight)
        require_not_negative("warmup_views", self.warmup_views)

    def mean_soft_loss(self, outputs: Tensor, teacher_logits: Tensor, batch: Batch, counts: Counts) -> Tensor:
        """Return the mean over all examples, times the share that the view's number has in warm-up."""
        labels = batch.labels.argmax(dim=-1) if batch.labels.is_floating_point() else batch.labels
        losses = decoupled_loss(
            outputs,
            teacher_logits,
            torch.where(labels >= 0, labels, teacher_logits.argmax(dim=-1)),
            temperature=self.temperature,
            target_weight=self.target_weight,
            others_weight=self.others_weight,
        )
        return self._share(batch.view) * example_sum(losses, batch) / counts.examples

    def _share(self, view: int | None) -> float:
        return 1.0 if view is None or view >= self.warmup_views else view / self.warmup_views


@dataclass(frozen=True)
class CorrelationDistillation(BesideLabels):
    """Relations within and between classes (DIST): see :func:`limbeck.losses.inter_class_correlation_loss`.

    Args:
        temperature: T > 0.
        hard_weight: >= 0.
        soft_weight: > 0.
        intra_weight: >= 0, of the relation between a batch's examples, a mean over classes; the other relation has
            weight 1. It is of each part of an accumulated step for itself, and left out for a part of one example.
    References:
        Huang et al. 2022, arXiv:2205.10536.
    """

    intra_weight: float = 1.0

    def __post_init__(self) -> None:
        BesideLabels.__post_init__(self)
        require_not_negative("intra_weight", self.intra_weight)

    @property
    def relates_examples(self) -> bool:
        return self.intra_weight > 0

    def mean_soft_loss(self, outputs: Tensor, teacher_logits: Tensor, batch: Batch, counts: Counts) -> Tensor:
        """Return the mean over examples, and over classes by the part's share of the step."""
        inter = inter_class_correlation_loss(outputs, teacher_logits, temperature=self.temperature)
        mean = example_sum(inter, batch) / counts.examples
        if self.intra_weight == 0 or len(outputs) < 2:
            return mean
        intra = intra_class_correlation_loss(outputs, teacher_logits, temperature=self.temperature)
        share = example_sum(torch.ones_like(inter), batch) / counts.examples
        return mean + self.intra_weight * share * intra.mean()


@dataclass(frozen=True)
class StandardisedDistillation(BesideLabels):
    """Soft targets of standardised logits: see :func:`limbeck.losses.standardise_logits`.

    References:
        Sun et al. 2024, arXiv:2403.01427.
    """

    def mean_soft_loss(self, outputs: Tensor, teacher_logits: Tensor, batch: Batch, counts: Counts) -> Tensor:
        """Return the mean over all examples."""
        losses = soft_target_loss(
            standardise_logits(outputs), standardise_logits(teacher_logits), temperature=self.temperature
        )
        return example_sum(losses, batch) / counts.examples
