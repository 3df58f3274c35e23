"""Training: one loop for every objective, with checkpoints that resume to the bit."""

from limbeck.settings import TrainConfig
from limbeck.training.checks import count_batches
from limbeck.training.cohort import CohortResult, fit_cohort
from limbeck.training.evaluating import evaluate, predict, predict_in_blocks
from limbeck.training.event_log import EventLog
from limbeck.training.identity import training_identity
from limbeck.training.interrupt import TrainingInterrupted
from limbeck.training.loop import fit
from limbeck.training.progress import PlainProgress, Progress, SilentProgress, progress_for
from limbeck.training.run import FitResult
from limbeck.training.runtime import Runtime, environment_facts, set_threads
from limbeck.training.stacked import fit_stacked

__all__ = [
    "CohortResult",
    "EventLog",
    "FitResult",
    "PlainProgress",
    "Progress",
    "Runtime",
    "SilentProgress",
    "TrainConfig",
    "TrainingInterrupted",
    "count_batches",
    "environment_facts",
    "evaluate",
    "fit",
    "fit_cohort",
    "fit_stacked",
    "predict",
    "predict_in_blocks",
    "progress_for",
    "set_threads",
    "training_identity",
]
