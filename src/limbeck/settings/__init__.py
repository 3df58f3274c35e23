"""Every setting, declared once: flags, configuration keys, schema, messages, docs and arguments are made from here."""

from limbeck.settings.export_settings import ExportSettings
from limbeck.settings.job_configs import (
    METHODS,
    DistillConfig,
    JobConfig,
    MutualConfig,
    Normalisation,
    SearchConfig,
    SelfConfig,
    TrainJobConfig,
)
from limbeck.settings.jobs import (
    DistillSettings,
    MutualSettings,
    RunSettings,
    SelfSettings,
    SingleSettings,
    TeacherSettings,
    TrainSettings,
)
from limbeck.settings.search_settings import SearchSettings
from limbeck.settings.setting import GROUPS, Argument, Declared, Doc, Setting, declared, documented, with_arguments
from limbeck.settings.train_config import TrainConfig

__all__ = [
    "GROUPS",
    "METHODS",
    "Argument",
    "Declared",
    "DistillConfig",
    "DistillSettings",
    "Doc",
    "ExportSettings",
    "JobConfig",
    "MutualConfig",
    "MutualSettings",
    "Normalisation",
    "RunSettings",
    "SearchConfig",
    "SearchSettings",
    "SelfConfig",
    "SelfSettings",
    "Setting",
    "SingleSettings",
    "TeacherSettings",
    "TrainConfig",
    "TrainJobConfig",
    "TrainSettings",
    "declared",
    "documented",
    "with_arguments",
]
