"""Every loss keeps the same promises. A new loss joins by adding one row to LOSSES."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from limbeck.errors import ShapeMismatch
from limbeck.losses import (
    DenseLogits,
    DenseProbs,
    SparseLogits,
    binary_hard_label_loss,
    binary_soft_target_loss,
    chunked_soft_target_loss,
    decoupled_loss,
    hard_label_loss,
    inter_class_correlation_loss,
    js_divergence,
    kl_divergence,
    logit_matching_loss,
    soft_cross_entropy,
    soft_target_loss,
    standardise_logits,
    tempered_log_softmax,
)
from limbeck.losses.chunked import ChunkTeacher


@dataclass(frozen=True)
class Row:
    """One loss as a function of the student's logits and of what the teacher or the data set says."""

    name: str
    loss: Callable[[Tensor, Tensor], Tensor]
    labels: bool = False  # the second argument holds class numbers instead of the teacher's logits
    divergence: bool = True  # zero, with a zero gradient, where the two logits are equal
    ignores_shift: bool = True  # a constant added to one example's logits changes nothing
    has_head: bool = False  # a linear layer is part of the loss, and runs in autocast's dtype


def _probs(logits: Tensor, temperature: float = 1.0) -> Tensor:
    return tempered_log_softmax(logits, temperature=temperature).exp()


def _likeliest(teacher_logits: Tensor) -> Tensor:
    """Labels for losses that need them beside the teacher; none where there are no classes."""
    return teacher_logits.argmax(dim=-1) if teacher_logits.shape[-1] else torch.zeros(teacher_logits.shape[:-1]).long()


def _temperatures(logits: Tensor) -> Tensor:
    return torch.full(logits.shape[:-1], 3.0)


def _chunked(z: Tensor, teacher: ChunkTeacher) -> Tensor:
    """The student's head is the identity, so that its features are its logits."""
    identity = torch.eye(z.shape[-1], dtype=z.dtype)
    return chunked_soft_target_loss(z, identity, teacher=teacher, temperature=2.0, chunk_rows=2)


def _all_classes(v: Tensor) -> SparseLogits:
    """The teacher's logits in a rotated order, and no mass for any other class."""
    ids = torch.arange(v.shape[-1]).roll(1).expand(v.shape)
    return SparseLogits(v.gather(-1, ids), ids, torch.full(v.shape[:-1], -torch.inf))


LOSSES = [
    Row("soft_target", lambda z, v: soft_target_loss(z, v, temperature=4.0)),
    Row("soft_target at T = 1", lambda z, v: soft_target_loss(z, v, temperature=1.0)),
    Row(
        "soft_target of probabilities",
        lambda z, v: soft_target_loss(z, teacher_probs=_probs(v, 4.0), temperature=4.0),
    ),
    Row("soft_target at many T", lambda z, v: soft_target_loss(z, v, temperature=_temperatures(z))),
    Row("chunked", lambda z, v: _chunked(z, DenseLogits(v)), has_head=True),
    Row("chunked, of probabilities", lambda z, v: _chunked(z, DenseProbs(_probs(v, 2.0))), has_head=True),
    Row("chunked, of a sparse teacher", lambda z, v: _chunked(z, _all_classes(v)), has_head=True),
    Row("logit_matching, centred", lambda z, v: logit_matching_loss(z, v, centred=True)),
    Row("logit_matching, raw", lambda z, v: logit_matching_loss(z, v, centred=False), ignores_shift=False),
    Row(
        "soft_cross_entropy",
        lambda z, v: soft_cross_entropy(z, _probs(v, 2.0), temperature=2.0),
        divergence=False,
    ),
    Row("kl from teacher", lambda z, v: kl_divergence(tempered_log_softmax(v), tempered_log_softmax(z))),
    Row("kl to teacher", lambda z, v: kl_divergence(tempered_log_softmax(z), tempered_log_softmax(v))),
    Row("js", lambda z, v: js_divergence(tempered_log_softmax(z), tempered_log_softmax(v))),
    Row(
        "decoupled",
        lambda z, v: decoupled_loss(z, v, _likeliest(v), temperature=4.0, target_weight=1.0, others_weight=2.0),
    ),
    Row("inter-class correlation", lambda z, v: inter_class_correlation_loss(z, v, temperature=4.0)),
    Row(
        "soft_target of standardised logits",
        lambda z, v: soft_target_loss(standardise_logits(z), standardise_logits(v), temperature=2.0),
    ),
    Row(
        "binary soft_target",
        lambda z, v: binary_soft_target_loss(z, v, temperature=4.0),
        ignores_shift=False,
    ),
    Row(
        "binary soft_target at many T",
        lambda z, v: binary_soft_target_loss(z, v, temperature=_temperatures(z)),
        ignores_shift=False,
    ),
    Row(
        "binary hard_label",
        lambda z, v: binary_hard_label_loss(z, (v > 0).to(z.dtype)),
        divergence=False,
        ignores_shift=False,
    ),
    Row("hard_label", hard_label_loss, labels=True, divergence=False),
    Row(
        "hard_label, smoothed",
        lambda z, y: hard_label_loss(z, y, label_smoothing=0.1),
        labels=True,
        divergence=False,
    ),
]

every_loss = pytest.mark.parametrize("row", LOSSES, ids=lambda row: row.name)


def _inputs(row: Row, *shape: int, dtype: torch.dtype = torch.float32, scale: float = 2.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    student = scale * torch.randn(*shape, generator=generator, dtype=torch.float64)
    teacher = scale * torch.randn(*shape, generator=generator, dtype=torch.float64)
    return student.to(dtype), teacher.argmax(dim=-1) if row.labels else teacher.to(dtype)


def _gradient(row: Row, student: Tensor, other: Tensor) -> Tensor:
    leaf = student.clone().requires_grad_()
    row.loss(leaf, other).sum().backward()
    assert leaf.grad is not None
    return leaf.grad


@every_loss
@pytest.mark.parametrize("leading", [(), (5,), (3, 4), (2, 3, 2), (0,)], ids=str)
def test_one_value_per_example(row: Row, leading: tuple[int, ...]) -> None:
    student, other = _inputs(row, *leading, 7)
    assert row.loss(student, other).shape == leading
    assert _gradient(row, student, other).shape == student.shape


@every_loss
def test_examples_do_not_touch_each_other(row: Row) -> None:
    student, other = _inputs(row, 3, 4, 7)
    alone = torch.stack([row.loss(student[i, j], other[i, j]) for i in range(3) for j in range(4)])
    assert_close(row.loss(student, other).flatten(), alone)


@every_loss
def test_gradient_of_an_example_does_not_depend_on_the_others(row: Row) -> None:
    student, other = _inputs(row, 6, 7)
    together = _gradient(row, student, other)
    alone = torch.stack([_gradient(row, student[i], other[i]) for i in range(6)])
    assert_close(together, alone)


@every_loss
def test_order_of_classes_does_not_matter(row: Row) -> None:
    student, other = _inputs(row, 6, 7)
    order = torch.tensor([3, 0, 6, 1, 5, 2, 4])
    renamed = order.argsort()[other] if row.labels else other[:, order]
    assert_close(row.loss(student[:, order], renamed), row.loss(student, other))


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_reduces_in_float32(row: Row, dtype: torch.dtype) -> None:
    student, other = _inputs(row, 6, 300, dtype=dtype)
    wide = other if row.labels else other.float()
    assert row.loss(student, other).dtype == torch.float32
    assert_close(row.loss(student, other), row.loss(student.float(), wide))
    gradient = _gradient(row, student, other)
    assert gradient.dtype == dtype
    assert_close(gradient, _gradient(row, student.float(), wide).to(dtype))


@pytest.mark.parametrize("row", [row for row in LOSSES if not row.has_head], ids=lambda row: row.name)
def test_autocast_changes_nothing(row: Row) -> None:
    student, other = _inputs(row, 6, 300)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = row.loss(student, other)
    assert loss.dtype == torch.float32
    assert_close(loss, row.loss(student, other))


@every_loss
def test_float64_stays_float64(row: Row) -> None:
    student, other = _inputs(row, 6, 7, dtype=torch.float64)
    assert row.loss(student, other).dtype == torch.float64


@every_loss
def test_finite_at_huge_gaps(row: Row) -> None:
    student, other = _inputs(row, 16, 7, scale=1e4)
    assert row.loss(student, other).isfinite().all()
    assert _gradient(row, student, other).isfinite().all()


@every_loss
def test_gradient_is_that_of_the_value(row: Row) -> None:
    student, other = _inputs(row, 3, 2, 5, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda z: row.loss(z, other), (student.requires_grad_(),))


@every_loss
def test_not_below_zero(row: Row) -> None:
    student, other = _inputs(row, 64, 30)
    near = student + 1e-4 * torch.randn(student.shape, generator=torch.Generator().manual_seed(1))
    for second in (other, student.argmax(dim=-1) if row.labels else near):
        assert (row.loss(student, second) > -1e-6).all()


@pytest.mark.parametrize("row", [row for row in LOSSES if row.divergence], ids=lambda row: row.name)
def test_divergence_is_zero_at_agreement_alone(row: Row) -> None:
    student, teacher = _inputs(row, 6, 50)
    assert_close(row.loss(student, student), torch.zeros(6), atol=1e-6, rtol=0)
    assert_close(_gradient(row, student, student), torch.zeros(6, 50), atol=1e-6, rtol=0)
    assert (row.loss(student, teacher) > 1e-2).all()


@pytest.mark.parametrize("row", [row for row in LOSSES if row.ignores_shift], ids=lambda row: row.name)
def test_shift_of_one_example_does_not_matter(row: Row) -> None:
    student, other = _inputs(row, 6, 7)
    shift = torch.linspace(-50, 50, 6).unsqueeze(-1)
    moved = other if row.labels else other - shift
    assert_close(row.loss(student + shift, moved), row.loss(student, other), atol=1e-4, rtol=1e-4)


@every_loss
def test_shape_mismatch_names_both_shapes(row: Row) -> None:
    student, other = _inputs(row, 4, 7)
    with pytest.raises(ShapeMismatch) as caught:
        row.loss(student, other[:3])
    assert "(4, 7)" in str(caught.value)
    assert str(tuple(other[:3].shape)) in str(caught.value)


@every_loss
def test_a_class_axis_is_required(row: Row) -> None:
    with pytest.raises(ShapeMismatch, match="classes"):
        row.loss(torch.zeros(3, 0), torch.zeros(3, dtype=torch.long) if row.labels else torch.zeros(3, 0))
