"""Cohorts of equal networks in one stacked pass: as fit_cohort with simultaneous updates trains each."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from limbeck.data import Samples, Views, augmentations_from
from limbeck.errors import InvalidValue
from limbeck.models import build
from limbeck.objectives import Distillation, HardLabels, MutualLearning
from limbeck.teachers import ModuleTeacher
from limbeck.training import Runtime, TrainConfig, fit_cohort, fit_stacked

CPU = Runtime(torch.device("cpu"), "fp32")
RECIPE = TrainConfig(num_epochs=3, batch_size=16, learning_rate=0.2)


def images(*, seed: int = 0, count: int = 70, labelled: bool = True) -> Samples:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, 1, 6, 6), generator=generator, dtype=torch.uint8)
    labels = (pixels[:, 0, 0].float().mean(dim=1) / 256 * 3).long()
    if not labelled:
        labels[::3] = -1
    return Samples("images", torch.arange(count), pixels, labels, ("a", "b", "c"))


def mlp(seed: int) -> nn.Module:
    return build("mlp:widths=12x8", input_shape=(1, 6, 6), num_classes=3, seed=seed)


@pytest.mark.parametrize(
    ("size", "objective"),
    [
        (2, MutualLearning()),
        (3, MutualLearning(temperature=2.0, soft_weight=0.7, hard_weight=0.4)),
        (3, MutualLearning(temperature=3.0, targets="mean")),
        (2, MutualLearning(targets="mean", hard_weight=0.0)),
    ],
)
@pytest.mark.parametrize("labelled", [True, False])
def test_two_cohorts_in_one_pass_are_two_cohorts(size, objective, labelled):
    train, validation = images(labelled=labelled), images(seed=1, count=40)
    students = [mlp(k) for k in range(2 * size)]
    alone = copy.deepcopy(students)
    seeds = [5] * size + [6] * size
    together = fit_stacked(
        students, train, objective, recipe=RECIPE, seeds=seeds, validation=validation, runtime=CPU
    )  # fmt: skip
    for seed, first in ((5, 0), (6, size)):
        cohort = fit_cohort(
            alone[first : first + size], train, objective, recipe=RECIPE, update="simultaneous", seed=seed,
            validation=validation, runtime=CPU,
        )  # fmt: skip
        for result, member in zip(together[first : first + size], cohort.members, strict=True):
            assert result.selected_epoch == member.selected_epoch
            for name, value in member.last_weights.items():
                assert_close(result.last_weights[name], value, rtol=1e-4, atol=1e-5)
            for own, other in zip(result.history, member.history, strict=True):
                assert own.train == pytest.approx(other.train, rel=1e-4, abs=1e-6)
                assert own.validation["errors"] == other.validation["errors"]


def test_peers_are_those_of_a_seed_in_whatever_order_they_are_given():
    students = [mlp(k) for k in range(4)]
    mixed, sorted_ = copy.deepcopy(students), copy.deepcopy(students)
    by_turns = fit_stacked(mixed, images(), MutualLearning(), recipe=RECIPE, seeds=[5, 6, 5, 6], runtime=CPU)
    order = [0, 2, 1, 3]
    in_order = fit_stacked(
        [sorted_[k] for k in order], images(), MutualLearning(), recipe=RECIPE, seeds=[5, 5, 6, 6], runtime=CPU
    )
    for k, result in zip(order, in_order, strict=True):
        for name, value in result.last_weights.items():
            assert_close(by_turns[k].last_weights[name], value)


@pytest.mark.parametrize(
    ("objectives", "settings", "words"),
    [
        (MutualLearning(), {"seeds": [1, 2]}, "at least two"),
        (MutualLearning(), {"seeds": [1, 1, 2]}, "at least two"),
        ([MutualLearning(), MutualLearning(temperature=2.0)], {"seeds": [1, 1]}, "share one objective"),
        ([MutualLearning(), HardLabels()], {"seeds": [1, 1]}, "share one objective"),
        ([Distillation(temperature=2.0), MutualLearning()], {"seeds": [1, 1]}, "share one objective"),
    ],
)
def test_what_is_no_cohort_is_refused(objectives, settings, words):
    students = [mlp(k) for k in range(len(settings["seeds"]))]
    teacher = None
    if isinstance(objectives, list) and any(objective.needs_teacher for objective in objectives):
        teacher = ModuleTeacher(mlp(9))
    with pytest.raises(InvalidValue, match=words):
        fit_stacked(students, images(), objectives, recipe=RECIPE, runtime=CPU, teacher=teacher, **settings)


def test_peers_see_the_same_views():
    jitter = augmentations_from(["jitter:1"])
    students = [mlp(k) for k in range(2)]
    with pytest.raises(InvalidValue, match="at least two"):
        fit_stacked(
            students, images(), MutualLearning(), recipe=RECIPE, seeds=[5, 5], runtime=CPU,
            views=[Views(jitter, seed=0), Views(jitter, seed=1)],
        )  # fmt: skip
