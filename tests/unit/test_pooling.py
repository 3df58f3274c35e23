"""Pooled teachers: q = sum of mu_k q_k over sum of mu_k, and its geometric counterpart."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, tensor
from torch.testing import assert_close

from limbeck.errors import InvalidValue, ShapeMismatch
from limbeck.pooling import arithmetic_mean, geometric_mean

INF = math.inf
weight_lists = st.lists(st.floats(0.01, 100), min_size=1, max_size=5)
both_means = pytest.mark.parametrize("mean", [arithmetic_mean, geometric_mean])


def _members(count: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.log_softmax(2 * torch.randn(count, *shape, generator=generator, dtype=torch.float64), dim=-1)


@given(weight_lists)
def test_arithmetic_mean_matches_a_slow_loop(weights: list[float]) -> None:
    members = _members(len(weights), 3, 4)
    pooled = arithmetic_mean(members, weights=weights).exp()
    for i in range(3):
        for c in range(4):
            total = sum(weight * math.exp(members[k, i, c]) for k, weight in enumerate(weights))
            assert pooled[i, c].item() == pytest.approx(total / sum(weights))


@given(weight_lists)
def test_geometric_mean_matches_a_slow_loop(weights: list[float]) -> None:
    members = _members(len(weights), 3, 4)
    pooled = geometric_mean(members, weights=weights).exp()
    for i in range(3):
        products = [
            math.prod(math.exp(members[k, i, c]) ** (weight / sum(weights)) for k, weight in enumerate(weights))
            for c in range(4)
        ]
        assert_close(pooled[i], tensor(products, dtype=torch.float64) / sum(products))


def test_by_hand() -> None:
    first, second = tensor([0.8, 0.2]).log(), tensor([0.2, 0.8]).log()
    assert_close(arithmetic_mean([first, second], weights=[3, 1]).exp(), tensor([0.65, 0.35]))
    assert_close(geometric_mean([first, second]).exp(), tensor([0.5, 0.5]))
    # Weights 3 : 1 leave half of the log-odds log 4: odds 2 : 1.
    assert_close(geometric_mean([first, second], weights=[3, 1]).exp(), tensor([2 / 3, 1 / 3]))


@pytest.mark.parametrize("temperature", [0.5, 4.0])
def test_geometric_mean_serves_at_any_temperature(temperature: float) -> None:
    logits = _members(3, 5, 4)
    pooled_then_tempered = torch.log_softmax(geometric_mean(logits) / temperature, dim=-1)
    assert_close(pooled_then_tempered, geometric_mean(logits / temperature))
    assert_close(pooled_then_tempered, torch.log_softmax(logits.mean(dim=0) / temperature, dim=-1))


def test_geometric_mean_depends_on_distributions_alone() -> None:
    logits = _members(2, 5, 4)
    moved = [logits[0] + 1000, logits[1] - 3]
    assert_close(geometric_mean(moved, weights=[1, 2]), geometric_mean(logits, weights=[1, 2]))


@both_means
def test_one_member_or_equal_members_change_nothing(mean) -> None:
    member = _members(1, 5, 4)[0]
    assert_close(mean([member]), member)
    assert_close(mean([member, member, member], weights=[1, 5, 2]), member)


@both_means
def test_result_is_a_distribution_and_scale_of_weights_does_not_matter(mean) -> None:
    members = _members(3, 2, 5, 4)
    pooled = mean(members, weights=[1, 2, 3])
    assert_close(pooled.exp().sum(dim=-1), torch.ones(2, 5, dtype=torch.float64))
    assert_close(mean(list(members), weights=tensor([1e6, 2e6, 3e6])), pooled)


@both_means
def test_equal_weights_are_the_default(mean) -> None:
    members = _members(3, 5, 4)
    assert_close(mean(members), mean(members, weights=[1, 1, 1]))


@both_means
@pytest.mark.parametrize("extreme", [-INF, INF, math.nan, 1e30])
def test_weight_of_zero_drops_a_member_whatever_it_holds(mean, extreme: float) -> None:
    members = _members(2, 5, 4)
    dropped = torch.full((5, 4), extreme, dtype=torch.float64)
    assert_close(mean([dropped, *members], weights=[0, 1, 2]), mean(members, weights=[1, 2]))


def test_excluded_classes() -> None:
    first, second = tensor([[0.5, 0.5, 0.0]]).log(), tensor([[1.0, 0.0, 0.0]]).log()
    assert_close(arithmetic_mean([first, second]).exp(), tensor([[0.75, 0.25, 0.0]]))
    assert_close(geometric_mean([first, second]).exp(), tensor([[1.0, 0.0, 0.0]]))


def test_gradient_is_finite_where_all_exclude_a_class() -> None:
    logits = tensor([[[1.0, 0.0, -INF]], [[0.0, 2.0, -INF]]], requires_grad=True)
    arithmetic_mean(torch.log_softmax(logits, dim=-1)).exp().square().sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert (logits.grad[..., :2] != 0).all()


@both_means
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_pools_in_float32(mean, dtype: torch.dtype) -> None:
    members = _members(3, 5, 4).to(dtype)
    assert mean(members).dtype == torch.float32
    assert_close(mean(members), mean(members.float()))


def test_far_tails_survive() -> None:
    # exp(-200) is 0 in float32; in log space the mean is still log(1/2) - 200.
    members = [tensor([0.0, -200.0]), tensor([0.0, -INF])]
    assert_close(arithmetic_mean(members), tensor([0.0, -200 - math.log(2)]))


@both_means
@pytest.mark.parametrize("weights", [[1.0], [1.0, 2.0, 3.0], []])
def test_one_weight_per_member(mean, weights: list[float]) -> None:
    with pytest.raises(InvalidValue) as caught:
        mean(_members(2, 5, 4), weights=weights)
    assert f"{len(weights)} weights" in str(caught.value)


@both_means
@pytest.mark.parametrize("weights", [[0.0, 0.0], [1.0, -1.0], [1.0, math.nan], [INF, 1.0]])
def test_weights_must_be_shares(mean, weights: list[float]) -> None:
    with pytest.raises(InvalidValue, match="weights must be finite"):
        mean(_members(2, 5, 4), weights=weights)


@both_means
def test_no_members(mean) -> None:
    with pytest.raises(InvalidValue, match="no members"):
        mean([])


@both_means
def test_different_classes_name_both_shapes(mean) -> None:
    with pytest.raises(ShapeMismatch) as caught:
        mean([torch.zeros(5, 4), torch.zeros(5, 3)])
    assert "(5, 4) and (5, 3)" in str(caught.value)


@both_means
def test_members_must_be_floating_point_and_on_one_device(mean) -> None:
    with pytest.raises(InvalidValue, match="floating-point"):
        mean([torch.zeros(5, 4, dtype=torch.long)])
    with pytest.raises(InvalidValue, match="different devices"):
        mean([torch.zeros(5, 4), torch.zeros(5, 4, device="meta")])
