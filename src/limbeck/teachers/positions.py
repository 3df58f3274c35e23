"""Logits of positions, as long for every sample of a set."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from limbeck.data import Samples
from limbeck.errors import ShapeMismatch


def padded_positions(logits: Tensor, samples: Samples) -> Tensor:
    """Return logits (batch, time, classes) as long as the set's labels are, with zeros behind; others as they are.

    Raises:
        ShapeMismatch: more positions than the labels have.
    """
    if logits.ndim != 3 or not samples.has_positions:
        return logits
    missing = samples.labels.shape[1] - logits.shape[1]
    if missing < 0:
        raise ShapeMismatch(
            "A network gives more positions than the labels have.",
            received=f"logits {tuple(logits.shape)}, labels {tuple(samples.labels.shape)}",
            expected="(batch, time, classes) with no more time than the labels",
        )
    return F.pad(logits, (0, 0, 0, missing))
