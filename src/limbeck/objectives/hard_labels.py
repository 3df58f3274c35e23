"""Plain supervised training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.data import UNLABELLED, Batch
from limbeck.losses import hard_label_gradient, hard_label_loss
from limbeck.objectives.objective import (
    Counts,
    DeferredLoss,
    LossParts,
    Objective,
    as_it_is,
    backward_by_autograd,
    count_valid,
    example_sum,
    label_weights,
    sums_by_batch,
)
from limbeck.targets import SoftTargets

SMALL_NUMBERS = 2**13  # of a batch's logits: with more, the arithmetic outweighs the calls, and keeping them costs


@dataclass(frozen=True)
class HardLabels(Objective):
    """Mean cross-entropy with the labels at T = 1, over the labelled examples."""

    @property
    def needs_teacher(self) -> bool:
        return False

    @property
    def part_names(self) -> tuple[str, ...]:
        return ("hard",)

    def __call__(
        self, outputs: Tensor, targets: SoftTargets | None, batch: Batch, *, counts: Counts | None = None
    ) -> LossParts:
        hard = mean_hard_label_loss(outputs, batch, counts or count_valid(batch))
        return LossParts(total=hard, means={"hard": hard.detach()})

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
        gradient = hard_label_gradient(
            outputs, batch.labels, num_labelled=never_zero(counts.labelled), ignore_label=ignored_label(counts)
        )
        outputs.backward(scale(gradient))  # type: ignore[no-untyped-call]
        return DeferredLoss(outputs.detach(), None, batch.labels, counts)

    def read(self, losses: Sequence[DeferredLoss]) -> Tensor:
        return read_hard_means(losses).unsqueeze(1).expand(-1, 2)  # the total and its only part


def mean_hard_label_loss(outputs: Tensor, batch: Batch, counts: Counts) -> Tensor:
    """Return the mean cross-entropy over labelled examples, shape (); with mixup, of both labels by their weights.

    Labels are smoothed, and classes weighed, as ``counts`` says; samples by their weights.

    Outputs (networks, batch, classes) with labels (networks, batch) give one mean for each network.
    """
    smoothing = counts.label_smoothing
    losses = _weighed(hard_label_loss(outputs, batch.labels, label_smoothing=smoothing), batch.labels, counts)
    if batch.partner_labels is not None and batch.partner_weight is not None:
        partner = hard_label_loss(outputs, batch.partner_labels, label_smoothing=smoothing)
        partner = _weighed(partner, batch.partner_labels, counts)
        losses = losses + batch.partner_weight * (partner - losses)
    return example_sum(losses, batch) / never_zero(counts.labelled)


def _weighed(losses: Tensor, labels: Tensor, counts: Counts) -> Tensor:
    return losses if counts.class_weights is None else losses * label_weights(labels, counts.class_weights)


def never_zero(labelled: Tensor | float) -> Tensor | float:
    """Return a count of labels to divide by: a step without any has loss 0, not 0 / 0.

    The bound is far below the smallest weight that mixup can leave.
    """
    return labelled if isinstance(labelled, float) else labelled.clamp(min=1e-6)


def read_hard_means(losses: Sequence[DeferredLoss]) -> Tensor:
    """Return each batch's mean cross-entropy over its labelled examples, shape (losses,)."""
    outputs, labels = torch.cat([loss.outputs for loss in losses]), torch.cat([loss.labels for loss in losses])
    values = hard_label_loss(outputs.unsqueeze(0), labels.unsqueeze(0), ignore_label=UNLABELLED)[0]
    sums = sums_by_batch(values, losses)
    counts = [never_zero(loss.counts.labelled) for loss in losses]
    if any(isinstance(count, Tensor) for count in counts):
        return sums / torch.stack([torch.as_tensor(count, device=sums.device) for count in counts])
    return sums / torch.tensor(counts, device=sums.device)


def is_small(outputs: Tensor, batch: Batch, counts: Counts) -> bool:
    """Whether a batch is one whose loss is better read later: small, one network's, of the batch's own plain labels."""
    is_plain = batch.partner_labels is None and batch.weights is None and batch.labels.ndim == 1
    return (
        is_plain
        and counts.label_smoothing == 0
        and counts.class_weights is None
        and not isinstance(counts.examples, Tensor)
        and outputs.ndim == 2
        and outputs.numel() <= SMALL_NUMBERS
    )


def ignored_label(counts: Counts) -> int | None:
    """Return the label of examples that have none; None where it is known beforehand that all have one."""
    return None if isinstance(counts.labelled, float) else UNLABELLED
