"""Soft targets with what the teacher's hidden modules gave out on the way."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from limbeck.targets.soft_targets import DenseTargets


@dataclass(frozen=True, eq=False)
class FeatureTargets(DenseTargets):
    """All logits of one teacher, and hidden features.

    Args:
        logits: shape (batch, classes).
        features: one tensor (batch, ...) for each tap, in the order in which they were asked for.
    """

    features: tuple[Tensor, ...] = ()
