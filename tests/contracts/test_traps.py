"""Traps that published distillation code has fallen into: teachers, students, steps, reporting, resuming.

Each test is named by the trap's number. Those of losses, data and models stand in the files beside this one.
"""

from __future__ import annotations

import ast
import copy
import inspect
import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import limbeck
from limbeck.data import Samples, Views, as_samples, augmentations_from
from limbeck.errors import ModelError, TeacherError
from limbeck.losses import soft_target_loss
from limbeck.models import buffers_fingerprint
from limbeck.objectives import Distillation, HardLabels, MutualLearning
from limbeck.teachers import LogitsTeacher, ModuleTeacher
from limbeck.training import Runtime, TrainConfig, evaluate, fit, fit_cohort
from limbeck.training.loss_meter import WINDOW_STEPS, LossMeter

CPU = Runtime(torch.device("cpu"), "fp32")
RECIPE = TrainConfig(num_epochs=2, batch_size=16, learning_rate=0.1)
NUM_CLASSES = 3


def samples(count: int = 48, *, seed: int = 0) -> Samples:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % NUM_CLASSES
    return as_samples((torch.randn(count, 6, generator=generator) + nn.functional.one_hot(labels, 6), labels))


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, NUM_CLASSES))


class Both(nn.Module):
    def __init__(self, student: nn.Module, teacher: nn.Module) -> None:
        super().__init__()
        self.student, self.teacher = student, teacher


def test_trap_01_a_teacher_that_was_never_put_in_eval_mode_is():
    module = network().train()
    before = buffers_fingerprint(module)
    fit(network(1), samples(), Distillation(temperature=2.0), recipe=RECIPE, teacher=ModuleTeacher(module), runtime=CPU)
    assert not any(child.training for child in module.modules())
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert all(parameter.grad is None for parameter in module.parameters())
    assert buffers_fingerprint(module) == before


def test_trap_01_a_teacher_that_is_woken_is_an_error_not_a_wrong_student():
    student, module = network(1), network()
    teacher = ModuleTeacher(module)
    Both(student, module).train()
    with pytest.raises(TeacherError, match="train mode"):
        fit(student, samples(), Distillation(temperature=2.0), recipe=RECIPE, teacher=teacher, runtime=CPU)


def test_trap_01_a_teacher_that_is_thawed_or_changed_is_an_error():
    module = network()
    teacher = ModuleTeacher(module)
    inputs = torch.zeros(2, 6)
    module.requires_grad_(True)
    with pytest.raises(TeacherError, match="trainable"):
        teacher(torch.arange(2), inputs)
    module.requires_grad_(False)
    with torch.no_grad():
        module[0].bias.add_(1.0)
    with pytest.raises(TeacherError, match="changed"):
        teacher(torch.arange(2), inputs)
    with pytest.raises(TeacherError, match="changed"):
        teacher.check_unchanged()


def test_trap_02_the_student_trains_in_train_mode_after_every_evaluation():
    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.modes = network(), []

        def forward(self, inputs):
            if torch.is_grad_enabled():
                self.modes.append({child.training for child in self.inner.modules()})
            return self.inner(inputs)

    student = Watched()
    fit(student, samples(), HardLabels(), recipe=RECIPE, validation=samples(seed=1), runtime=CPU)
    assert student.modes == [{True}] * 6


def test_trap_03_the_soft_term_alone_moves_the_student():
    student = network(1)
    before = [student[0].weight.detach().clone(), student[4].weight.detach().clone()]
    unlabelled = samples().without_labels()
    objective = Distillation(temperature=2.0, hard_weight=0.0)
    fit(student, unlabelled, objective, recipe=RECIPE, teacher=ModuleTeacher(network()), runtime=CPU)
    assert not torch.equal(student[0].weight, before[0])
    assert not torch.equal(student[4].weight, before[1])


def test_trap_04_teacher_and_student_cannot_be_swapped_unnoticed():
    parameters = inspect.signature(fit).parameters
    assert parameters["teacher"].kind is inspect.Parameter.KEYWORD_ONLY
    big, small = ModuleTeacher(network()), network(1)
    with pytest.raises(ModelError, match="swapped"):
        fit(
            big.modules[0],
            samples(),
            Distillation(temperature=2.0),
            recipe=RECIPE,
            teacher=ModuleTeacher(small),
            runtime=CPU,
        )


def test_trap_04_one_network_cannot_be_both():
    module = network()
    teacher = ModuleTeacher(module)
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    with pytest.raises(TeacherError, match="share weights"):
        fit(module, samples(), Distillation(temperature=2.0), recipe=RECIPE, teacher=teacher, runtime=CPU)


@pytest.mark.parametrize("update", ["alternating", "simultaneous"])
def test_trap_05_peers_are_constants_and_each_step_has_its_own_gradients(update):
    """More in tests/unit/test_cohort.py: the loop written out, and how often each network is asked."""
    torch.manual_seed(0)
    train, peers = samples(8), [nn.Linear(6, NUM_CLASSES), nn.Linear(6, NUM_CLASSES)]
    outputs = [peer(train.inputs).detach() for peer in peers]
    first = copy.deepcopy(peers[0])
    loss = soft_target_loss(first(train.inputs), outputs[1], temperature=1.0).mean()
    expected = first.weight - torch.autograd.grad(loss, first.weight)[0]
    recipe = TrainConfig(num_epochs=1, batch_size=8, learning_rate=1.0, momentum=0.0, nesterov=False, weight_decay=0.0,
                    schedule="constant")  # fmt: skip
    fit_cohort(peers, train, MutualLearning(hard_weight=0.0), recipe=recipe, update=update, runtime=CPU)
    assert_close(peers[0].weight, expected)


def test_trap_07_the_objective_is_continuous_at_hard_weight_0():
    def trained(hard_weight):
        objective = Distillation(temperature=4.0, hard_weight=hard_weight, soft_weight=1.0)
        student = nn.Linear(6, NUM_CLASSES)
        nn.init.zeros_(student.weight)
        nn.init.zeros_(student.bias)
        teacher = ModuleTeacher(network())
        return fit(student, samples(), objective, recipe=RECIPE, teacher=teacher, runtime=CPU).last_weights["weight"]

    torch.testing.assert_close(trained(0.0), trained(1e-6), atol=1e-5, rtol=0)


def test_trap_08_the_loss_does_not_depend_on_batch_size_or_on_unlabelled_neighbours():
    data, teacher = samples(), ModuleTeacher(network())
    student = network(1).eval()
    objective = Distillation(temperature=3.0, hard_weight=0.5)

    def loss(selected: Samples) -> float:
        batch = Views().batch(selected, torch.arange(len(selected)), view=None)
        return objective(student(batch.inputs), teacher(batch.ids, batch.inputs), batch).total.item()

    doubled = Samples(
        "twice", torch.arange(96), torch.cat([data.inputs] * 2), torch.cat([data.labels] * 2), data.class_names
    )
    assert loss(doubled) == pytest.approx(loss(data), rel=1e-6)


def test_trap_11_weights_are_named_by_what_they_weigh():
    for path in Path(limbeck.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        arguments = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        assert not {"alpha", "beta"} & arguments, path
    assert {"hard_weight", "soft_weight"} <= inspect.signature(limbeck.distill).parameters.keys()


def test_trap_13_stored_targets_follow_their_samples_through_the_shuffle():
    data = samples()
    logits = torch.full((len(data), NUM_CLASSES), -9.0)
    logits[torch.arange(len(data)), data.labels] = 9.0
    shuffled = torch.randperm(len(data), generator=torch.Generator().manual_seed(3))
    moved = data.take(shuffled)
    teacher = LogitsTeacher(logits, ids=data.ids)
    student = nn.Linear(6, NUM_CLASSES)
    objective = Distillation(temperature=1.0, hard_weight=0.0)
    recipe = TrainConfig(num_epochs=40, batch_size=16, learning_rate=0.5)
    fit(student, moved.without_labels(), objective, recipe=recipe, teacher=teacher, runtime=CPU)
    assert evaluate(student, data, Views(), runtime=CPU)["accuracy"] > 0.6  # a third, were targets of other samples


def test_trap_17_targets_of_the_clean_image_do_not_serve_augmented_views():
    views = Views(augmentations_from(["flip"]))
    stored = LogitsTeacher(torch.zeros(48, NUM_CLASSES))
    with pytest.raises(TeacherError, match="clean view only"):
        fit(
            network(), samples(), Distillation(temperature=1.0), recipe=RECIPE, teacher=stored, views=views, runtime=CPU
        )


def test_trap_20_and_21_the_record_shows_last_epoch_baseline_spread_and_teacher():
    data = samples(90)
    teacher = network()
    result = limbeck.distill(
        "mlp:widths=4",
        [teacher],
        data,
        test=samples(60, seed=1),
        recipe=RECIPE,
        seeds=3,
        device="cpu",
        progress="silent",
    )
    record = result.record
    for role in ("baseline", "distilled"):
        assert len(record.values(role, "errors")) == 3
        assert len(record.values(role, "errors", weights="last")) == 3
    assert record.values("teacher", "errors")
    for network_record in record.networks:
        if network_record.history:
            best = min(network_record.history, key=lambda e: (e.validation["errors"], e.validation["nll"]))
            assert network_record.selected_epoch == best.epoch
    assert "±" in result.summary()


def test_trap_23_losses_are_read_once_in_a_window_not_on_every_step(monkeypatch):
    reads = []
    read = LossMeter.read
    monkeypatch.setattr(LossMeter, "read", lambda self: (reads.append(self.num_pending), read(self))[1])
    recipe = TrainConfig(num_epochs=1, batch_size=2)
    fit(nn.Linear(6, NUM_CLASSES), samples(200), HardLabels(), recipe=recipe, runtime=CPU)
    assert reads == [WINDOW_STEPS] * 3 + [100 - 3 * WINDOW_STEPS]


def test_every_trap_of_what_is_built_has_its_test():
    names = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_traps*.py"))
    tested = {
        int(number)
        for group in re.findall(r"def test_trap_(\d\d(?:_and_\d\d)*)", names)
        for number in group.split("_and_")
    }
    assert tested >= {1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13, 17, 20, 21, 23, 24, 25}


def test_trap_25_what_a_resume_restores_is_tested_bit_by_bit():
    """A pointer: tests/unit/test_fit.py cuts a run at six steps, with dropout, batch norm, EMA, momentum and mixup."""
    source = (Path(__file__).parents[1] / "unit" / "test_fit.py").read_text(encoding="utf-8")
    assert "def test_a_run_cut_anywhere_and_resumed_ends_in_the_same_bits" in source
