"""The whole job in one function: teachers, baseline, distilled student, evaluation, record."""

from limbeck.distillation.job import distill
from limbeck.distillation.result import RunResult
from limbeck.distillation.run_directory import RunDirectory, dump_config
from limbeck.distillation.settings import DistillSettings, TrainSettings
from limbeck.distillation.single import train
from limbeck.distillation.sources import NetworkSource, network_from

__all__ = [
    "DistillSettings",
    "NetworkSource",
    "RunDirectory",
    "RunResult",
    "TrainSettings",
    "distill",
    "dump_config",
    "network_from",
    "train",
]
