"""Losses: tensors in, one value per example out. The caller reduces."""

from __future__ import annotations

from limbeck.losses.binary import binary_hard_label_loss, binary_soft_target_loss
from limbeck.losses.chunked import (
    DenseLogits,
    DenseProbs,
    LowRankLogits,
    SparseLogits,
    chunked_soft_target_loss,
    chunked_soft_target_sum,
)
from limbeck.losses.correlation import inter_class_correlation_loss, intra_class_correlation_loss
from limbeck.losses.decoupled import decoupled_loss
from limbeck.losses.divergence import js_divergence, kl_divergence, soft_cross_entropy
from limbeck.losses.features import (
    attention_transfer_loss,
    hint_loss,
    relational_angle_loss,
    relational_distance_loss,
)
from limbeck.losses.gradient import distillation_gradient, hard_label_gradient
from limbeck.losses.hard_label import hard_label_loss
from limbeck.losses.soft_target import logit_matching_loss, soft_target_loss
from limbeck.losses.softmax import entropy, tempered_log_softmax
from limbeck.losses.standardisation import standardise_logits

__all__ = [
    "DenseLogits",
    "DenseProbs",
    "LowRankLogits",
    "SparseLogits",
    "attention_transfer_loss",
    "binary_hard_label_loss",
    "binary_soft_target_loss",
    "chunked_soft_target_loss",
    "chunked_soft_target_sum",
    "decoupled_loss",
    "distillation_gradient",
    "entropy",
    "hard_label_gradient",
    "hard_label_loss",
    "hint_loss",
    "inter_class_correlation_loss",
    "intra_class_correlation_loss",
    "js_divergence",
    "kl_divergence",
    "logit_matching_loss",
    "relational_angle_loss",
    "relational_distance_loss",
    "soft_cross_entropy",
    "soft_target_loss",
    "standardise_logits",
    "tempered_log_softmax",
]
