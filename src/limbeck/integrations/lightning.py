"""The adapter to Lightning. Nothing of Lightning is imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from limbeck.integrations.distillation_loss import DistillationLoss
from limbeck.models.calling import call_network


def lightning_training_step(loss: DistillationLoss) -> Callable[..., Tensor]:
    """Return a ``training_step`` method for a ``LightningModule`` whose ``forward`` is the student's.

    ``class Student(LightningModule): training_step = lightning_training_step(loss)``. Batches are (ids, inputs, labels)
    or (ids, inputs, labels, weights), as a loader of :class:`limbeck.IndexedDataset` gives them. The parts of the loss
    are logged as ``train_total``, ``train_soft``, ``train_hard``.

    Args:
        loss: objective and teacher.
    """

    def training_step(self: Any, batch: Any, batch_idx: int) -> Tensor:
        ids, inputs, labels, *weights = batch
        outputs = call_network(self, inputs)
        parts = loss(outputs, ids=ids, labels=labels, inputs=inputs, weights=weights[0] if weights else None)
        means = {"total": parts.total.detach(), **parts.means}
        self.log_dict({f"train_{name}": mean for name, mean in means.items()}, batch_size=len(ids))
        return parts.total

    return training_step
