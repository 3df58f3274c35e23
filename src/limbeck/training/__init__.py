"""Training: one loop for every objective, with checkpoints that resume to the bit."""

from limbeck.training.evaluate import evaluate, predict
from limbeck.training.loop import FitResult, count_batches, fit
from limbeck.training.interrupt import TrainingInterrupted
from limbeck.training.progress import EventLog, PlainProgress, Progress, SilentProgress, progress_for
from limbeck.training.recipe import Recipe
from limbeck.training.runtime import Runtime, environment_facts, set_threads

__all__ = [
    "FitResult",
    "Progress",
    "Recipe",
    "Runtime",
    "count_batches",
    "environment_facts",
    "evaluate",
    "fit",
    "PlainProgress",
    "predict",
    "progress_for",
    "set_threads",
    "EventLog",
    "SilentProgress",
    "TrainingInterrupted",
]
