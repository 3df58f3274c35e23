"""Logits of positions, as long for every sample of a set, and of the positions that count alone."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from limbeck.data import IGNORE_INDEX, Samples
from limbeck.errors import ShapeMismatch


def padded_positions(logits: Tensor, samples: Samples, labels: Tensor) -> Tensor:
    """Return logits (batch, time, classes) as long as the set's labels are; those of single samples as they are.

    Ignored positions get zeros, so that what is kept of a sample does not depend on the batch that it was in.

    Args:
        logits: of a batch.
        samples: the set.
        labels: of the batch, (batch, time), -100 where a position is ignored.
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
    ignored = (labels == IGNORE_INDEX).to(logits.device)
    return F.pad(logits, (0, 0, 0, missing)).masked_fill(ignored[:, :, None], 0.0)


def valid_rows(logits: Tensor, samples: Samples, labels: Tensor) -> Tensor:
    """Return logits (n, classes) of the positions that count, or of the samples where labels are of these."""
    if logits.ndim != 3 or not samples.has_positions:
        return logits
    return padded_positions(logits, samples, labels)[(labels != IGNORE_INDEX).to(logits.device)]
