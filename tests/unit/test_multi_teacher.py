"""The losses of several teachers: each its own term; with one softmax the gradient of the arithmetic mean."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from limbeck.data import UNLABELLED, Batch, Samples
from limbeck.errors import InvalidValue, ShapeMismatch, TeacherError
from limbeck.models import multi_head_network
from limbeck.objectives import Distillation, MultiTeacher, count_valid
from limbeck.targets import DenseTargets
from limbeck.teachers import EnsembleTeacher, LogitsTeacher, ModuleTeacher, PooledTargets
from limbeck.training import Runtime, TrainConfig, fit

GENERATOR = torch.Generator().manual_seed(0)
STUDENT = torch.randn(6, 4, generator=GENERATOR)
HEADS = torch.randn(6, 3, 4, generator=GENERATOR)
TEACHERS = torch.randn(3, 6, 4, generator=GENERATOR) * 3
LABELS = torch.tensor([0, 1, UNLABELLED, 3, UNLABELLED, 2])


def batch(labels=LABELS, **mixup):
    return Batch(ids=torch.arange(len(labels)), inputs=torch.zeros(len(labels), 1), labels=labels, view=None, **mixup)


def pooled(weights=None, pooling="arithmetic", rows=slice(None)):
    return PooledTargets(tuple(DenseTargets(logits[rows]) for logits in TEACHERS), weights, pooling)


def slow_loss(outputs, shares, *, temperature, soft_weight, hard_weight):
    soft, hard, num_labelled = 0.0, 0.0, 0
    for b, y in enumerate(LABELS.tolist()):
        for k, share in enumerate(shares):
            z = outputs[b] if outputs.ndim == 2 else outputs[b, k]
            p, q = torch.softmax(TEACHERS[k, b] / temperature, 0), torch.softmax(z / temperature, 0)
            soft += share * temperature**2 * float((p * (p.log() - q.log())).sum())
            if y != UNLABELLED:
                hard -= float(torch.log_softmax(z, 0)[y]) / len(shares)
        num_labelled += y != UNLABELLED
    return soft_weight * soft / len(LABELS) + hard_weight * hard / num_labelled


@pytest.mark.parametrize("outputs", [STUDENT, HEADS], ids=["one softmax", "a head for each"])
@pytest.mark.parametrize(
    ("weights", "shares"), [(None, (1 / 3, 1 / 3, 1 / 3)), ((2.0, 1.0, 5.0), (0.25, 0.125, 0.625))]
)
@pytest.mark.parametrize("hard_weight", [0.0, 0.3])
def test_every_teacher_is_a_term_of_its_own(outputs, weights, shares, hard_weight):
    objective = MultiTeacher(temperature=4.0, hard_weight=hard_weight, soft_weight=0.7)
    parts = objective(outputs, pooled(weights), batch())
    expected = slow_loss(outputs, shares, temperature=4.0, soft_weight=0.7, hard_weight=hard_weight)
    assert parts.total.item() == pytest.approx(expected, rel=1e-5)
    assert tuple(parts.means) == objective.part_names
    assert not any(mean.requires_grad for mean in parts.means.values())


def gradient_and_value(objective, targets):
    student = STUDENT.clone().requires_grad_()
    loss = objective(student, targets, batch()).total
    loss.backward()
    return student.grad, loss.item()


@pytest.mark.parametrize("weights", [None, (2.0, 1.0, 5.0)])
@pytest.mark.parametrize("temperature", [1.0, 4.0, 20.0])
def test_with_one_softmax_the_gradient_is_that_of_the_arithmetic_mean(weights, temperature):
    settings = {"temperature": temperature, "hard_weight": 0.2, "soft_weight": 0.7}
    of_mean, value_of_mean = gradient_and_value(Distillation(**settings), pooled(weights))
    of_sum, value_of_sum = gradient_and_value(MultiTeacher(**settings), pooled(weights))
    assert_close(of_sum, of_mean, rtol=1e-4, atol=1e-6)
    assert value_of_sum > value_of_mean  # by the teachers' divergence from their mean
    of_geometric, _ = gradient_and_value(Distillation(**settings), pooled(weights, "geometric"))
    if temperature == 1.0:
        assert not torch.allclose(of_sum, of_geometric, rtol=0.01, atol=1e-3)


def test_one_teacher_is_plain_distillation():
    settings = {"temperature": 3.0, "hard_weight": 0.2}
    alone = DenseTargets(TEACHERS[0])
    for ours, plain in zip(
        *(gradient_and_value(o(**settings), alone) for o in (MultiTeacher, Distillation)), strict=True
    ):
        assert_close(ours, plain)


def test_parts_of_a_step_add_up_to_the_whole_step():
    objective = MultiTeacher(temperature=3.0, hard_weight=0.5)
    whole = objective(HEADS, pooled(), batch()).total
    counts = count_valid(batch())
    parts = [
        objective(HEADS[rows], pooled(rows=rows), batch(LABELS[rows]), counts=counts).total
        for rows in (slice(0, 2), slice(2, 6))
    ]
    assert_close(parts[0] + parts[1], whole)


def test_every_head_sees_both_labels_of_a_mixture():
    labels, partners, weight = torch.tensor([0, 1]), torch.tensor([2, 3]), torch.tensor([0.25, 0.5])
    mixed = batch(labels, partner_labels=partners, partner_weight=weight)
    outputs, targets = HEADS[:2], pooled(rows=slice(0, 2))
    hard = MultiTeacher(temperature=1.0, hard_weight=1.0)(outputs, targets, mixed).means["hard"]
    expected = torch.stack(
        [
            (1 - weight) * F.cross_entropy(outputs[:, k], labels, reduction="none")
            + weight * F.cross_entropy(outputs[:, k], partners, reduction="none")
            for k in range(3)
        ]
    )
    assert_close(hard, expected.mean())


def test_a_teacher_of_weight_0_takes_no_part():
    shares = [share for share, _ in pooled((1.0, 0.0, 3.0)).members()]
    assert shares == [0.25, 0.75]


def test_a_student_with_heads_learns_every_teacher_and_is_used_as_their_mean():
    inputs = torch.randn(40, 5, generator=GENERATOR)
    samples = Samples("toy", torch.arange(40), inputs, torch.full((40,), UNLABELLED), ("a", "b", "c"))
    teachers = [nn.Linear(5, 3) for _ in range(2)]
    for teacher, seed in zip(teachers, (1, 2), strict=True):
        nn.init.normal_(teacher.weight, std=1.0, generator=torch.Generator().manual_seed(seed))
    student = multi_head_network("mlp:widths=32", num_heads=2)(input_shape=(5,), num_classes=3)
    fit(
        student, samples, MultiTeacher(temperature=2.0, hard_weight=0.0), seed=0,
        recipe=TrainConfig(num_epochs=150, batch_size=8, learning_rate=0.1, weight_decay=0.0),
        teacher=EnsembleTeacher([ModuleTeacher(teacher) for teacher in teachers]),
        runtime=Runtime.resolve("cpu", "fp32"),
    )  # fmt: skip
    with torch.no_grad():
        apart = [torch.softmax(teacher(inputs), dim=1) for teacher in teachers]
        heads = torch.softmax(student.train()(inputs), dim=2)
        together = torch.softmax(student.eval()(inputs), dim=1)
    assert_close(heads[:, 0], apart[0], rtol=0, atol=0.05)
    assert_close(heads[:, 1], apart[1], rtol=0, atol=0.05)
    assert (apart[0] - apart[1]).abs().max() > 0.3
    assert_close(together, heads.mean(dim=1))


def test_what_cannot_be_is_refused():
    for wrong in ({"temperature": 0.0}, {"hard_weight": -0.1}, {"soft_weight": 0.0}):
        with pytest.raises(InvalidValue):
            MultiTeacher(**({"temperature": 1.0} | wrong))
    with pytest.raises(TeacherError, match="needs teachers"):
        MultiTeacher(temperature=1.0)(STUDENT, None, batch())
    with pytest.raises(ShapeMismatch, match=r"teachers \(6, 3, 4\), student \(6, 2, 4\)"):
        MultiTeacher(temperature=1.0)(HEADS[:, :2], pooled(), batch())
    with pytest.raises(ShapeMismatch, match=r"student \(6, 3\)"):
        MultiTeacher(temperature=1.0)(STUDENT[:, :3], pooled(), batch())
    with pytest.raises(InvalidValue, match="num_heads"):
        multi_head_network("mlp", num_heads=0)


def test_stored_members_are_terms_as_live_ones_are():
    stored = EnsembleTeacher([LogitsTeacher(logits) for logits in TEACHERS])(torch.arange(6), torch.zeros(6, 1))
    objective = MultiTeacher(temperature=4.0)
    assert_close(objective(STUDENT, stored, batch()).total, objective(STUDENT, pooled(), batch()).total)
