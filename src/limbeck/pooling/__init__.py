"""Many teachers as one: means of their distributions, and a generalist with its specialists."""

from limbeck.pooling.class_sets import class_set_numbers
from limbeck.pooling.fitting import accuracy_weights, fit_weights
from limbeck.pooling.means import arithmetic_mean, geometric_mean, mean_of_labels
from limbeck.pooling.specialists import METHODS, active_specialists, combine_specialists, require_num_top_classes

__all__ = [
    "METHODS",
    "accuracy_weights",
    "active_specialists",
    "arithmetic_mean",
    "class_set_numbers",
    "combine_specialists",
    "fit_weights",
    "geometric_mean",
    "mean_of_labels",
    "require_num_top_classes",
]
