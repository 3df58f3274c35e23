"""Objectives by name, for the command line and configuration files, and by the kind of labels. One explicit table."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from limbeck.errors import ConfigError, InvalidValue, unknown_name
from limbeck.objectives.beside_labels import CorrelationDistillation, DecoupledDistillation, StandardisedDistillation
from limbeck.objectives.binary import BinaryDistillation
from limbeck.objectives.distillation import Distillation
from limbeck.objectives.hard_labels import HardLabels
from limbeck.objectives.logit_matching import LogitMatching
from limbeck.objectives.objective import Objective

OBJECTIVES: dict[str, type[Any]] = {
    "soft_targets": Distillation,
    "logit_matching": LogitMatching,
    "decoupled": DecoupledDistillation,
    "correlation": CorrelationDistillation,
    "standardised": StandardisedDistillation,
    "binary": BinaryDistillation,
}


def named_objective(text: str, *, settings: Mapping[str, float]) -> Objective:
    """Return the objective that a text names, such as "decoupled:others_weight=2,target_weight=1".

    Args:
        text: a name of ``OBJECTIVES``, perhaps with numbers of its own.
        settings: temperature and weights of the job, used where the objective has them and the text does not say.
    Raises:
        UnknownName: another name, or a number that the objective does not have.
        ConfigError: not of the form name:key=number,key=number.
        InvalidValue: a number out of its range.
    Example:
        >>> objective = named_objective("decoupled:others_weight=2", settings={"temperature": 3.0, "hard_weight": 1.0})
        >>> objective.others_weight, objective.temperature, objective.hard_weight
        (2.0, 3.0, 1.0)
    """
    name, _, rest = text.partition(":")
    if name not in OBJECTIVES:
        raise unknown_name("objective", name, OBJECTIVES)
    kind = OBJECTIVES[name]
    fields = {field.name for field in dataclasses.fields(kind)}
    given: dict[str, Any] = {key: value for key, value in settings.items() if key in fields}
    for part in filter(None, rest.split(",")):
        key, separator, value = part.partition("=")
        if not separator:
            raise ConfigError("An objective's numbers are key=value.", received=part, expected=f"like {name}:key=1")
        if key not in fields:
            raise unknown_name(f"setting of the objective {name}", key, sorted(fields))
        given[key] = _number(key, value)
    made: Objective = kind(**given)
    return made


def objective_of_labels(task: str) -> Objective:
    """Return what a network without a teacher minimises: the labels' cross-entropy, by their kind."""
    return BinaryDistillation() if task == "multi_label" else HardLabels()


def _number(key: str, text: str) -> float | bool:
    if text in ("true", "false"):
        return text == "true"
    try:
        return float(text)
    except ValueError as error:
        raise InvalidValue(f"{key} is not a number.", received=text, expected="a number, true or false") from error
