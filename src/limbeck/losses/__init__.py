"""Losses: tensors in, one value per example out. The caller reduces."""

from __future__ import annotations

from limbeck.losses.chunked import (
    DenseLogits,
    DenseProbs,
    LowRankLogits,
    SparseLogits,
    chunked_soft_target_loss,
    chunked_soft_target_sum,
)
from limbeck.losses.divergence import js_divergence, kl_divergence, soft_cross_entropy
from limbeck.losses.gradient import distillation_gradient, hard_label_gradient
from limbeck.losses.hard_label import hard_label_loss
from limbeck.losses.soft_target import logit_matching_loss, soft_target_loss
from limbeck.losses.softmax import entropy, tempered_log_softmax

__all__ = [
    "DenseLogits",
    "DenseProbs",
    "LowRankLogits",
    "SparseLogits",
    "chunked_soft_target_loss",
    "chunked_soft_target_sum",
    "distillation_gradient",
    "entropy",
    "hard_label_gradient",
    "hard_label_loss",
    "js_divergence",
    "kl_divergence",
    "logit_matching_loss",
    "soft_cross_entropy",
    "soft_target_loss",
    "tempered_log_softmax",
]
