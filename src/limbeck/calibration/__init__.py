"""Offsets of the logits, for a network whose classes were not as frequent in training as in use."""

from __future__ import annotations

from limbeck.calibration.class_bias import correct_class_bias
from limbeck.calibration.dustbin import correct_dustbin, dustbin_offset
from limbeck.calibration.head import add_class_bias
from limbeck.calibration.label_shift import estimate_priors
from limbeck.calibration.oracle import best_class_bias

__all__ = [
    "add_class_bias",
    "best_class_bias",
    "correct_class_bias",
    "correct_dustbin",
    "dustbin_offset",
    "estimate_priors",
]
