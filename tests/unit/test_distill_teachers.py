"""limbeck.distill with any teacher: it runs once where that is possible, and the record says what happened."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import limbeck
from limbeck.targets import DenseTargets
from limbeck.teachers import (
    EnsembleTeacher,
    FeatureTeacher,
    LogitsTeacher,
    ModuleTeacher,
    PooledTargets,
    ShiftAveragedTeacher,
    Teacher,
)
from limbeck.training import TrainConfig

NUM_TRAIN, NUM_CLASSES = 90, 3
RECIPE = TrainConfig(num_epochs=2, batch_size=32, learning_rate=0.1)


def images(count: int, *, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.arange(count) % NUM_CLASSES
    inputs = torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(seed))
    inputs[torch.arange(count), 0, labels] += 1.0
    return inputs, labels


def distil(teachers, **settings):
    defaults = {
        "train": images(NUM_TRAIN, seed=0),
        "validation": images(30, seed=1),
        "test": images(30, seed=2),
        "recipe": RECIPE,
        "seeds": 1,
        "progress": "silent",
        "device": "cpu",
    }
    return limbeck.distill("mlp:widths=6", teachers, **defaults | settings)


class RowSums(Teacher):
    """Classes an image by its brightest row, and counts what it is asked in training."""

    name = "row sums"
    fingerprint = "row sums 1"

    def __init__(self) -> None:
        self.views: list[int | None] = []
        self.rows: list[int] = []

    def __call__(self, ids, inputs, *, view=None):
        self.views.append(view)
        self.rows += ids.tolist() if len(inputs) > 1 else []
        return DenseTargets(inputs.sum(dim=3)[:, 0, :NUM_CLASSES])


class AtOneTemperature(RowSums):
    """The mean of two distributions, which holds at one temperature only."""

    name = fingerprint = "two sums"

    def __call__(self, ids, inputs, *, view=None):
        targets = super().__call__(ids, inputs, view=view)
        return PooledTargets((targets, DenseTargets(2 * targets.logits)), None, "arithmetic")


def pixels() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, NUM_CLASSES))


def counted(module: nn.Module) -> tuple[nn.Module, list[int]]:
    calls: list[int] = []
    module.register_forward_hook(lambda _, given, output: calls.append(len(given[0])))
    return module, calls


@pytest.mark.parametrize("with_folder", [False, True])
def test_a_teacher_of_ones_own_is_collected_once_and_teaches(tmp_path, with_folder):
    teacher = RowSums()
    result = distil(teacher, **{"out": tmp_path / "run"} if with_folder else {})
    where = "in targets/" if with_folder else "in memory"
    assert any("once for each sample" in note and where in note for note in result.record.notes)
    # Ids 0 .. 29 are also those of the validation and test set, which it is measured on.
    asked = [teacher.rows.count(sample) for sample in range(30, NUM_TRAIN)]
    at_most = 2 if with_folder else 1  # a codec is measured on a sample first
    assert min(asked) >= 1
    assert max(asked) <= at_most, "not in every epoch"
    (accuracy,) = result.record.values("distilled", "accuracy").values()
    assert accuracy > 0.6
    assert list(result.record.values("teacher", "errors")) == [None]
    assert result.record.dark_knowledge
    assert any("cannot be looked into" in note for note in result.record.notes)


def test_a_teacher_that_may_have_seen_the_test_samples_is_told_of(tmp_path):
    def warned(result):
        return [note for note in result.record.notes if "it has seen them" in note]

    assert warned(distil(RowSums())) == []
    assert len(warned(distil(RowSums(), test=None))) == 1
    assert warned(distil("mlp:widths=4", test=None)) == [], "it is trained here"
    rows = "".join(f"{k % 3},{k % 2},{k % 2}\n" for k in range(60))
    (tmp_path / "t.csv").write_text("a,b,label\n" + rows)
    table = limbeck.load_data(tmp_path / "t.csv")
    assert not table.has_own_test
    teacher = nn.Linear(2, 2)
    assert len(warned(distil(teacher, train=table, validation=table.validation, test=None))) == 1


@pytest.mark.parametrize("with_folder", [False, True])
@pytest.mark.parametrize("pooling", ["geometric", "arithmetic"])
def test_shift_averaging_runs_once_for_every_place(tmp_path, with_folder, pooling):
    module, calls = counted(pixels())
    teacher = ShiftAveragedTeacher(ModuleTeacher(module), max_shift_pixels=1, pooling=pooling)
    result = distil([teacher], **{"out": tmp_path / "run"} if with_folder else {})
    assert any("once for each sample" in note for note in result.record.notes)
    steps = calls.count(32)
    assert steps == 0, "no batch of training reaches it"


@pytest.mark.parametrize("with_folder", [False, True])
def test_what_holds_at_one_temperature_runs_in_every_step_and_the_record_says_so(tmp_path, with_folder):
    teacher = AtOneTemperature()
    result = distil(teacher, **{"out": tmp_path / "run"} if with_folder else {})
    assert any("one temperature only" in note and "every step" in note for note in result.record.notes)
    assert teacher.rows.count(50) == RECIPE.num_epochs


def test_a_teacher_that_ignores_its_inputs_runs_once_too(tmp_path):
    class ById(RowSums):
        reads_inputs = False

        def __call__(self, ids, inputs, *, view=None):
            self.rows += ids.tolist()
            return DenseTargets(torch.nn.functional.one_hot(ids % NUM_CLASSES, NUM_CLASSES) * 3.0 - 1.0)

    teacher = ById()
    result = distil(teacher)
    assert any("once for each sample" in note for note in result.record.notes)
    assert teacher.rows.count(50) <= 2
    assert "teacher" not in result.record.roles(), "it knows nothing of the test set"


def test_features_need_a_live_teacher_and_the_record_says_so():
    module, calls = counted(pixels())
    result = distil(FeatureTeacher(module, ["0"]))
    assert any("features" in note and "every step" in note for note in result.record.notes)
    assert calls.count(32) == RECIPE.num_epochs * (NUM_TRAIN // 32)


@pytest.mark.parametrize("with_folder", [False, True])
def test_a_live_and_a_stored_teacher_together_are_collected(tmp_path, with_folder):
    module, calls = counted(pixels())
    stored = LogitsTeacher(torch.randn(NUM_TRAIN, NUM_CLASSES, generator=torch.Generator().manual_seed(3)))
    result = distil([module, stored], **{"out": tmp_path / "run"} if with_folder else {})
    assert any("once for each sample" in note for note in result.record.notes)
    assert calls.count(32) == 0


@pytest.mark.parametrize("with_folder", [False, True])
def test_an_ensemble_of_ensembles_teaches_as_it_is_pooled(tmp_path, with_folder):
    def teacher() -> Teacher:
        inner = EnsembleTeacher([ModuleTeacher(pixels()), RowSums()], weights=[3, 1])
        return EnsembleTeacher([inner, ModuleTeacher(pixels())], pooling="geometric")

    settings = {"out": tmp_path / "run"} if with_folder else {}
    collected = distil(teacher(), **settings)
    assert any("in memory" in note for note in collected.record.notes)
    assert collected.record.values("distilled", "nll") == distil(teacher()).record.values("distilled", "nll")


def test_a_teacher_of_ones_own_teaches_replayed_views(tmp_path):
    teacher = RowSums()
    result = distil(teacher, out=tmp_path / "run", augmentations=["jitter:1"], num_views=2)
    assert any("each of 2 views" in note for note in result.record.notes)
    assert {0, 1} <= set(teacher.views)
