"""Which epoch's weights are kept, and when there are epochs enough."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from torch import Tensor

from limbeck.records import EpochRecord

Weights = dict[str, Tensor]


def selection_key(record: EpochRecord) -> list[float]:
    """Return what the selected epoch has the lowest of: validation errors, then NLL; without validation, the last."""
    validation = record.validation
    return [validation["errors"], validation["nll"]] if validation else [0.0, -float(record.epoch)]


class Selection:
    """A network's history, and its weights at the epoch with the fewest validation errors, then the lower NLL.

    Args:
        patience_epochs: stop after so many epochs without a better validation result; None for never.
    """

    def __init__(self, *, patience_epochs: int | None) -> None:
        self.history: list[EpochRecord] = []
        self.best_key: list[float] = []  # lower is better
        self.best_epoch = 0
        self.best_weights: Weights = {}
        self._patience_epochs = patience_epochs

    def take(self, record: EpochRecord, copy_weights: Callable[[], Weights]) -> None:
        """Take in an epoch; the weights at its end are copied where it is the best so far."""
        self.history.append(record)
        key = selection_key(record)
        if not self.best_key or key < self.best_key:
            self.best_key, self.best_epoch, self.best_weights = key, record.epoch, copy_weights()

    @property
    def has_stopped(self) -> bool:
        """Whether patience has run out."""
        patience = self._patience_epochs
        return patience is not None and bool(self.history) and self.history[-1].epoch - self.best_epoch >= patience

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        history = json.dumps([asdict(record) for record in self.history])
        return {"history": history, "best": [self.best_key, self.best_epoch, self.best_weights]}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state` returned."""
        self.history = [EpochRecord(**record) for record in json.loads(state["history"])]
        self.best_key, self.best_epoch, self.best_weights = state["best"]
