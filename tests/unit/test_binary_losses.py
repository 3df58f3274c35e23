"""Losses of independent labels keep the promises of section 2, label by label."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import tensor
from torch.testing import assert_close

from limbeck.errors import InvalidValue, ShapeMismatch
from limbeck.losses import (
    binary_hard_label_loss,
    binary_soft_target_loss,
    hard_label_gradient,
    hard_label_loss,
    soft_target_loss,
)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
def test_one_label_is_two_exclusive_classes_with_the_logits_difference(temperature):
    torch.manual_seed(0)
    student, teacher = torch.randn(50, 2, dtype=torch.float64), torch.randn(50, 2, dtype=torch.float64)
    expected = soft_target_loss(student, teacher, temperature=temperature)
    own, other = student[:, :1] - student[:, 1:], teacher[:, :1] - teacher[:, 1:]
    assert_close(binary_soft_target_loss(own, other, temperature=temperature), expected)


def test_mirrored_logits_match_the_closed_form():
    # KL between Bernoullis of logits a and -a is a' tanh(a' / 2) * ... = (p - q) log(p / q) * 1, with a' = a / T.
    a, t = 3.0, 2.0
    p = 1 / (1 + math.exp(-a / t))
    expected = t * t * (p - (1 - p)) * math.log(p / (1 - p))
    assert_close(binary_soft_target_loss(tensor([[-a]]), tensor([[a]]), temperature=t), tensor([expected]))


def test_the_hot_limit_is_a_quarter_of_the_logits_difference():
    student = tensor([[1.0, -2.0, 0.5]], dtype=torch.float64, requires_grad=True)
    teacher = tensor([[0.0, 3.0, 0.5]], dtype=torch.float64)
    binary_soft_target_loss(student, teacher, temperature=1e4).sum().backward()
    assert_close(student.grad, (student.detach() - teacher) / 4, rtol=1e-6, atol=1e-7)


def test_certain_teachers_give_finite_losses_and_gradients():
    student = tensor([[2.0, -2.0]], requires_grad=True)
    loss = binary_soft_target_loss(student, tensor([[math.inf, -math.inf]]), temperature=1.0)
    assert_close(loss, tensor([2 * math.log1p(math.exp(-2.0))]))
    loss.sum().backward()
    assert_close(student.grad, tensor([[torch.sigmoid(tensor(2.0)) - 1, torch.sigmoid(tensor(-2.0))]]))


def test_hard_labels_are_torchs_and_unknown_ones_are_left_out():
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 4), (torch.rand(6, 4) > 0.5).float()
    weight = torch.tensor([1.0, 2.0, 3.0, 0.5])
    expected = F.binary_cross_entropy_with_logits(logits, labels, reduction="none", pos_weight=weight)
    assert_close(binary_hard_label_loss(logits, labels, pos_weight=weight), expected.sum(dim=1))
    unknown = labels.clone()
    unknown[:, 1] = -1
    leaf = logits.clone().requires_grad_()
    loss = binary_hard_label_loss(leaf, unknown, pos_weight=weight)
    assert_close(loss, expected[:, [0, 2, 3]].sum(dim=1))
    loss.sum().backward()
    assert (leaf.grad[:, 1] == 0).all()
    assert (leaf.grad[:, 0] != 0).all()


def test_smoothing_moves_each_label_towards_a_half():
    logits, labels = tensor([[1.0, -1.0]]), tensor([[1.0, 0.0]])
    expected = F.binary_cross_entropy_with_logits(logits, tensor([[0.95, 0.05]]), reduction="sum")
    assert_close(binary_hard_label_loss(logits, labels, label_smoothing=0.1), expected.view(1))


@pytest.mark.parametrize(
    "loss",
    [
        lambda z: soft_target_loss(z, z, temperature=1.0),
        lambda z: hard_label_loss(z, torch.zeros(len(z), dtype=torch.int64)),
        lambda z: hard_label_gradient(z, torch.zeros(len(z), dtype=torch.int64)),
    ],
    ids=["soft", "hard", "gradient"],
)
def test_trap_28_one_logit_is_refused_by_a_softmax_and_the_binary_loss_named(loss):
    with pytest.raises(ShapeMismatch, match="softmax over one class") as refused:
        loss(torch.zeros(3, 1))
    assert "binary_soft_target_loss" in str(refused.value)


def test_bad_labels_are_named():
    with pytest.raises(InvalidValue, match="out of range"):
        binary_hard_label_loss(torch.zeros(1, 2), tensor([[0.0, 2.0]]))
    with pytest.raises(ShapeMismatch):
        binary_hard_label_loss(torch.zeros(1, 2), tensor([[0.0]]))
    with pytest.raises(ShapeMismatch, match="pos_weight"):
        binary_hard_label_loss(torch.zeros(1, 2), tensor([[0.0, 1.0]]), pos_weight=torch.ones(3))
