"""Soft targets: what a teacher says of a batch, asked for at a temperature."""

from limbeck.targets.soft_targets import DenseTargets, SoftTargets

__all__ = ["DenseTargets", "SoftTargets"]
