"""Traps of published distillation code that the losses must not fall into: 7 to 10 and 12, as far as a loss goes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from limbeck.losses import (
    attention_transfer_loss,
    hint_loss,
    js_divergence,
    kl_divergence,
    relational_angle_loss,
    relational_distance_loss,
    soft_target_loss,
    tempered_log_softmax,
)


def _logits(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _gradient(student: Tensor, teacher: Tensor, temperature: float, *, probs: bool = False) -> Tensor:
    leaf = student.clone().requires_grad_()
    if probs:
        ready = torch.softmax(teacher.double() / temperature, dim=-1).float()
        soft_target_loss(leaf, teacher_probs=ready, temperature=temperature).sum().backward()
    else:
        soft_target_loss(leaf, teacher, temperature=temperature).sum().backward()
    assert leaf.grad is not None
    return leaf.grad


@pytest.mark.parametrize("probs", [False, True])
def test_trap_07_size_of_gradient_does_not_depend_on_hot_temperature(probs: bool) -> None:
    student, teacher = _logits(8, 10, seed=0), _logits(8, 10, seed=1)
    sizes = [_gradient(student, teacher, temperature, probs=probs).norm().item() for temperature in (20, 40, 80)]
    assert max(sizes) / min(sizes) < 1.05  # without T² the sizes would fall by 4 at each step


def test_trap_07_soft_term_carries_its_own_scale() -> None:
    # The factor belongs to the loss itself: nothing that combines it with another term can drop it.
    student, teacher = torch.tensor([[3.0, 0.0, -1.0]]), torch.tensor([[0.0, 1.0, 2.0]])
    p, q = torch.softmax(teacher / 5, dim=-1), torch.softmax(student / 5, dim=-1)
    assert_close(soft_target_loss(student, teacher, temperature=5.0), 25 * (p * (p / q).log()).sum(dim=-1))
    assert_close(_gradient(student, teacher, 5.0), 5 * (q - p))


def test_trap_08_classes_are_summed_not_averaged() -> None:
    # A thousand classes of no weight change nothing; a mean over classes would divide by 501.
    student, teacher = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    nothing = torch.full((1, 1000), -1e4)
    wide = soft_target_loss(torch.cat([student, nothing], 1), torch.cat([teacher, nothing], 1), temperature=2.0)
    assert_close(wide, soft_target_loss(student, teacher, temperature=2.0))


def test_trap_08_neither_batch_nor_length_scales_a_value() -> None:
    student, teacher = _logits(10, seed=0), _logits(10, seed=1)
    alone = soft_target_loss(student, teacher, temperature=2.0)
    many = soft_target_loss(student.expand(4, 9, 10), teacher.expand(4, 9, 10), temperature=2.0)
    assert_close(many, alone.expand(4, 9))


def test_trap_09_identical_logits_give_zero() -> None:
    logits = 3 * _logits(8, 10, seed=0)
    assert (soft_target_loss(logits, logits, temperature=4.0) == 0).all()
    log_probs = tempered_log_softmax(logits)
    assert (kl_divergence(log_probs, log_probs) == 0).all()
    assert_close(js_divergence(log_probs, log_probs), torch.zeros(8), atol=1e-7, rtol=0)


def test_trap_09_gradient_is_that_of_a_kl_not_of_squared_probabilities() -> None:
    # A student sure of the wrong class: the KL pulls with T (q - p), close to 1; a squared error would pull with ~ 0.
    gradient = _gradient(torch.tensor([[20.0, 0.0]]), torch.tensor([[0.0, 20.0]]), 1.0)
    assert_close(gradient, torch.tensor([[1.0, -1.0]]))


def test_trap_10_gap_of_120_is_finite_and_right() -> None:
    # p is (0, 1) to float precision and log q = (0, -120), so KL = 120. log(softmax(.)) would be -inf there.
    student, teacher = torch.tensor([[120.0, 0.0]]), torch.tensor([[0.0, 120.0]])
    assert_close(soft_target_loss(student, teacher, temperature=1.0), torch.tensor([120.0]))
    log_p, log_q = tempered_log_softmax(teacher), tempered_log_softmax(student)
    assert_close(kl_divergence(log_p, log_q), torch.tensor([120.0]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_trap_10_half_precision_does_not_lose_the_tail(dtype: torch.dtype) -> None:
    # 14,000 classes: a sum of exponentials in 8 or 11 bits would stop growing at 256 or 2048.
    student, teacher = torch.zeros(1, 14_000, dtype=dtype), torch.zeros(1, 14_000, dtype=dtype)
    teacher[0, 0] = 8.0
    expected = soft_target_loss(student.double(), teacher.double(), temperature=2.0)
    assert_close(soft_target_loss(student, teacher, temperature=2.0).double(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    "loss",
    [hint_loss, attention_transfer_loss, relational_distance_loss, relational_angle_loss],
    ids=lambda f: f.__name__,
)
def test_trap_12_a_feature_loss_does_not_grow_with_the_batch(loss) -> None:
    few, many = (loss(_logits(n, 3, 4, 4, seed=0), _logits(n, 3, 4, 4, seed=1)) for n in (16, 128))
    assert (few.shape, many.shape) == ((16,), (128,))
    assert 0.7 < float(many.mean() / few.mean()) < 1.4
