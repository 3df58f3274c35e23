"""The teacher of Hinton 2015, section 3, shared by the recipes of that section: trained once, found by all of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from limbeck.data import Samples, Views, augmentations_from
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.trained import TrainedNetwork
from limbeck.objectives import HardLabels
from limbeck.training import TrainConfig

TEACHER = "mlp:widths=1200x1200,input_dropout=0.1,hidden_dropout=0.25,max_norm=3.87"  # 3.87 = sqrt(15)
TEACHER_RECIPE = TrainConfig(
    num_epochs=200, batch_size=256, optimiser="adamw", learning_rate=1e-3, schedule="one_cycle", weight_decay=0.0
)
SMOKE_TEACHER_RECIPE = replace(TEACHER_RECIPE, num_epochs=3, batch_size=100)
TEACHER_DEPARTURE = (
    "The teacher: AdamW without weight decay on a one-cycle schedule of 200 epochs, instead of 3000 epochs of SGD with "
    "a learning rate that falls by 0.2 % and a momentum that rises; 10 % of the inputs are dropped instead of 20 %, "
    "and 25 % of the hidden units instead of 50 %."
)


class TeacherSettings(Protocol):
    """The settings that decide the teacher's weights: fields of the same names in a recipe's ``Settings``."""

    @property
    def teacher(self) -> str:
        """Spec of the zoo."""

    @property
    def jitter_pixels(self) -> int:
        """How far the teacher's images are moved at most, in any direction."""

    @property
    def teacher_recipe(self) -> TrainConfig:
        """How it is trained."""

    @property
    def teacher_seed(self) -> int:
        """Of its weights, order, dropout and views."""


def section_teacher(settings: TeacherSettings, experiment: Experiment, images: Samples) -> TrainedNetwork:
    """Return the teacher, regularised and jittered: trained now, or found where any recipe has trained the same."""
    return experiment.train(
        "teacher",
        settings.teacher,
        samples=images,
        objective=HardLabels(),
        recipe=settings.teacher_recipe,
        views=Views(augmentations_from([f"jitter:{settings.jitter_pixels}"]), seed=settings.teacher_seed),
        seed=settings.teacher_seed,
    )
