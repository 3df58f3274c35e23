"""Objectives: what one training step minimises, ``(outputs, targets, batch) -> LossParts``."""

from limbeck.objectives.beside_labels import (
    CorrelationDistillation,
    DecoupledDistillation,
    StandardisedDistillation,
)
from limbeck.objectives.binary import BinaryDistillation
from limbeck.objectives.distillation import Distillation
from limbeck.objectives.feature_hints import FeatureHints
from limbeck.objectives.hard_labels import HardLabels
from limbeck.objectives.hard_special_soft_rest import HardSpecialSoftRest
from limbeck.objectives.logit_matching import LogitMatching
from limbeck.objectives.multi_teacher import MultiTeacher
from limbeck.objectives.mutual import CohortTargets, MutualLearning
from limbeck.objectives.named import OBJECTIVES, named_objective, objective_of_labels
from limbeck.objectives.objective import Counts, DeferredLoss, LossParts, Objective, count_valid
from limbeck.objectives.positions import valid_rows
from limbeck.objectives.self_distillation import SelfDistillation
from limbeck.objectives.stacked import StackedObjective
from limbeck.objectives.stacked_mutual import StackedMutual

__all__ = [
    "OBJECTIVES",
    "BinaryDistillation",
    "CohortTargets",
    "CorrelationDistillation",
    "Counts",
    "DecoupledDistillation",
    "DeferredLoss",
    "Distillation",
    "FeatureHints",
    "HardLabels",
    "HardSpecialSoftRest",
    "LogitMatching",
    "LossParts",
    "MultiTeacher",
    "MutualLearning",
    "Objective",
    "SelfDistillation",
    "StackedMutual",
    "StackedObjective",
    "StandardisedDistillation",
    "count_valid",
    "named_objective",
    "objective_of_labels",
    "valid_rows",
]
