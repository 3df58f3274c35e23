"""A run's identity holds what differs from the defaults, so that a new setting leaves old checkpoints valid."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import pytest

from limbeck.objectives import Distillation, HardLabels
from limbeck.training import TrainConfig
from limbeck.training.identity import settings_that_differ


def with_one_more(kind: type) -> type:
    """Return the dataclass as a later version of it would be, with one more setting."""
    return dataclasses.make_dataclass(kind.__name__, [("added_later", float, 0.5)], bases=(kind,), frozen=True)


@pytest.mark.parametrize(
    ("kind", "given"),
    [(TrainConfig, {"num_epochs": 3}), (Distillation, {"temperature": 4.0}), (HardLabels, {})],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_setting_added_with_its_default_changes_nothing(kind, given):
    later = with_one_more(kind)
    assert settings_that_differ(later(**given)) == settings_that_differ(kind(**given))
    assert settings_that_differ(later(**given, added_later=1.0)) != settings_that_differ(kind(**given))


def test_every_value_that_is_not_the_default_counts():
    assert settings_that_differ(TrainConfig(learning_rate=0.1)) != settings_that_differ(TrainConfig())
    assert settings_that_differ(TrainConfig(clip_norm=1.0)) != settings_that_differ(TrainConfig(clip_norm=2.0))
    assert settings_that_differ(Distillation(temperature=1.0)) != settings_that_differ(Distillation(temperature=2.0))


def test_settings_within_settings_and_others_count_too():
    @dataclass(frozen=True)
    class Outer:
        inner: Distillation
        name: object = "x"

    text = settings_that_differ(Outer(Distillation(temperature=2.0, hard_weight=0.1)))
    assert text == "Outer(inner=Distillation(temperature=2.0))"
