"""What a classifier is worth: errors, likelihood, calibration, agreement with a teacher, what specialists add, cost."""

from __future__ import annotations

from limbeck.metrics.agreement import logit_distance, mean_kl, top1_agreement
from limbeck.metrics.classification import (
    RowMeasures,
    accuracy,
    brier_score,
    count_errors,
    expected_calibration_error,
    measure_predictions,
    negative_log_likelihood,
    reliability_bins,
    sum_errors_and_nll,
    top_k_accuracy,
)
from limbeck.metrics.confusions import confusion_cells, confusion_matrix, most_confused, most_confused_cells
from limbeck.metrics.cost import count_bytes, count_flops, count_parameters, latency
from limbeck.metrics.coverage import CoverageChange, change_by_coverage, conditional_accuracy
from limbeck.metrics.early_exit import choose_threshold, early_exit_curve, first_confident_exit
from limbeck.metrics.exit_cost import ExitCost, exit_costs

__all__ = [
    "CoverageChange",
    "ExitCost",
    "RowMeasures",
    "accuracy",
    "brier_score",
    "change_by_coverage",
    "choose_threshold",
    "conditional_accuracy",
    "confusion_cells",
    "confusion_matrix",
    "count_bytes",
    "count_errors",
    "count_flops",
    "count_parameters",
    "early_exit_curve",
    "exit_costs",
    "expected_calibration_error",
    "first_confident_exit",
    "latency",
    "logit_distance",
    "mean_kl",
    "measure_predictions",
    "most_confused",
    "most_confused_cells",
    "negative_log_likelihood",
    "reliability_bins",
    "sum_errors_and_nll",
    "top1_agreement",
    "top_k_accuracy",
]
