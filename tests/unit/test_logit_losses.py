"""Decoupled distillation, correlations and standardised logits against slow oracles and their papers' identities."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, tensor
from torch.testing import assert_close

from limbeck.errors import InvalidValue, ShapeMismatch
from limbeck.losses import (
    decoupled_loss,
    inter_class_correlation_loss,
    intra_class_correlation_loss,
    soft_target_loss,
    standardise_logits,
)


def _pair(*shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return (2 * torch.randn(*shape, generator=generator), 2 * torch.randn(*shape, generator=generator))


def _softmax(row: Tensor, temperature: float) -> np.ndarray:
    exponentials = np.exp(row.double().numpy() / temperature)
    return exponentials / exponentials.sum()


# Decoupled


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_plain_distillation_is_one_choice_of_the_second_weight(temperature: float) -> None:
    z, v = _pair(20, 6)
    labels = torch.arange(20) % 6
    target, others = (
        decoupled_loss(z, v, labels, temperature=temperature, target_weight=a, others_weight=1.0 - a)
        for a in (1.0, 0.0)
    )
    rest = 1 - torch.softmax(v / temperature, dim=1).gather(1, labels[:, None])[:, 0]
    assert_close(target + rest * others, soft_target_loss(z, v, temperature=temperature), atol=1e-5, rtol=1e-5)


def test_the_two_parts_written_out() -> None:
    z, v = _pair(1, 4)
    p, q, y, t = _softmax(v[0], 2.0), _softmax(z[0], 2.0), 2, 2.0
    binary = p[y] * math.log(p[y] / q[y]) + (1 - p[y]) * math.log((1 - p[y]) / (1 - q[y]))
    shares_p, shares_q = np.delete(p, y) / (1 - p[y]), np.delete(q, y) / (1 - q[y])
    others = float((shares_p * np.log(shares_p / shares_q)).sum())
    loss = decoupled_loss(z, v, tensor([y]), temperature=t, target_weight=1.5, others_weight=8.0)
    assert_close(loss, tensor([t * t * (1.5 * binary + 8.0 * others)], dtype=torch.float32))


def test_two_classes_have_no_second_part() -> None:
    z, v = _pair(5, 2)
    loss = decoupled_loss(z, v, tensor([0, 1, 0, 1, 0]), temperature=2.0, target_weight=0.0, others_weight=8.0)
    assert_close(loss, torch.zeros(5))


def test_the_second_part_does_not_fade_for_a_sure_teacher() -> None:
    # At p_y = 1 - 1e-13 plain distillation hardly sees the other classes; the second part does.
    v, z = tensor([[30.0, 2.0, 0.0]]), tensor([[30.0, 0.0, 2.0]])
    assert float(soft_target_loss(z, v, temperature=1.0)) < 1e-10
    others = decoupled_loss(z, v, tensor([0]), temperature=1.0, target_weight=0.0, others_weight=1.0)
    expected = (math.e**2 - 1) / (math.e**2 + 1) * 2
    assert_close(others, tensor([expected]))


def test_classes_that_both_rule_out() -> None:
    z, v = _pair(4, 5)
    ruled_out = torch.cat([z, torch.full((4, 1), -math.inf)], 1), torch.cat([v, torch.full((4, 1), -math.inf)], 1)
    labels, weights = tensor([0, 1, 2, 3]), {"target_weight": 1.0, "others_weight": 2.0}
    leaf = ruled_out[0].requires_grad_()
    loss = decoupled_loss(leaf, ruled_out[1], labels, temperature=2.0, **weights)
    assert_close(loss, decoupled_loss(z, v, labels, temperature=2.0, **weights))
    loss.sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()


@pytest.mark.parametrize(
    ("labels", "kind", "fact"),
    [
        (tensor([0, 3]), InvalidValue, "label is out of range"),
        (tensor([0, -1]), InvalidValue, "label is out of range"),
        (tensor([0.0, 1.0]), InvalidValue, "labels must be integers"),
        (tensor([0]), ShapeMismatch, "labels do not fit"),
    ],
)
def test_labels_that_cannot_be(labels: Tensor, kind: type[Exception], fact: str) -> None:
    with pytest.raises(kind, match=fact):
        decoupled_loss(*_pair(2, 3), labels, temperature=1.0, target_weight=1.0, others_weight=1.0)


def test_one_class_has_no_others() -> None:
    with pytest.raises(ShapeMismatch, match="no others"):
        decoupled_loss(*_pair(2, 1), tensor([0, 0]), temperature=1.0, target_weight=1.0, others_weight=1.0)


# Correlations


def test_inter_class_correlation_is_pearsons_over_classes() -> None:
    z, v = _pair(6, 5)
    slow = [1 - np.corrcoef(_softmax(a, 3.0), _softmax(b, 3.0))[0, 1] for a, b in zip(z, v, strict=True)]
    assert_close(inter_class_correlation_loss(z, v, temperature=3.0), 9 * tensor(slow, dtype=torch.float32))


def test_intra_class_correlation_is_pearsons_over_the_batch() -> None:
    z, v = _pair(6, 5)
    q, p = (np.array([_softmax(row, 3.0) for row in logits]) for logits in (z, v))
    slow = [1 - np.corrcoef(q[:, c], p[:, c])[0, 1] for c in range(5)]
    assert_close(intra_class_correlation_loss(z, v, temperature=3.0), 9 * tensor(slow, dtype=torch.float32))
    assert_close(intra_class_correlation_loss(v, v, temperature=3.0), torch.zeros(5), atol=1e-5, rtol=0)


def test_intra_class_gradient_is_that_of_the_value() -> None:
    z, v = (logits.double() for logits in _pair(4, 3))
    assert torch.autograd.gradcheck(
        lambda logits: intra_class_correlation_loss(logits, v, temperature=2.0), (z.requires_grad_(),)
    )


def test_how_sure_the_teacher_is_does_not_matter_at_high_temperature() -> None:
    z, v = _pair(6, 5)
    loss = inter_class_correlation_loss(z, v, temperature=100.0) / 100**2
    assert_close(inter_class_correlation_loss(z, 3 * v, temperature=100.0) / 100**2, loss, atol=0.02, rtol=0)


def test_an_answer_without_any_preference_correlates_with_nothing() -> None:
    z = torch.zeros(2, 4, requires_grad=True)
    loss = inter_class_correlation_loss(z, _pair(2, 4)[1], temperature=2.0)
    assert_close(loss, torch.full((2,), 2.0))
    loss.sum().backward()
    assert z.grad is not None
    assert z.grad.count_nonzero() == 0


@pytest.mark.parametrize("shape", [(1, 4), (2, 3, 4), (4,)])
def test_intra_class_correlation_needs_a_batch(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeMismatch, match="within a batch"):
        intra_class_correlation_loss(*_pair(*shape), temperature=1.0)


# Standardised logits


def test_mean_and_deviation_of_each_example() -> None:
    standard = standardise_logits(50 + 30 * _pair(7, 9)[0])
    assert_close(standard.mean(dim=1), torch.zeros(7), atol=1e-5, rtol=0)
    assert_close(standard.std(dim=1, correction=0), torch.ones(7))


def test_level_and_scale_of_the_teacher_do_not_matter() -> None:
    z, v = _pair(7, 9)
    loss = soft_target_loss(standardise_logits(z), standardise_logits(v), temperature=2.0)
    other = soft_target_loss(standardise_logits(z), standardise_logits(5 * v - 40), temperature=2.0)
    assert_close(other, loss, atol=1e-4, rtol=1e-4)


def test_logits_that_are_all_alike() -> None:
    z = torch.full((2, 4), 7.0, requires_grad=True)
    standard = standardise_logits(z)
    assert_close(standard, torch.zeros(2, 4))
    (standard * torch.arange(4.0)).sum().backward()
    assert z.grad is not None
    assert z.grad.isfinite().all()
