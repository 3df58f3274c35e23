"""Which classes each specialist learns: classes that the generalist takes for each other, found without labels."""

from limbeck.specialists.clustering import METHODS, cluster_classes, require_set_sizes
from limbeck.specialists.covariance import prediction_covariance
from limbeck.specialists.plan import SpecialistPlan, load_plan, plan_specialists

__all__ = [
    "METHODS",
    "SpecialistPlan",
    "cluster_classes",
    "load_plan",
    "plan_specialists",
    "prediction_covariance",
    "require_set_sizes",
]
