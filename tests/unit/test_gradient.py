"""The gradients without autograd are those of the per-example losses, averaged and added."""

from __future__ import annotations

import math

import pytest
import torch
from torch import tensor
from torch.testing import assert_close

from limbeck.data import Batch
from limbeck.errors import InvalidValue, ShapeMismatch
from limbeck.losses import distillation_gradient, hard_label_gradient, hard_label_loss, soft_target_loss
from limbeck.objectives import DeferredLoss, Distillation, HardLabels, Objective, count_valid
from limbeck.targets import DenseTargets

SETTINGS = {"temperature": 3.0, "soft_weight": 0.7, "hard_weight": 0.2}


def _problem(batch=6, classes=4, *, dtype=torch.float64, unlabelled=0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (4 * torch.randn(batch, classes, generator=generator, dtype=torch.float64) for _ in "ab")
    labels = torch.randint(0, classes, (batch,), generator=generator)
    labels[:unlabelled] = -1
    return student.to(dtype).requires_grad_(), teacher.to(dtype), labels


def _expected(student, teacher, labels, *, temperature, soft_weight, hard_weight, n=None, m=None):
    soft = soft_target_loss(student, teacher, temperature=temperature).sum() / (n or len(labels))
    hard = hard_label_loss(student, labels).sum() / (m or max(1, int((labels >= 0).sum())))
    return torch.autograd.grad(soft_weight * soft + hard_weight * hard, student)[0]


@pytest.mark.parametrize("unlabelled", [0, 2, 6])
@pytest.mark.parametrize("shape", [(6, 4), (1, 2), (128, 10), (700, 30)])
def test_equals_autograd(shape, unlabelled):
    student, teacher, labels = _problem(*shape, unlabelled=min(unlabelled, shape[0]))
    gradient = distillation_gradient(student, teacher, labels, **SETTINGS)
    assert not gradient.requires_grad
    assert_close(gradient, _expected(student, teacher, labels, **SETTINGS))


@pytest.mark.parametrize("num_labelled", [9.0, tensor(9)])
def test_a_part_of_a_step_is_divided_by_the_counts_of_the_whole(num_labelled):
    student, teacher, labels = _problem(unlabelled=1)
    gradient = distillation_gradient(student, teacher, labels, **SETTINGS, num_examples=12, num_labelled=num_labelled)
    assert_close(gradient, _expected(student, teacher, labels, **SETTINGS, n=12, m=9))


@pytest.mark.parametrize("count", [None, 6.0, tensor(6)])
def test_without_missing_labels_nothing_is_ignored(count):
    student, teacher, labels = _problem()
    gradient = distillation_gradient(student, teacher, labels, **SETTINGS, ignore_label=None, num_labelled=count)
    assert_close(gradient, _expected(student, teacher, labels, **SETTINGS))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_low_precision_is_reduced_in_float32(dtype):
    student, teacher, labels = _problem(dtype=dtype)
    gradient = distillation_gradient(student, teacher, labels, **SETTINGS)
    wide = _expected(student.detach().double().requires_grad_(), teacher.double(), labels, **SETTINGS)
    assert gradient.dtype == dtype
    assert_close(gradient, wide.to(dtype), rtol=2 * torch.finfo(dtype).eps, atol=torch.finfo(dtype).eps / 8)


def test_teacher_and_student_may_differ_in_dtype():
    student, teacher, labels = _problem(dtype=torch.float32)
    gradient = distillation_gradient(student, teacher.double(), labels, **SETTINGS)
    assert_close(gradient, _expected(student, teacher, labels, **SETTINGS))


def test_a_class_that_the_teacher_excludes_pulls_the_student_down_alone():
    gradient = distillation_gradient(
        tensor([[0.0, 0.0]]),
        tensor([[0.0, -math.inf]]),
        tensor([-1]),
        temperature=1.0,
        soft_weight=1.0,
        hard_weight=1.0,
    )
    assert_close(gradient, tensor([[-0.5, 0.5]]))


def test_hard_labels_alone_equal_autograd():
    student, _, labels = _problem(unlabelled=2)
    expected = torch.autograd.grad(hard_label_loss(student, labels).sum() / 4, student)[0]
    assert_close(hard_label_gradient(student, labels), expected)
    assert_close(hard_label_gradient(student, labels, num_labelled=8.0), expected / 2)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"labels": tensor([0, 4])}, InvalidValue, "0 to 3"),
        ({"labels": tensor([0.0, 1.0])}, InvalidValue, "integers"),
        ({"labels": tensor([0])}, ShapeMismatch, "do not fit"),
        ({"teacher_logits": torch.zeros(2, 3)}, ShapeMismatch, "different shapes"),
        ({"student_logits": torch.zeros(2, 4).long()}, InvalidValue, "floating-point"),
        ({"temperature": 0.0}, InvalidValue, "temperature"),
        ({"soft_weight": -1.0}, InvalidValue, "soft_weight"),
        ({"hard_weight": math.nan}, InvalidValue, "hard_weight"),
    ],
)
def test_bad_input_is_named(change, error, words):
    arguments = {"student_logits": torch.zeros(2, 4), "teacher_logits": torch.zeros(2, 4), "labels": tensor([0, 1])}
    arguments |= SETTINGS | change
    with pytest.raises(error, match=words):
        distillation_gradient(**arguments)


OBJECTIVES = [
    Distillation(**SETTINGS),
    Distillation(temperature=2.0, hard_weight=0.0),
    Distillation(temperature=2.0, soft_weight=0.0, hard_weight=1.0),
    HardLabels(),
]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
@pytest.mark.parametrize("shape", [(6, 4), (900, 10)])
@pytest.mark.parametrize("kind", ["labelled", "partly labelled", "mixed up", "smoothed"])
def test_backward_is_the_calls_backward_and_read_gives_its_values(objective: Objective, shape, kind):
    student, teacher, labels = _problem(*shape, unlabelled=2 if kind == "partly labelled" else 0)
    batch = Batch(torch.arange(shape[0]), torch.zeros(shape[0], 1), labels)
    if kind == "mixed up":
        batch.partner_labels, batch.partner_weight = labels.flip(0), torch.rand(shape[0], dtype=torch.float64)
    counts = count_valid(batch, all_labelled=kind == "labelled", label_smoothing=0.1 * (kind == "smoothed"))
    loss = objective(student, DenseTargets(teacher), batch, counts=counts)
    expected = torch.autograd.grad(loss.total, student)[0]
    left = objective.backward(student, DenseTargets(teacher), batch, counts=counts, scale=lambda values: 8 * values)
    assert student.grad is not None
    assert_close(student.grad, 8 * expected)
    values = objective.read([left])[0] if isinstance(left, DeferredLoss) else left
    assert not values.requires_grad
    assert_close(values, torch.stack([loss.total.detach(), *(loss.means[name] for name in objective.part_names)]))


def test_batches_of_different_sizes_are_read_together():
    objective = Distillation(**SETTINGS)
    left, expected = [], []
    for batch_size, unlabelled, all_labelled in ((6, 0, True), (3, 1, False), (1, 1, False)):
        student, teacher, labels = _problem(batch_size, unlabelled=unlabelled, seed=batch_size)
        batch = Batch(torch.arange(batch_size), torch.zeros(batch_size, 1), labels)
        counts = count_valid(batch, all_labelled=all_labelled)
        loss = objective(student, DenseTargets(teacher), batch, counts=counts)
        expected.append(torch.stack([loss.total.detach(), loss.means["soft"], loss.means["hard"]]))
        left.append(objective.backward(student, DenseTargets(teacher), batch, counts=counts))
    assert all(isinstance(loss, DeferredLoss) for loss in left)
    assert_close(objective.read(left), torch.stack(expected))
