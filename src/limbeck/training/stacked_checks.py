"""What must hold before a stack of networks is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from limbeck.data import Samples
from limbeck.errors import InvalidValue
from limbeck.settings import TrainConfig

Item = TypeVar("Item")


def one_each(what: str, given: Item | Sequence[Item], count: int) -> list[Item]:
    """Return one item for each student, from one for all or one for each."""
    if not isinstance(given, Sequence):
        return [given] * count
    require_count(what, given, count)
    return list(given)


def require_count(what: str, given: Sequence[object], count: int) -> None:
    if len(given) != count:
        raise InvalidValue(
            f"There must be one of the {what} for each student.",
            received=f"{len(given)} {what} for {count} students",
            expected=f"{count} {what}",
        )


def require_plain_labels(train: Samples, recipe: TrainConfig) -> None:
    """Raise for what counts labels otherwise than one class a sample, each as much as another."""
    if train.weights is not None or recipe.class_weights is not None or train.labels.ndim > 1:
        raise InvalidValue(
            "Networks that train in one pass take one class a sample, all of one weight.",
            received=f"labels {tuple(train.labels.shape)}, sample or class weights: "
            f"{'yes' if train.weights is not None or recipe.class_weights is not None else 'no'}",
            expected="class indices (n,), no weights",
            remedy="train each network with fit",
        )
