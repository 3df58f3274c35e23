"""A chunked head and loss give what the head and soft_target_loss give, for every form of teacher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from limbeck.errors import InvalidValue, ShapeMismatch
from limbeck.losses import soft_target_loss
from limbeck.losses._chunked_pass import MAX_CHUNK_ROWS, default_chunk_rows
from limbeck.losses.chunked import (
    ChunkTeacher,
    DenseLogits,
    DenseProbs,
    LowRankLogits,
    SparseLogits,
    chunked_soft_target_loss,
    chunked_soft_target_sum,
)

ROWS, FEATURES, CLASSES, T = 11, 5, 9, 2.0
Head = tuple[Tensor, Tensor, Tensor]


def _normal(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def _head(*leading: int, dtype: torch.dtype = torch.float64) -> Head:
    x = _normal(*leading or (ROWS,), FEATURES, seed=0, dtype=dtype)
    w, b = _normal(CLASSES, FEATURES, seed=1, dtype=dtype), _normal(CLASSES, seed=2, dtype=dtype)
    return x.requires_grad_(), w.requires_grad_(), b.requires_grad_()


def _ids(*leading: int, count: int) -> Tensor:
    first = torch.arange(torch.Size(leading).numel()).reshape(*leading, 1)
    return (3 * first + 2 * torch.arange(count)) % CLASSES


def _dense(*leading: int) -> tuple[ChunkTeacher, Tensor]:
    logits = 2 * _normal(*leading, CLASSES, seed=3)
    return DenseLogits(logits), logits


def _probs(*leading: int) -> tuple[ChunkTeacher, Tensor]:
    logits = 2 * _normal(*leading, CLASSES, seed=4)
    return DenseProbs(torch.softmax(logits / T, dim=-1)), logits


def _low_rank(*leading: int) -> tuple[ChunkTeacher, Tensor]:
    x, w, b = _normal(*leading, 3, seed=5), _normal(CLASSES, 3, seed=6), _normal(CLASSES, seed=7)
    return LowRankLogits(x, w, b), x @ w.T + b


def _corrected(*leading: int) -> tuple[ChunkTeacher, Tensor]:
    x, w = _normal(*leading, 3, seed=5), _normal(CLASSES, 3, seed=6)
    ids, corrections = _ids(*leading, count=2), _normal(*leading, 2, seed=8)
    return LowRankLogits(x, w, None, ids.int(), corrections), x @ w.T + torch.zeros(*leading, CLASSES).double().scatter(
        -1, ids, corrections
    )


def _sparse(*leading: int) -> tuple[ChunkTeacher, Tensor]:
    """The oracle writes each probability by hand: k known ones, and an equal share of the rest for the others."""
    ids, top = _ids(*leading, count=4), _normal(*leading, 4, seed=9)
    tail = _normal(*leading, seed=10)
    mass = (top / T).exp().sum(dim=-1) + tail.exp()
    each_other = tail.exp() / mass / (CLASSES - 4)
    probs = each_other.unsqueeze(-1).repeat_interleave(CLASSES, dim=-1)
    probs = probs.scatter(-1, ids, (top / T).exp() / mass.unsqueeze(-1))
    return SparseLogits(top, ids, tail), T * probs.log()


FORMS = {"logits": _dense, "probs": _probs, "low rank": _low_rank, "corrected": _corrected, "sparse": _sparse}
every_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
Form = Callable[..., tuple[ChunkTeacher, Tensor]]


def _plain(head: tuple[Tensor | None, ...], logits: Tensor, temperature: float | Tensor = T) -> Tensor:
    x, w, b = head
    assert x is not None
    assert w is not None
    scale = temperature.unsqueeze(-1) if isinstance(temperature, Tensor) else temperature
    log_q, p = F.log_softmax(F.linear(x, w, b) / scale, -1), F.softmax(logits / scale, -1)
    return temperature**2 * F.kl_div(log_q, p, reduction="none").sum(-1)


def _gradients(loss: Tensor, head: tuple[Tensor | None, ...]) -> list[Tensor]:
    return list(torch.autograd.grad(loss, [part for part in head if part is not None]))


@every_form
@pytest.mark.parametrize("leading", [(), (1,), (ROWS,), (2, 3), (2, 1, 4)], ids=str)
@pytest.mark.parametrize("chunk_rows", [1, 7, 100, None])
def test_loss_and_gradients_of_any_upstream_are_the_plain_ones(
    form: Form, leading: tuple[int, ...], chunk_rows: int | None
) -> None:
    teacher, logits = form(*leading)
    head = _head(*leading) if leading else (_head(1)[0].detach()[0].requires_grad_(), *_head()[1:])
    upstream = _normal(*leading, seed=11)
    loss = chunked_soft_target_loss(*head, teacher=teacher, temperature=T, chunk_rows=chunk_rows)
    total = chunked_soft_target_sum(*head, teacher=teacher, temperature=T, row_weights=upstream, chunk_rows=chunk_rows)
    expected = _plain(head, logits)
    assert_close(loss, expected)
    assert_close(total, (expected * upstream).sum())
    expected_gradients = _gradients((expected * upstream).sum(), head)
    assert_close(_gradients((loss * upstream).sum(), head), expected_gradients)
    assert_close(_gradients(3 * total, head), [3 * gradient for gradient in expected_gradients])


@every_form
def test_gradients_pass_the_numerical_check(form: Form) -> None:
    teacher, _ = form(4)
    head, weights = _head(4), _normal(4, seed=12).requires_grad_()
    options = {"teacher": teacher, "temperature": T, "chunk_rows": 3}
    assert torch.autograd.gradcheck(lambda *head: chunked_soft_target_loss(*head, **options), head)
    assert torch.autograd.gradcheck(
        lambda *given: chunked_soft_target_sum(*given[:3], **options, row_weights=given[3]), (*head, weights)
    )


@every_form
def test_float32_stays_near_float64(form: Form) -> None:
    teacher, logits = form(ROWS)
    wide, narrow = _head(), _head(dtype=torch.float32)
    to_float = {name: t.float() for name, t in teacher.tensors().items() if t.is_floating_point()}
    loss = chunked_soft_target_loss(*narrow, teacher=replace(teacher, **to_float), temperature=T, chunk_rows=4)
    assert loss.dtype == torch.float32
    assert_close(loss.double(), _plain(wide, logits), rtol=1e-4, atol=1e-5)
    for ours, exact in zip(_gradients(loss.mean(), narrow), _gradients(_plain(wide, logits).mean(), wide), strict=True):
        assert_close(ours.double(), exact, rtol=1e-4, atol=1e-6)


def test_no_bias() -> None:
    teacher, logits = _dense(ROWS)
    x, w, _ = _head()
    loss = chunked_soft_target_loss(x, w, teacher=teacher, temperature=T, chunk_rows=4)
    expected = _plain((x, w, None), logits)
    assert_close(loss, expected)
    assert_close(_gradients(loss.sum(), (x, w)), _gradients(expected.sum(), (x, w)))


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2), (1, 2)], ids=str)
def test_only_the_wanted_gradients_are_there(wanted: tuple[int, ...]) -> None:
    teacher, logits = _dense(ROWS)
    head = [part.detach().requires_grad_(i in wanted) for i, part in enumerate(_head())]
    chosen = [head[i] for i in wanted]
    expected = torch.autograd.grad(_plain(tuple(head), logits).mean(), chosen)
    chunked_soft_target_loss(*head, teacher=teacher, temperature=T, chunk_rows=4).mean().backward()
    assert_close([part.grad for part in chosen], list(expected))
    assert all(part.grad is None for i, part in enumerate(head) if i not in wanted)
    for part in chosen:
        part.grad = None
    chunked_soft_target_sum(*head, teacher=teacher, temperature=T, row_weights=1 / ROWS).backward()
    assert_close([part.grad for part in chosen], list(expected))
    assert all(part.grad is None for i, part in enumerate(head) if i not in wanted)


@every_form
def test_no_graph_where_none_is_wanted(form: Form) -> None:
    teacher, logits = form(ROWS)
    head = _head()
    with torch.no_grad():
        loss = chunked_soft_target_loss(*head, teacher=teacher, temperature=T)
        total = chunked_soft_target_sum(*head, teacher=teacher, temperature=T, row_weights=1.0)
    assert not loss.requires_grad
    assert not total.requires_grad
    assert_close(total, _plain(head, logits).sum())


def test_the_teacher_receives_no_gradient() -> None:
    x, w, b = (
        part.requires_grad_() for part in (_normal(ROWS, 3, seed=5), _normal(CLASSES, 3, seed=6), _normal(9, seed=7))
    )
    chunked_soft_target_loss(*_head(), teacher=LowRankLogits(x, w, b), temperature=T).sum().backward()
    assert x.grad is None
    assert w.grad is None
    assert b.grad is None


def test_strided_inputs() -> None:
    x, w, b = _head(4, 3)
    logits = _normal(3, CLASSES, 4, seed=3).permute(2, 0, 1)
    strided = (
        x.detach().transpose(0, 1).contiguous().transpose(0, 1).requires_grad_(),
        w.detach().T.contiguous().T.requires_grad_(),
        torch.stack([b.detach(), b.detach()], dim=1)[:, 0].requires_grad_(),
    )
    assert not any(part.is_contiguous() for part in (*strided, logits))
    loss = chunked_soft_target_loss(*strided, teacher=DenseLogits(logits), temperature=T, chunk_rows=5)
    expected = _plain((x, w, b), logits)
    assert_close(loss, expected)
    assert_close(_gradients(loss.mean(), strided), _gradients(expected.mean(), (x, w, b)))


@every_form
@pytest.mark.parametrize("leading", [(0,), (2, 0)], ids=str)
def test_no_examples(form: Form, leading: tuple[int, ...]) -> None:
    teacher, _ = form(*leading)
    head = _head(*leading)
    loss = chunked_soft_target_loss(*head, teacher=teacher, temperature=T)
    total = chunked_soft_target_sum(*head, teacher=teacher, temperature=T, row_weights=1.0)
    assert loss.shape == leading
    assert total == 0
    for result in (loss.sum(), total):
        for gradient, part in zip(_gradients(result, head), head, strict=True):
            assert_close(gradient, torch.zeros_like(part))


@pytest.mark.parametrize("form", [_dense, _low_rank], ids=["logits", "low rank"])
def test_one_temperature_per_example(form: Form) -> None:
    teacher, logits = form(2, 4)
    head, temperature = _head(2, 4), torch.linspace(0.5, 8, 8).double().reshape(2, 4)
    loss = chunked_soft_target_loss(*head, teacher=teacher, temperature=temperature, chunk_rows=3)
    expected = _plain(head, logits, temperature)
    assert_close(loss, expected)
    assert_close(_gradients(loss.mean(), head), _gradients(expected.mean(), head))


def test_sparse_tails_are_read_at_each_examples_temperature() -> None:
    logits = _normal(3, CLASSES, seed=3)
    logits[:, 4:] = logits[:, 4:5]  # a tail whose classes are equal is told without loss
    temperature = torch.tensor([0.5, 1.0, 8.0]).double()
    tail = torch.logsumexp(logits[:, 4:] / temperature[:, None], dim=1)
    teacher = SparseLogits(logits[:, :4], torch.arange(4).expand(3, 4), tail)
    loss = chunked_soft_target_loss(*_head(3), teacher=teacher, temperature=temperature, chunk_rows=2)
    assert_close(loss, _plain(_head(3), logits, temperature))


def test_sparse_teacher_without_a_tail_and_with_every_class() -> None:
    head, logits = _head(3), _normal(3, CLASSES, seed=3)
    none = torch.full((3,), -torch.inf).double()
    every = SparseLogits(logits, torch.arange(CLASSES).repeat(3, 1), none)
    assert_close(chunked_soft_target_loss(*head, teacher=every, temperature=T), _plain(head, logits))
    one = SparseLogits(torch.zeros(3, 1).double(), torch.tensor([[1], [8], [0]]), none)
    hard = T**2 * F.cross_entropy(F.linear(*head) / T, torch.tensor([1, 8, 0]), reduction="none")
    loss = chunked_soft_target_loss(*head, teacher=one, temperature=T)
    assert_close(loss, hard)
    assert_close(_gradients(loss.sum(), head), _gradients(hard.sum(), head))


def test_row_weights_receive_the_losses_as_gradient() -> None:
    teacher, logits = _dense(ROWS)
    head, weights = _head(), _normal(ROWS, seed=12).requires_grad_()
    chunked_soft_target_sum(*head, teacher=teacher, temperature=T, row_weights=weights).backward()
    assert_close(weights.grad, _plain(head, logits).detach())


def test_rows_of_weight_zero_do_not_count() -> None:
    teacher, _ = _dense(ROWS)
    head, keep = _head(), torch.arange(ROWS) < 6
    total = chunked_soft_target_sum(*head, teacher=teacher, temperature=T, row_weights=keep.double(), chunk_rows=4)
    fewer = (head[0].detach()[:6].requires_grad_(), *head[1:])
    alone = chunked_soft_target_loss(*fewer, teacher=DenseLogits(_dense(ROWS)[1][:6]), temperature=T).sum()
    assert_close(total, alone)
    ours, theirs = _gradients(total, head), _gradients(alone, fewer)
    assert_close(ours[0][:6], theirs[0])
    assert not ours[0][6:].any()
    assert_close(ours[1:], theirs[1:])


def test_retained_graphs_can_be_run_again() -> None:
    teacher, _ = _dense(ROWS)
    head = _head()
    for loss in (
        chunked_soft_target_loss(*head, teacher=teacher, temperature=T).sum(),
        chunked_soft_target_sum(*head, teacher=teacher, temperature=T, row_weights=1.0),
    ):
        once = torch.autograd.grad(loss, head, retain_graph=True)
        assert_close(torch.autograd.grad(loss, head), once)


def test_a_teacher_changed_before_the_backward_pass_is_noticed() -> None:
    teacher, logits = _dense(ROWS)
    loss = chunked_soft_target_loss(*_head(), teacher=teacher, temperature=T).sum()
    logits.add_(1)
    with pytest.raises(RuntimeError, match="inplace"):
        loss.backward()


def test_inputs_are_left_as_they_were() -> None:
    teacher, logits = _dense(ROWS)
    head = _head()
    given = [part.detach().clone() for part in (*head, logits)]
    chunked_soft_target_loss(*head, teacher=teacher, temperature=T).sum().backward()
    chunked_soft_target_sum(*head, teacher=teacher, temperature=T, row_weights=1.0).backward()
    assert all(torch.equal(part, before) for part, before in zip((*head, logits), given, strict=True))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("autocast", [False, True], ids=["half inputs", "autocast"])
def test_half_precision_accumulates_in_float32(dtype: torch.dtype, autocast: bool) -> None:
    head = _head(4096, dtype=torch.float32 if autocast else dtype)
    rounded = tuple(part.detach().to(dtype).double().requires_grad_() for part in head)
    logits = 2 * _normal(4096, CLASSES, seed=3)
    options = {"teacher": DenseLogits(logits), "temperature": T, "chunk_rows": 256}
    expected = _plain(rounded, logits).mean()
    exact = _gradients(expected, rounded)
    with torch.autocast("cpu", dtype=dtype, enabled=autocast):
        loss = chunked_soft_target_loss(*head, **options)
        total = chunked_soft_target_sum(*head, **options, row_weights=1 / 4096)
    assert loss.dtype == total.dtype == torch.float32
    eps = torch.finfo(dtype).eps
    for result in (loss.mean(), total):
        assert_close(result.double(), expected, rtol=2 * eps, atol=0)
        for ours, theirs, part in zip(_gradients(result, head), exact, head, strict=True):
            assert ours.dtype == part.dtype
            # The features' gradients are 1 / 4096 of a difference of probabilities: in float16, of few bits.
            tiny = torch.finfo(part.dtype).smallest_normal * torch.finfo(part.dtype).eps
            assert float((ours.double() - theirs).abs().max()) < 8 * eps * float(theirs.abs().max()) + tiny


def test_a_mean_over_many_rows_does_not_underflow_in_float16() -> None:
    x = torch.ones(4096, 1, dtype=torch.float16)
    w = torch.zeros(2, 1, dtype=torch.float16, requires_grad=True)
    teacher = DenseLogits(torch.tensor([[0.0, 2.0**-10]]).expand(4096, 2))
    (2.0**14 * chunked_soft_target_sum(x, w, teacher=teacher, temperature=1.0, row_weights=1 / 4096)).backward()
    assert w.grad is not None
    assert_close(w.grad, torch.tensor([[4.0], [-4.0]], dtype=torch.float16))  # 2^14 (q - p), p = 1/2 -+ 2^-12


@every_form
def test_zero_at_agreement(form: Form) -> None:
    teacher, logits = form(ROWS)
    x = logits.clone().requires_grad_()
    loss = chunked_soft_target_loss(x, torch.eye(CLASSES).double(), teacher=teacher, temperature=T)
    assert_close(loss, torch.zeros(ROWS).double(), atol=1e-12, rtol=0)
    assert_close(_gradients(loss.sum(), (x,))[0], torch.zeros_like(x), atol=1e-12, rtol=0)


def test_dense_teachers_give_what_soft_target_loss_gives() -> None:
    head, logits = _head(), _dense(ROWS)[1]
    student, probs = F.linear(*head), 7 * torch.softmax(logits / T, dim=-1)
    loss = chunked_soft_target_loss(*head, teacher=DenseProbs(probs), temperature=T, chunk_rows=2)
    assert_close(loss, soft_target_loss(student, teacher_probs=probs, temperature=T))
    loss = chunked_soft_target_loss(*head, teacher=DenseLogits(logits.half()), temperature=T, chunk_rows=2)
    assert_close(loss, soft_target_loss(student, logits.half(), temperature=T))


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's compiler does so
@pytest.mark.parametrize("function", [chunked_soft_target_loss, chunked_soft_target_sum])
def test_a_compiled_step_gives_the_same(function: Callable[..., Tensor]) -> None:
    options = {"row_weights": 1.0} if function is chunked_soft_target_sum else {}
    head, logits = _head(), _dense(ROWS)[1]

    def step(*head: Tensor) -> Tensor:
        return function(*head, teacher=DenseLogits(logits), temperature=T, chunk_rows=4, **options).sum()

    compiled = torch.compile(step, backend="eager")(*head)
    assert_close(compiled, step(*head))
    assert_close(_gradients(compiled, head), _gradients(step(*head), head))


def test_a_chunk_grows_as_the_classes_get_fewer() -> None:
    cpu = torch.device("cpu")
    sizes = [default_chunk_rows(cpu, num_classes) for num_classes in (10, 14_000, 100_000, 10**8)]
    assert sizes == [MAX_CHUNK_ROWS, 288, 32, 1]
    assert default_chunk_rows(torch.device("cuda"), 14_000) > 288


@pytest.mark.parametrize("function", [chunked_soft_target_loss, chunked_soft_target_sum])
def test_a_second_derivative_is_refused(function: Callable[..., Tensor]) -> None:
    options = {"row_weights": 1.0} if function is chunked_soft_target_sum else {}
    head = _head()
    loss = function(*head, teacher=_dense(ROWS)[0], temperature=T, **options).sum()
    with pytest.raises(InvalidValue, match="differentiated again"):
        torch.autograd.grad(loss, head, create_graph=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"features": torch.zeros(ROWS, FEATURES + 1)}, ["features (11, 6)", "weight (9, 5)"]),
        ({"features": torch.zeros(())}, ["features ()"]),
        ({"weight": torch.zeros(0, FEATURES)}, ["weight (0, 5)", "one class"]),
        ({"weight": torch.zeros(FEATURES)}, ["weight (5,)"]),
        ({"bias": torch.zeros(CLASSES + 1)}, ["bias (10,)"]),
        ({"teacher": DenseLogits(torch.zeros(ROWS - 1, CLASSES))}, ["(11, 9)", "(10, 9)"]),
        ({"teacher": DenseProbs(torch.zeros(ROWS, CLASSES + 1))}, ["(11, 9)", "(11, 10)"]),
        ({"teacher": LowRankLogits(torch.zeros(ROWS, 3), torch.zeros(CLASSES, 4))}, ["(11, 3)", "(11, 4)"]),
        ({"teacher": LowRankLogits(torch.zeros(ROWS, 3), torch.zeros(8, 3))}, ["(8, 3)", "(9, 3)"]),
        ({"teacher": LowRankLogits(torch.zeros(ROWS, 3), torch.zeros(9, 3), torch.zeros(3))}, ["(3,)", "(9,)"]),
        (
            {"teacher": SparseLogits(torch.zeros(ROWS, 10), torch.zeros(ROWS, 10).long(), torch.zeros(ROWS))},
            ["(11, 10)", "1 to 9 classes"],
        ),
        (
            {"teacher": SparseLogits(torch.zeros(ROWS, 2), torch.zeros(ROWS, 3).long(), torch.zeros(ROWS))},
            ["(11, 3)", "(11, 2)"],
        ),
        (
            {"teacher": SparseLogits(torch.zeros(ROWS, 2), torch.zeros(ROWS, 2).long(), torch.zeros(ROWS, 2))},
            ["(11, 2)", "(11,)"],
        ),
        ({"temperature": torch.ones(3)}, ["temperature (3,)"]),
        ({"row_weights": torch.ones(3)}, ["row_weights (3,)", "(11,)"]),
    ],
)
def test_shapes_that_do_not_fit_are_named(change: dict[str, object], words: list[str]) -> None:
    with pytest.raises(ShapeMismatch) as caught:
        _call(**change)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": torch.ones(ROWS, requires_grad=True)}, "temperature receives no gradient"),
        ({"chunk_rows": 0}, "chunk_rows"),
        ({"teacher": torch.zeros(ROWS, CLASSES)}, "DenseLogits"),
        ({"features": torch.zeros(ROWS, FEATURES, dtype=torch.int64)}, "features must hold floating-point"),
        ({"weight": torch.zeros(CLASSES, FEATURES).half()}, "torch.float16"),
        ({"teacher": DenseLogits(torch.zeros(ROWS, CLASSES, dtype=torch.int64))}, "floating-point"),
        ({"teacher": DenseLogits(torch.zeros(ROWS, CLASSES, device="meta"))}, "devices"),
        ({"weight": torch.zeros(CLASSES, FEATURES, device="meta")}, "devices"),
        ({"row_weights": torch.ones(ROWS, device="meta")}, "devices"),
        ({"teacher": SparseLogits(torch.zeros(11, 1), torch.full((11, 1), 9), torch.zeros(11))}, "received: 9"),
        ({"teacher": SparseLogits(torch.zeros(11, 1), torch.full((11, 1), -1), torch.zeros(11))}, "received: -1"),
        ({"teacher": SparseLogits(torch.zeros(11, 1), torch.zeros(11, 1), torch.zeros(11))}, "must be integers"),
        ({"teacher": LowRankLogits(torch.zeros(11, 1), torch.zeros(9, 1).half())}, "one dtype"),
        ({"teacher": LowRankLogits(torch.zeros(11, 1), torch.zeros(9, 1), corrections=torch.zeros(11, 1))}, "both"),
    ],
)
def test_mistakes(change: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidValue, match=words):
        _call(**change)


def _call(**change: object) -> None:
    options = {
        "features": torch.zeros(ROWS, FEATURES),
        "weight": torch.zeros(CLASSES, FEATURES),
        "bias": None,
        "teacher": DenseLogits(torch.zeros(ROWS, CLASSES)),
        "temperature": T,
        "row_weights": 1.0,
    }
    chunked_soft_target_sum(**(options | change))  # type: ignore[arg-type]
