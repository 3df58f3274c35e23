"""Section 6.1 of arXiv:1503.02531: hard labels for special classes, soft targets for the others, corrected by Bayes."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn, tensor
from torch.testing import assert_close

from limbeck.calibration import correct_dustbin
from limbeck.data import UNLABELLED, Batch
from limbeck.errors import InvalidValue, ShapeMismatch, TeacherError
from limbeck.models import FullSoftmaxSpecialist, fingerprint, logits_with_dustbin
from limbeck.objectives import HardLabels, HardSpecialSoftRest, count_valid
from limbeck.targets import DenseTargets

SPECIAL = (3, 1)
REST = [0, 2, 4]


def batch_of(labels: Tensor, **mixup: Tensor) -> Batch:
    return Batch(ids=torch.arange(len(labels)), inputs=torch.zeros(len(labels), 1), labels=labels, **mixup)


def random_logits(count: int, seed: int = 0) -> Tensor:
    return 2 * torch.randn(count, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_dustbin_has_the_mass_of_all_other_classes(dtype):
    logits = (3 * torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(0))).to(dtype)
    reduced = logits_with_dustbin(logits, SPECIAL)
    assert reduced.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    full = torch.softmax(logits.to(reduced.dtype), dim=-1)
    expected = torch.cat([full[..., [3, 1]], full[..., REST].sum(dim=-1, keepdim=True)], dim=-1)
    assert_close(torch.softmax(reduced, dim=-1), expected)


def test_the_dustbin_of_far_logits_is_finite():
    reduced = logits_with_dustbin(tensor([[-200.0, 0.0, -300.0, 5.0, -200.0]]), SPECIAL)
    assert_close(reduced, tensor([[5.0, 0.0, -200.0 + math.log(2)]]))


@pytest.mark.parametrize("special", [(), (0, 1, 2, 3, 4), (1, 1), (5,), (-1,)])
def test_sets_that_are_none_are_refused(special):
    with pytest.raises(InvalidValue, match="some of the classes"):
        logits_with_dustbin(torch.zeros(1, 5), special)


def test_a_specialist_answers_with_all_classes_while_it_learns_and_with_its_own_in_use():
    network = nn.Linear(4, 5)
    specialist = FullSoftmaxSpecialist(network, SPECIAL)
    inputs = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    assert_close(specialist.train()(inputs), network(inputs))
    assert_close(specialist.eval()(inputs), logits_with_dustbin(network(inputs), SPECIAL))
    assert fingerprint(specialist) != fingerprint(FullSoftmaxSpecialist(network, (1, 3)))


def slow(outputs: Tensor, teacher: Tensor, labels: list[int], *, temperature: float, weights: tuple[float, float]):
    """Return hard and soft mean, and the total, one sample after the other."""
    hard = soft = 0.0
    for z, v, label in zip(outputs, teacher, labels, strict=True):
        q = z.exp() / z.exp().sum()
        if label < len(SPECIAL):
            hard -= q[SPECIAL[label]].log()
            continue
        hard -= sum(q[c] for c in REST).log()
        own, guide = [(z[c] / temperature).exp() for c in REST], [(v[c] / temperature).exp() for c in REST]
        for mine, its in zip(own, guide, strict=True):
            p = its / sum(guide)
            soft += temperature**2 * p * (p / (mine / sum(own))).log()
    hard, soft = hard / len(labels), soft / len(labels)
    return hard, soft, weights[0] * hard + weights[1] * soft


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_value_and_gradient_match_the_slow_formula(temperature):
    labels = [2, 0, 2, 1, 2, 2, 1]
    outputs, teacher = random_logits(7).requires_grad_(), random_logits(7, seed=1)
    objective = HardSpecialSoftRest(SPECIAL, temperature=temperature, hard_weight=0.7, soft_weight=1.3)
    batch = batch_of(tensor(labels))
    hard, soft, total = slow(outputs, teacher, labels, temperature=temperature, weights=(0.7, 1.3))
    parts = objective(outputs, DenseTargets(teacher), batch)
    assert_close(parts.total, total, rtol=1e-6, atol=1e-6)
    assert_close(parts.means["hard"], hard.detach(), rtol=1e-6, atol=1e-6)
    assert_close(parts.means["soft"], soft.detach(), rtol=1e-6, atol=1e-6)
    (expected,) = torch.autograd.grad(total, outputs)
    values = objective.backward(outputs, DenseTargets(teacher), batch, counts=count_valid(batch))
    assert_close(outputs.grad, expected, rtol=1e-6, atol=1e-6)
    assert_close(values, torch.stack([total, soft, hard]).detach(), rtol=1e-6, atol=1e-6)


def test_at_temperature_1_it_is_the_cross_entropy_with_what_the_generalist_says_where_the_label_leaves_a_choice():
    outputs, teacher = random_logits(6).requires_grad_(), random_logits(6, seed=1)
    labels = tensor([2, 2, 0, 2, 1, 2])
    targets = torch.zeros(6, 5, dtype=torch.float64)
    for row, label in enumerate(labels.tolist()):
        if label < 2:
            targets[row, SPECIAL[label]] = 1
        else:
            targets[row, REST] = torch.softmax(teacher[row, REST], dim=0)
    (expected,) = torch.autograd.grad(-(targets * torch.log_softmax(outputs, dim=1)).sum() / 6, outputs)
    objective = HardSpecialSoftRest(SPECIAL, temperature=1.0)
    (gradient,) = torch.autograd.grad(objective(outputs, DenseTargets(teacher), batch_of(labels)).total, outputs)
    assert_close(gradient, expected, rtol=1e-6, atol=1e-7)


# Four signs (rows) and five classes: how many samples of each there are. Special: 3 and 1, 12 of 60.
COUNTS = tensor([[6, 2, 3, 4, 3], [2, 1, 8, 1, 5], [7, 1, 1, 1, 6], [1, 1, 3, 1, 3]])


@pytest.mark.parametrize(("temperature", "hard_weight", "soft_weight"), [(1.0, 1.0, 1.0), (4.0, 0.5, 2.0)])
def test_a_perfect_specialist_is_right_once_its_dustbin_is_corrected(temperature, hard_weight, soft_weight):
    # A network that is a table has the frequencies of its batches where its loss is least. Half of the batch is
    # special: each special sample stands there four times, 48 of 96. The generalist says anything.
    sign, label = zip(
        *[
            (sign, SPECIAL.index(c) if c in SPECIAL else 2)
            for sign in range(4)
            for c in range(5)
            for _ in range(int(COUNTS[sign, c]) * (4 if c in SPECIAL else 1))
        ],
        strict=True,
    )
    signs, batch, teacher = tensor(sign), batch_of(tensor(label)), random_logits(4, seed=2)
    assert float((batch.labels < 2).double().mean()) == 0.5
    objective = HardSpecialSoftRest(SPECIAL, temperature=temperature, hard_weight=hard_weight, soft_weight=soft_weight)
    table = torch.zeros(4, 5, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [table], max_iter=300, tolerance_grad=1e-12, tolerance_change=1e-15, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        total = objective(table[signs], DenseTargets(teacher[signs]), batch).total
        total.backward()
        return total

    optimiser.step(loss)
    learnt = logits_with_dustbin(table.detach(), SPECIAL)
    truth = torch.cat([COUNTS[:, [3, 1]], COUNTS[:, REST].sum(dim=1, keepdim=True)], dim=1).double()
    truth /= truth.sum(dim=1, keepdim=True)
    assert (torch.softmax(learnt, dim=1) - truth).abs().max() > 0.1
    corrected = correct_dustbin(learnt, special_prior=12 / 60)
    assert_close(torch.softmax(corrected, dim=1), truth, atol=1e-5, rtol=0)
    assert_close(
        torch.softmax(table.detach()[:, REST], dim=1), torch.softmax(teacher[:, REST], dim=1), atol=1e-5, rtol=0
    )


def test_parts_of_a_step_add_up_to_the_step():
    outputs, teacher = random_logits(8), random_logits(8, seed=1)
    labels = tensor([2, 0, 2, UNLABELLED, 1, 2, 2, 0])
    objective, whole = HardSpecialSoftRest(SPECIAL, temperature=2.0), batch_of(labels)
    total = objective(outputs, DenseTargets(teacher), whole).total
    counts = count_valid(whole)
    parts = [
        objective(outputs[a:b], DenseTargets(teacher[a:b]), whole.part(a, b), counts=counts).total
        for a, b in ((0, 3), (3, 8))
    ]
    assert_close(sum(parts), total)
    silent = outputs.clone().requires_grad_()
    objective(silent, DenseTargets(teacher), whole).total.backward()
    assert not silent.grad[3].any()


def test_mixup_takes_both_labels_by_their_weights():
    outputs, teacher = random_logits(3), DenseTargets(random_logits(3, seed=1))
    objective = HardSpecialSoftRest(SPECIAL, temperature=2.0)
    labels, partners, weight = tensor([2, 0, 1]), tensor([1, 2, 0]), tensor([0.25, 0.5, 0.75])
    mixed = objective(outputs, teacher, batch_of(labels, partner_labels=partners, partner_weight=weight))
    single = [
        [
            objective(outputs[row : row + 1], DenseTargets(teacher.logits[row : row + 1]), batch_of(one)).total
            for row, one in enumerate(given.split(1))
        ]
        for given in (labels, partners)
    ]
    own, others = (torch.stack(losses) for losses in single)
    assert_close(mixed.total, (own + weight * (others - own)).mean(), rtol=1e-6, atol=1e-6)


def test_one_class_outside_and_no_soft_weight_leave_the_labels_alone():
    outputs, labels = random_logits(4), tensor([4, 0, 3, 4])
    special = (0, 1, 2, 4)
    alone = HardSpecialSoftRest(special, temperature=2.0)(
        outputs, DenseTargets(random_logits(4, seed=1)), batch_of(labels)
    )
    assert alone.means["soft"] == 0
    plain = dataclasses.replace(HardSpecialSoftRest(special, temperature=2.0), soft_weight=0.0)
    assert (plain.needs_teacher, plain.part_names) == (False, ("hard",))
    hard = HardLabels()(logits_with_dustbin(outputs, special), None, batch_of(labels)).total
    assert_close(plain(outputs, None, batch_of(labels)).total, hard)
    assert_close(alone.total, hard)


def test_what_is_refused():
    for wrong in ({"temperature": 0.0}, {"hard_weight": 0.0}, {"soft_weight": -1.0}, {"special_classes": ()}):
        with pytest.raises(InvalidValue):
            HardSpecialSoftRest(**{"special_classes": SPECIAL, "temperature": 2.0, **wrong})
    objective, batch = HardSpecialSoftRest(SPECIAL, temperature=2.0), batch_of(tensor([0, 2]))
    with pytest.raises(TeacherError, match="HardSpecialSoftRest needs a teacher"):
        objective(random_logits(2), None, batch)
    with pytest.raises(ShapeMismatch, match="do not agree on the classes"):
        objective(random_logits(2), DenseTargets(torch.zeros(2, 4)), batch)
    with pytest.raises(InvalidValue, match="some of the classes"):
        HardSpecialSoftRest((7,), temperature=2.0)(random_logits(2), DenseTargets(random_logits(2)), batch)
