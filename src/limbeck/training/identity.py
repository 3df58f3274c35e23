"""What decides the weights that a training run ends in, as text to compare or to hash."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from torch import nn

from limbeck.data import BalancedOrder, Samples, Views
from limbeck.objectives import Objective
from limbeck.settings import TrainConfig
from limbeck.teachers import Teacher


def training_identity(
    student: nn.Module,
    train: Samples,
    objective: Objective,
    *,
    recipe: TrainConfig,
    teacher: Teacher | None,
    validation: Samples | None,
    views: Views,
    num_views: int | None,
    seed: int,
    num_steps: int,
    precision: str,
    order: BalancedOrder | None = None,
    compiles: bool = False,
) -> dict[str, str]:
    """Return what must be equal for two runs of ``fit`` to be the same run, name by name.

    The arguments are those of ``fit``, resolved. Of the student only the shapes count: its initial weights and what
    leaves no trace in the shapes (dropout, constraints) are the caller's to compare.
    """
    shapes = {key: list(value.shape) for key, value in student.state_dict().items()}
    decided = {
        "network": json.dumps(shapes),
        "objective": settings_that_differ(objective),
        "recipe": settings_that_differ(recipe),
        "seed": str(seed),
        "steps": str(num_steps),
        "training data": train.fingerprint,
        "validation data": validation.fingerprint if validation else "none",
        "views": views.fingerprint if num_views is None else f"{num_views} of {views.fingerprint}",
        "teacher": teacher.fingerprint if teacher else "none",
        "precision": precision,
    }
    ordered = {} if order is None else {"order": repr(order)}
    return decided | ordered | ({"compiled": "yes"} if compiles else {})


def settings_that_differ(settings: Any) -> str:
    """Return a dataclass's name with the fields that are not at their defaults; of anything else its ``repr``.

    A setting that is added later, with a default that changes nothing, leaves every text as it was, and so every
    checkpoint and cached network valid.

    Example:
        >>> settings_that_differ(TrainConfig(num_epochs=20, learning_rate=0.1))
        'TrainConfig(learning_rate=0.1)'
    """
    if not is_dataclass(settings) or isinstance(settings, type):
        return repr(settings)
    given = [
        f"{field.name}={settings_that_differ(getattr(settings, field.name))}"
        for field in fields(settings)
        if field.default is MISSING or getattr(settings, field.name) != field.default
    ]
    return f"{type(settings).__name__}({', '.join(given)})"
