"""The whole job in one function: teachers, baseline, distilled student, evaluation, record."""

from limbeck.distillation.cache import NetworkCache
from limbeck.distillation.committee import COMMITTEE_FILE, load_committee, save_committee
from limbeck.distillation.evaluation import evaluate_network
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.job import distill
from limbeck.distillation.mutual import distill_mutual
from limbeck.distillation.predictions import Predictions
from limbeck.distillation.result import RunResult
from limbeck.distillation.run_directory import RunDirectory, dump_config
from limbeck.distillation.self_distillation import distill_self
from limbeck.distillation.single import train
from limbeck.distillation.sources import NetworkSource, network_from
from limbeck.distillation.specialist_task import TrainedSpecialist
from limbeck.distillation.specialists import train_specialists
from limbeck.distillation.trained import TrainedNetwork

__all__ = [
    "COMMITTEE_FILE",
    "Experiment",
    "NetworkCache",
    "NetworkSource",
    "Predictions",
    "RunDirectory",
    "RunResult",
    "TrainedNetwork",
    "TrainedSpecialist",
    "distill",
    "distill_mutual",
    "distill_self",
    "dump_config",
    "evaluate_network",
    "load_committee",
    "network_from",
    "save_committee",
    "train",
    "train_specialists",
]
