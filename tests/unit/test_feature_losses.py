"""Losses on hidden features against slow oracles."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, tensor
from torch.testing import assert_close

from limbeck.errors import InvalidValue, ShapeMismatch
from limbeck.losses import attention_transfer_loss, hint_loss, relational_angle_loss, relational_distance_loss

FEATURE_LOSSES = [hint_loss, attention_transfer_loss, relational_distance_loss, relational_angle_loss]
every_loss = pytest.mark.parametrize("loss", FEATURE_LOSSES, ids=lambda loss: loss.__name__)


def _maps(count: int = 5, channels: int = 3, size: int = 4, *, seed: int = 0) -> Tensor:
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(seed))


@every_loss
def test_one_value_per_example_and_no_gradient_for_the_teacher(loss) -> None:
    student, teacher = _maps().requires_grad_(), _maps(seed=1).requires_grad_()
    values = loss(student, teacher)
    assert values.shape == (5,)
    assert (values > 0).all()
    values.sum().backward()
    assert student.grad is not None
    assert student.grad.isfinite().all()
    assert teacher.grad is None


@every_loss
def test_zero_at_agreement(loss) -> None:
    student = _maps().requires_grad_()
    values = loss(student, student.detach())
    assert_close(values, torch.zeros(5), atol=1e-6, rtol=0)
    values.sum().backward()
    assert student.grad is not None
    assert_close(student.grad, torch.zeros_like(student), atol=1e-5, rtol=0)


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_reduces_in_float32(loss, dtype: torch.dtype) -> None:
    student, teacher = _maps().to(dtype), _maps(seed=1).to(dtype)
    assert loss(student, teacher).dtype == torch.float32
    assert_close(loss(student, teacher), loss(student.float(), teacher.float()))


@every_loss
def test_gradient_is_that_of_the_value(loss) -> None:
    student, teacher = _maps(4, 2, 2).double(), _maps(4, 2, 2, seed=1).double()
    assert torch.autograd.gradcheck(lambda maps: loss(maps, teacher), (student.requires_grad_(),))


@every_loss
def test_what_is_refused(loss) -> None:
    with pytest.raises(ShapeMismatch, match="different batches"):
        loss(_maps(4), _maps(5))
    with pytest.raises(ShapeMismatch, match="no features"):
        loss(torch.zeros(4), torch.zeros(4))
    with pytest.raises(InvalidValue, match="floating-point"):
        loss(_maps().long(), _maps())


def test_hint_is_the_mean_over_elements() -> None:
    student, teacher = _maps(), _maps(seed=1)
    slow = [float(((student[i] - teacher[i]) ** 2).sum()) / student[i].numel() for i in range(5)]
    assert_close(hint_loss(student, teacher), tensor(slow))
    with pytest.raises(ShapeMismatch, match="element by element") as caught:
        hint_loss(_maps(), _maps(channels=2))
    assert "projection" in str(caught.value.remedy)


@pytest.mark.parametrize("power", [1.0, 2.0, 4.0])
def test_attention_written_out(power: float) -> None:
    student, teacher = _maps(2), _maps(2, channels=6, seed=1)

    def attention(maps: Tensor) -> Tensor:
        total = sum(maps[k].abs() ** power for k in range(len(maps)))
        assert isinstance(total, Tensor)
        return total / math.sqrt(float((total**2).sum()))

    slow = [float(((attention(student[i]) - attention(teacher[i])) ** 2).sum()) for i in range(2)]
    assert_close(attention_transfer_loss(student, teacher, power=power), tensor(slow))


def test_attention_of_a_finer_map_is_averaged() -> None:
    coarse = _maps(size=2)
    fine = coarse.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    for pair in ((coarse, fine), (fine, coarse)):
        assert_close(attention_transfer_loss(*pair), torch.zeros(5), atol=1e-6, rtol=0)


def test_attention_that_does_not_fit() -> None:
    with pytest.raises(ShapeMismatch, match="Neither of two maps is finer"):
        attention_transfer_loss(torch.ones(2, 1, 4, 2), torch.ones(2, 1, 2, 4))
    with pytest.raises(ShapeMismatch, match="over positions"):
        attention_transfer_loss(torch.ones(2, 8), torch.ones(2, 8))
    with pytest.raises(InvalidValue, match="power"):
        attention_transfer_loss(_maps(), _maps(), power=0.0)


def _huber(x: float) -> float:
    return x * x / 2 if abs(x) <= 1 else abs(x) - 0.5


def test_distances_written_out() -> None:
    student, teacher = _maps(), _maps(channels=7, seed=1)

    def distances(features: Tensor) -> dict[tuple[int, int], float]:
        raw = {(i, j): float((features[i] - features[j]).norm()) for i, j in itertools.permutations(range(5), 2)}
        mean = sum(raw.values()) / len(raw)
        return {pair: distance / mean for pair, distance in raw.items()}

    own, other = distances(student), distances(teacher)
    slow = [sum(_huber(own[i, j] - other[i, j]) for j in range(5) if j != i) / 4 for i in range(5)]
    assert_close(relational_distance_loss(student, teacher), tensor(slow))


def test_angles_written_out() -> None:
    student, teacher = _maps(), _maps(channels=7, seed=1)

    def cosine(features: Tensor, i: int, j: int, k: int) -> float:
        one, two = (features[i] - features[j]).flatten(), (features[k] - features[j]).flatten()
        return float(one @ two / (one.norm() * two.norm()))

    slow = []
    for j in range(5):
        pairs = list(itertools.permutations([i for i in range(5) if i != j], 2))
        gaps = [_huber(cosine(student, i, j, k) - cosine(teacher, i, j, k)) for i, k in pairs]
        slow.append(sum(gaps) / len(pairs))
    assert_close(relational_angle_loss(student, teacher), tensor(slow))


@pytest.mark.parametrize("loss", [relational_distance_loss, relational_angle_loss])
def test_relations_ignore_size_and_place(loss) -> None:
    student = _maps()
    assert_close(loss(student, 3 * student + 10), torch.zeros(5), atol=1e-5, rtol=0)


@pytest.mark.parametrize("loss", [relational_distance_loss, relational_angle_loss])
def test_examples_that_coincide_have_finite_gradients(loss) -> None:
    student = torch.zeros(4, 3, requires_grad=True)
    loss(student, _maps(4).flatten(1)).sum().backward()
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_relations_need_others() -> None:
    with pytest.raises(ShapeMismatch, match="too few examples"):
        relational_distance_loss(_maps(1), _maps(1))
    with pytest.raises(ShapeMismatch, match="too few examples"):
        relational_angle_loss(_maps(2), _maps(2))
