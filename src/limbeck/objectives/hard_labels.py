"""Plain supervised training."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from limbeck.data import UNLABELLED, Batch
from limbeck.errors import require_fraction
from limbeck.losses import hard_label_loss
from limbeck.objectives.objective import Counts, LossParts, Objective, count_valid
from limbeck.targets import SoftTargets


@dataclass(frozen=True)
class HardLabels(Objective):
    """Mean cross-entropy with the labels at T = 1, over the labelled examples.

    Args:
        label_smoothing: in [0, 1); 0 for none.
    """

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        require_fraction("label_smoothing", self.label_smoothing, below_one=True)

    @property
    def needs_teacher(self) -> bool:
        return False

    @property
    def part_names(self) -> tuple[str, ...]:
        return ("hard",)

    def __call__(
        self, outputs: Tensor, targets: SoftTargets | None, batch: Batch, *, counts: Counts | None = None
    ) -> LossParts:
        hard = mean_hard_label_loss(outputs, batch, counts or count_valid(batch), label_smoothing=self.label_smoothing)
        return LossParts(total=hard, means={"hard": hard.detach()})


def mean_hard_label_loss(outputs: Tensor, batch: Batch, counts: Counts, *, label_smoothing: float = 0.0) -> Tensor:
    """Return the mean cross-entropy over labelled examples, shape (); with mixup, of both labels by their weights.

    Outputs (networks, batch, classes) with labels (networks, batch) give one mean for each network.
    """
    losses = hard_label_loss(outputs, batch.labels, label_smoothing=label_smoothing, ignore_label=UNLABELLED)
    if batch.partner_labels is not None and batch.partner_weight is not None:
        partner = hard_label_loss(
            outputs, batch.partner_labels, label_smoothing=label_smoothing, ignore_label=UNLABELLED
        )
        losses = losses + batch.partner_weight * (partner - losses)
    if isinstance(counts.labelled, float):
        return losses.sum(dim=-1) / counts.labelled
    # A step without labels has loss 0, not 0 / 0; the smallest weight that mixup can leave is far above the bound.
    return losses.sum(dim=-1) / counts.labelled.clamp(min=1e-6)
