"""Agreement and divergence between student and teacher."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.errors import InvalidValue, ShapeMismatch
from limbeck.metrics import logit_distance, mean_kl, rows, top1_agreement


def made(seed, num_samples=20, num_classes=5):
    generator = torch.Generator().manual_seed(seed)
    return (3 * torch.randn(num_samples, num_classes, generator=generator) for _ in range(2))


def slow_kl(teacher, student, temperature):
    total = 0.0
    for t, s in zip(teacher.tolist(), student.tolist(), strict=True):
        p, q = ([math.exp(value / temperature) for value in row] for row in (t, s))
        total += math.fsum(a / sum(p) * math.log((a / sum(p)) / (b / sum(q))) for a, b in zip(p, q, strict=True))
    return total / len(teacher)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**20), st.sampled_from([0.5, 1.0, 4.0, 20.0]))
def test_kl_matches_the_slow_way(seed, temperature):
    teacher, student = made(seed)
    assert mean_kl(teacher, student, temperature=temperature) == pytest.approx(
        slow_kl(teacher, student, temperature), abs=1e-12
    )


def test_kl_is_the_teachers_expectation():
    # p = (1, 0) nearly, q = (1/2, 1/2): KL(p || q) is log 2; the other way round it is about 20 / 2.
    teacher, student = torch.tensor([[20.0, 0.0]]), torch.tensor([[0.0, 0.0]])
    assert mean_kl(teacher, student) == pytest.approx(math.log(2), abs=1e-6)
    assert mean_kl(student, teacher) == pytest.approx(10 - math.log(2), abs=1e-6)


def slow_distance(student, reference):
    apart = size = 0.0
    for z, v in zip(student.tolist(), reference.tolist(), strict=True):
        for a, b in zip(z, v, strict=True):
            centred = b - sum(v) / len(v)
            apart += (a - sum(z) / len(z) - centred) ** 2
            size += centred**2
    return math.sqrt(apart / size)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**20), st.floats(-50, 50))
def test_distance_of_logits_matches_the_slow_way_and_ignores_constants(seed, constant):
    student, reference = made(seed)
    expected = slow_distance(student, reference)
    assert logit_distance(student, reference) == pytest.approx(expected, rel=1e-6)
    assert logit_distance(student + constant, reference - constant) == pytest.approx(expected, rel=1e-4)


def test_distance_is_0_at_agreement_and_1_for_a_student_that_says_nothing(monkeypatch):
    student, reference = made(1)
    whole = logit_distance(student, reference)
    monkeypatch.setattr(rows, "_CHUNK", 10)  # two rows at a time
    assert logit_distance(student, reference) == pytest.approx(whole)
    assert logit_distance(reference, reference) == 0.0
    assert logit_distance(torch.full_like(reference, 3.0), reference) == pytest.approx(1.0)


def test_logits_without_a_distance_are_refused():
    sure = torch.tensor([[0.0, -math.inf]])
    for student, reference in ((sure, sure), (sure, torch.tensor([[1.0, 2.0]]))):
        with pytest.raises(InvalidValue, match="no distance"):
            logit_distance(student, reference)
    with pytest.raises(InvalidValue, match="says nothing"):
        logit_distance(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 1.0]]))
    with pytest.raises(ShapeMismatch):
        logit_distance(torch.zeros(2, 3), torch.zeros(2, 4))


def test_kl_of_mirrored_logits_by_hand():
    # Mirrored two-class KL is (p - q) log(p / q) with log-odds 1 at T = 2: tanh(1 / 2). No factor T squared.
    kl = mean_kl(torch.tensor([[0.0, 2.0]]), torch.tensor([[2.0, 0.0]]), temperature=2.0)
    assert kl == pytest.approx(math.tanh(0.5))


@pytest.mark.parametrize("temperature", [0.1, 1.0, 100.0])
def test_kl_is_zero_at_agreement_and_blind_to_shifts(temperature):
    teacher, _ = made(0)
    shift = torch.arange(20.0, dtype=torch.float64).unsqueeze(1)
    assert mean_kl(teacher, teacher.clone(), temperature=temperature) == 0.0
    assert 0 <= mean_kl(teacher.double(), teacher + shift, temperature=temperature) < 1e-12


def test_kl_with_classes_ruled_out():
    ruled_out, plain = torch.tensor([[0.0, 0.0, -math.inf]]), torch.zeros(1, 3)
    assert mean_kl(ruled_out, plain) == pytest.approx(math.log(3 / 2))
    assert mean_kl(ruled_out, ruled_out) == 0.0
    assert mean_kl(plain, ruled_out) == math.inf
    nearly = torch.tensor([[0.0, 0.0, -2000.0]])  # its third probability is 0 even in double precision
    assert mean_kl(nearly, ruled_out) == 0.0


def test_kl_of_half_precision_with_large_gaps_is_finite():
    teacher, student = torch.tensor([[300.0, 0.0]]).half(), torch.tensor([[0.0, 300.0]]).half()
    assert mean_kl(teacher, student) == pytest.approx(300.0)


def test_agreement_counts_equal_predictions_with_ties_to_the_lowest_class():
    student = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.0, 2.0]])
    teacher = torch.tensor([[3.0, 0.0], [3.0, 0.0], [3.0, 0.0], [0.0, 9.0]])
    assert top1_agreement(student, teacher) == 0.75
    assert top1_agreement(teacher, student) == 0.75


def test_chunks_do_not_change_the_result(monkeypatch):
    teacher, student = made(1, num_samples=37)
    whole = mean_kl(teacher, student)
    monkeypatch.setattr(rows, "_CHUNK", 11)
    assert mean_kl(teacher, student) == pytest.approx(whole, abs=1e-14)


@pytest.mark.parametrize("measure", [top1_agreement, mean_kl])
def test_bad_inputs_are_named(measure):
    with pytest.raises(ShapeMismatch) as caught:
        measure(torch.zeros(2, 3), torch.zeros(2, 4))
    assert "(2, 3) and (2, 4)" in caught.value.received
    with pytest.raises(InvalidValue, match="no samples"):
        measure(torch.zeros(0, 3), torch.zeros(0, 3))
    with pytest.raises(InvalidValue, match="1 of 2 rows"):
        measure(torch.zeros(2, 1), torch.tensor([[0.0], [math.nan]]))


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_the_temperature_must_be_above_zero(temperature):
    with pytest.raises(InvalidValue, match="temperature"):
        mean_kl(torch.zeros(1, 2), torch.zeros(1, 2), temperature=temperature)
