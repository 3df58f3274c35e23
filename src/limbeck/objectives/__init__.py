"""Objectives: what one training step minimises, ``(outputs, targets, batch) -> LossParts``."""

from limbeck.objectives.distillation import Distillation
from limbeck.objectives.hard_labels import HardLabels
from limbeck.objectives.objective import Counts, LossParts, Objective, count_valid
from limbeck.objectives.stacked import StackedObjective

__all__ = ["Counts", "Distillation", "HardLabels", "LossParts", "Objective", "StackedObjective", "count_valid"]
