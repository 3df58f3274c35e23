"""Objectives: the right mean, over the right examples, with the right weights."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from limbeck.data import UNLABELLED, Batch, Samples
from limbeck.errors import InvalidValue, ShapeMismatch, TeacherError
from limbeck.objectives import DecoupledDistillation, Distillation, HardLabels, LogitMatching, count_valid
from limbeck.targets import DenseTargets, SoftTargets
from limbeck.teachers import ModuleTeacher
from limbeck.training import Runtime, TrainConfig, fit

GENERATOR = torch.Generator().manual_seed(0)
STUDENT = torch.randn(6, 4, generator=GENERATOR)
TEACHER = torch.randn(6, 4, generator=GENERATOR)
LABELS = torch.tensor([0, 1, UNLABELLED, 3, UNLABELLED, 2])


def batch(labels: torch.Tensor = LABELS, **mixup: torch.Tensor) -> Batch:
    return Batch(ids=torch.arange(len(labels)), inputs=torch.zeros(len(labels), 1), labels=labels, view=None, **mixup)


def slow_distillation(temperature: float, hard_weight: float, soft_weight: float) -> torch.Tensor:
    soft, hard, num_labelled = torch.zeros(()), torch.zeros(()), 0
    for z, v, y in zip(STUDENT, TEACHER, LABELS, strict=True):
        p, q = torch.softmax(v / temperature, 0), torch.softmax(z / temperature, 0)
        soft += temperature**2 * (p * (p.log() - q.log())).sum()
        if y != UNLABELLED:
            hard += -torch.log_softmax(z, 0)[y]
            num_labelled += 1
    return soft_weight * soft / len(STUDENT) + hard_weight * hard / num_labelled


@pytest.mark.parametrize("temperature", [1.0, 4.0, 20.0])
@pytest.mark.parametrize("hard_weight", [0.0, 0.1, 1.0])
def test_distillation_is_the_weighted_sum_of_the_two_means(temperature, hard_weight):
    objective = Distillation(temperature=temperature, hard_weight=hard_weight, soft_weight=0.7)
    parts = objective(STUDENT, DenseTargets(TEACHER), batch())
    assert_close(parts.total, slow_distillation(temperature, hard_weight, 0.7))
    assert tuple(parts.means) == objective.part_names
    assert not any(mean.requires_grad for mean in parts.means.values())


def test_decoupled_distillation_warms_up_over_views():
    objective = DecoupledDistillation(hard_weight=1.0, soft_weight=1.0, warmup_views=20)
    full = objective(STUDENT, DenseTargets(TEACHER), batch()).means
    shares = {None: 1.0, 0: 0.0, 5: 0.25, 20: 1.0, 21: 1.0}
    for view, share in shares.items():
        means = objective(STUDENT, DenseTargets(TEACHER), dataclasses.replace(batch(), view=view)).means
        assert_close(means["soft"], share * full["soft"])
        assert_close(means["hard"], full["hard"])
    cold = dataclasses.replace(objective, warmup_views=0)
    assert_close(cold(STUDENT, DenseTargets(TEACHER), dataclasses.replace(batch(), view=0)).means["soft"], full["soft"])
    with pytest.raises(InvalidValue, match="warmup_views"):
        dataclasses.replace(objective, warmup_views=-1)


def slow_logit_matching(*, centred: bool, hard_weight: float, soft_weight: float) -> float:
    matching, hard, num_labelled = 0.0, 0.0, 0
    for z, v, y in zip(STUDENT.tolist(), TEACHER.tolist(), LABELS.tolist(), strict=True):
        apart = [a - b for a, b in zip(z, v, strict=True)]
        mean = sum(apart) / 4 if centred else 0.0
        matching += sum((value - mean) ** 2 for value in apart) / 8
        if y != UNLABELLED:
            hard -= z[y] - math.log(sum(math.exp(value) for value in z))
            num_labelled += 1
    return soft_weight * matching / 6 + hard_weight * hard / num_labelled


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("hard_weight", [0.0, 0.3])
def test_logit_matching_is_the_weighted_sum_of_the_two_means(centred, hard_weight):
    objective = LogitMatching(centred=centred, hard_weight=hard_weight, soft_weight=0.7)
    parts = objective(STUDENT, DenseTargets(TEACHER), batch())
    expected = slow_logit_matching(centred=centred, hard_weight=hard_weight, soft_weight=0.7)
    assert parts.total.item() == pytest.approx(expected, rel=1e-5)
    assert tuple(parts.means) == objective.part_names
    assert not any(mean.requires_grad for mean in parts.means.values())


@pytest.mark.parametrize("hard_weight", [0.0, 0.3])
def test_hot_soft_targets_become_logit_matching(hard_weight):
    weights = {"hard_weight": hard_weight, "soft_weight": 0.7}
    gradients, values = [], []
    for objective in (Distillation(temperature=1e4, **weights), LogitMatching(centred=True, **weights)):
        student = STUDENT.double().requires_grad_()
        counts = count_valid(batch())
        objective.backward(student, DenseTargets(TEACHER.double()), batch(), counts=counts)
        gradients.append(student.grad)
        values.append(objective(student, DenseTargets(TEACHER.double()), batch()).total.detach())
    assert_close(*gradients, rtol=1e-3, atol=1e-5)
    assert_close(*values, rtol=1e-3, atol=0)


def test_logit_matching_asks_a_pooled_teacher_for_the_logits_that_it_is_used_with():
    class Pooled(SoftTargets):
        def logits_at(self, temperature):
            return temperature * TEACHER

    matched = LogitMatching()(STUDENT, Pooled(), batch()).total
    assert_close(matched, LogitMatching()(STUDENT, DenseTargets(TEACHER), batch()).total)


def test_logit_matching_trains_a_student_without_any_label():
    inputs, unlabelled = torch.randn(32, 5, generator=GENERATOR), torch.full((32,), UNLABELLED)
    images = Samples("toy", torch.arange(32), inputs, unlabelled, ("a", "b", "c"))
    torch.manual_seed(0)
    teacher, student = torch.nn.Linear(5, 3), torch.nn.Linear(5, 3)
    recipe = TrainConfig(num_epochs=60, batch_size=8, learning_rate=0.3, weight_decay=0.0)
    runtime = Runtime.resolve("cpu", "fp32")
    fit(student, images, LogitMatching(), recipe=recipe, teacher=ModuleTeacher(teacher), seed=0, runtime=runtime)
    with torch.no_grad():
        apart = student(images.inputs) - teacher(images.inputs)
    assert_close(apart - apart.mean(dim=1, keepdim=True), torch.zeros(32, 3), rtol=0, atol=1e-2)
    assert apart.mean(dim=1).abs().max() > 0.1  # what the softmax ignores is left alone


@pytest.mark.parametrize("objective", [Distillation(temperature=3.0, hard_weight=0.5), LogitMatching(hard_weight=0.5)])
def test_parts_of_a_step_add_up_to_the_whole_step(objective):
    whole = objective(STUDENT, DenseTargets(TEACHER), batch())
    counts = count_valid(batch())
    halves = [
        objective(STUDENT[part], DenseTargets(TEACHER[part]), batch(LABELS[part]), counts=counts)
        for part in (slice(0, 2), slice(2, 6))
    ]
    assert_close(halves[0].total + halves[1].total, whole.total)


def test_a_step_without_labels_has_no_hard_loss_and_no_nan():
    student = STUDENT.clone().requires_grad_()
    parts = HardLabels()(student, None, batch(torch.full((6,), UNLABELLED)))
    parts.total.backward()
    assert parts.total.item() == 0.0
    assert torch.equal(student.grad, torch.zeros_like(student))


def test_mixup_weighs_both_labels():
    labels, partners, weight = torch.tensor([0, 1]), torch.tensor([2, 3]), torch.tensor([0.25, 0.5])
    mixed = batch(labels, partner_labels=partners, partner_weight=weight)
    own, other = (F.cross_entropy(STUDENT[:2], y, reduction="none") for y in (labels, partners))
    assert_close(HardLabels()(STUDENT[:2], None, mixed).total, ((1 - weight) * own + weight * other).mean())


def test_mixup_with_an_unlabelled_partner_counts_only_the_labelled_share():
    labels, partners, weight = torch.tensor([0, UNLABELLED]), torch.tensor([UNLABELLED, 3]), torch.tensor([0.25, 0.5])
    mixed = batch(labels, partner_labels=partners, partner_weight=weight)
    own = F.cross_entropy(STUDENT[:1], labels[:1])
    other = F.cross_entropy(STUDENT[1:2], partners[1:])
    assert_close(HardLabels()(STUDENT[:2], None, mixed).total, (0.75 * own + 0.5 * other) / (0.75 + 0.5))


def test_label_smoothing_is_that_of_torch():
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    expected = F.cross_entropy(STUDENT, labels, label_smoothing=0.1)
    counts = count_valid(batch(labels), label_smoothing=0.1)
    assert_close(HardLabels()(STUDENT, None, batch(labels), counts=counts).total, expected)


def test_logit_matching_refuses_what_cannot_be():
    for settings in ({"hard_weight": -0.1}, {"soft_weight": -1.0}, {"soft_weight": 0.0}):
        with pytest.raises(InvalidValue):
            LogitMatching(**settings)
    with pytest.raises(TeacherError, match="needs a teacher"):
        LogitMatching()(STUDENT, None, batch())
    with pytest.raises(ShapeMismatch, match=r"teacher \(6, 3\), student \(6, 4\)"):
        LogitMatching()(STUDENT, DenseTargets(TEACHER[:, :3]), batch())


def test_what_cannot_be_is_refused():
    for settings in ({"temperature": 0.0}, {"temperature": 1.0, "hard_weight": -0.1}):
        with pytest.raises(InvalidValue):
            Distillation(**settings)
    with pytest.raises(InvalidValue, match="both 0"):
        Distillation(temperature=1.0, hard_weight=0.0, soft_weight=0.0)
    with pytest.raises(TeacherError, match="needs a teacher"):
        Distillation(temperature=1.0)(STUDENT, None, batch())
    with pytest.raises(ShapeMismatch, match=r"teacher \(6, 3\), student \(6, 4\)"):
        Distillation(temperature=1.0)(STUDENT, DenseTargets(TEACHER[:, :3]), batch())
