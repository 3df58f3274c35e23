"""Training: one loop for every objective, with checkpoints that resume to the bit."""

from limbeck.training.evaluate import evaluate, predict
from limbeck.training.loop import FitResult, fit
from limbeck.training.progress import Progress, plain_progress, progress_for, silent_progress
from limbeck.training.recipe import Recipe
from limbeck.training.runtime import Runtime, environment_facts

__all__ = [
    "FitResult",
    "Progress",
    "Recipe",
    "Runtime",
    "environment_facts",
    "evaluate",
    "fit",
    "plain_progress",
    "predict",
    "progress_for",
    "silent_progress",
]
