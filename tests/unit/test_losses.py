"""The losses against values derived by hand and slow loops. What all losses share is in tests/contracts."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, tensor
from torch.testing import assert_close

from limbeck.errors import InvalidValue, ShapeMismatch
from limbeck.losses import (
    entropy,
    hard_label_loss,
    js_divergence,
    kl_divergence,
    logit_matching_loss,
    soft_cross_entropy,
    soft_target_loss,
    tempered_log_softmax,
)

INF = math.inf
finite = st.floats(-30, 30)
pairs_of_logits = st.integers(2, 6).flatmap(
    lambda n: st.tuples(st.lists(finite, min_size=n, max_size=n), st.lists(finite, min_size=n, max_size=n))
)


def _normal(*shape: int, seed: int, scale: float = 3.0) -> Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _naive_softmax(logits: list[float], temperature: float) -> list[float]:
    weights = [math.exp((z - max(logits)) / temperature) for z in logits]
    return [weight / math.fsum(weights) for weight in weights]


def _naive_kl(p: list[float], q: list[float]) -> float:
    return math.fsum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def _gradient(student: Tensor, **teacher: object) -> Tensor:
    leaf = student.clone().requires_grad_()
    soft_target_loss(leaf, **teacher).sum().backward()  # type: ignore[arg-type]
    assert leaf.grad is not None
    return leaf.grad


class TestSoftTargetValue:
    def test_two_classes_match_closed_form(self) -> None:
        # Mirrored two-class KL is (p - q) log(p / q); here tanh(1/2). T² = 4.
        loss = soft_target_loss(tensor([[2.0, 0.0]]), tensor([[0.0, 2.0]]), temperature=2.0)
        assert_close(loss, tensor([4 * math.tanh(0.5)]))

    @given(pairs_of_logits, st.floats(0.5, 50))
    def test_matches_a_slow_loop(self, logits: tuple[list[float], list[float]], temperature: float) -> None:
        student, teacher = logits
        p, q = _naive_softmax(teacher, temperature), _naive_softmax(student, temperature)
        expected = temperature**2 * _naive_kl(p, q)
        args = tensor(student, dtype=torch.float64), tensor(teacher, dtype=torch.float64)
        assert soft_target_loss(*args, temperature=temperature).item() == pytest.approx(expected, rel=1e-9, abs=1e-9)
        ready = soft_target_loss(args[0], teacher_probs=tensor(p, dtype=torch.float64), temperature=temperature)
        assert ready.item() == pytest.approx(expected, rel=1e-9, abs=1e-9)

    @pytest.mark.parametrize("num_classes", [10, 1000, 14_000])
    @pytest.mark.parametrize("temperature", [1.0, 4.0, 20.0])
    def test_float32_is_accurate(self, num_classes: int, temperature: float) -> None:
        student, teacher = _normal(32, num_classes, seed=0), _normal(32, num_classes, seed=1)
        expected = soft_target_loss(student.double(), teacher.double(), temperature=temperature)
        loss = soft_target_loss(student, teacher, temperature=temperature)
        assert_close(loss.double(), expected, rtol=1e-5, atol=0)
        probs = torch.softmax(teacher.double() / temperature, dim=-1).float()
        ready = soft_target_loss(student, teacher_probs=probs, temperature=temperature)
        assert_close(ready.double(), expected, rtol=1e-5, atol=0)

    @pytest.mark.parametrize("distance", [1e-1, 1e-3, 1e-5])
    def test_near_distributions_keep_an_absolute_accuracy(self, distance: float) -> None:
        # The plain float32 formula is 1e-5 off here, at every distance.
        teacher = _normal(32, 14_000, seed=0)
        student = teacher + distance * _normal(32, 14_000, seed=1, scale=1.0)
        expected = soft_target_loss(student.double(), teacher.double(), temperature=4.0)
        assert_close(soft_target_loss(student, teacher, temperature=4.0).double(), expected, rtol=0, atol=2e-7)

    @pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0, 20.0])
    def test_exactly_zero_where_the_logits_are_equal(self, temperature: float) -> None:
        logits = _normal(300, 1000, seed=0)
        assert (soft_target_loss(logits, logits.clone(), temperature=temperature) == 0).all()
        assert (_gradient(logits, teacher_logits=logits.clone(), temperature=temperature) == 0).all()

    def test_exactly_zero_whatever_the_memory_layout(self) -> None:
        logits = _normal(50, 40, seed=0)
        transposed = logits.T.contiguous().T
        assert not transposed.is_contiguous()
        assert (soft_target_loss(transposed, logits, temperature=3.0) == 0).all()

    @given(st.integers(0, 10_000))
    @settings(max_examples=30)
    def test_never_negative(self, seed: int) -> None:
        teacher = _normal(64, 50, seed=seed)
        student = teacher + 1e-6 * _normal(64, 50, seed=seed + 1)
        assert (soft_target_loss(student, teacher, temperature=5.0) >= 0).all()

    def test_one_temperature_per_example(self) -> None:
        student, teacher = _normal(2, 3, 7, seed=0), _normal(2, 3, 7, seed=1)
        temperatures = tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
        loss = soft_target_loss(student, teacher, temperature=temperatures)
        for i, j in [(0, 0), (0, 2), (1, 1)]:
            alone = soft_target_loss(student[i, j], teacher[i, j], temperature=temperatures[i, j].item())
            assert_close(loss[i, j], alone)
        by_column = soft_target_loss(student, teacher, temperature=temperatures[0])
        assert_close(by_column[0], loss[0])

    def test_rows_in_blocks_give_what_rows_together_give(self, monkeypatch: pytest.MonkeyPatch) -> None:
        student, teacher = _normal(23, 50, seed=0), _normal(23, 50, seed=1)
        temperature = torch.linspace(1, 5, 23)
        together = soft_target_loss(student, teacher, temperature=temperature)
        gradient = _gradient(student, teacher_logits=teacher, temperature=temperature)
        monkeypatch.setattr("limbeck.losses._soft_target_pass.BLOCK_NUMBERS_PER_THREAD", 150)
        assert_close(soft_target_loss(student, teacher, temperature=temperature), together)
        assert_close(_gradient(student, teacher_logits=teacher, temperature=temperature), gradient)


class TestSoftTargetGradient:
    def test_is_t_times_difference_of_probabilities(self) -> None:
        student, teacher = _normal(8, 20, seed=0), _normal(8, 20, seed=1)
        q, p = torch.softmax(student / 3, dim=-1), torch.softmax(teacher / 3, dim=-1)
        assert_close(_gradient(student, teacher_logits=teacher, temperature=3.0), 3 * (q - p))
        assert_close(_gradient(student, teacher_probs=p, temperature=3.0), 3 * (q - p))

    def test_is_scaled_by_what_comes_from_above_each_example(self) -> None:
        student, teacher = _normal(4, 5, seed=0).requires_grad_(), _normal(4, 5, seed=1)
        weight = tensor([0.0, 1.0, -2.0, 0.5])
        (weight * soft_target_loss(student, teacher, temperature=2.0)).sum().backward()
        assert_close(
            student.grad, weight.unsqueeze(-1) * _gradient(student.detach(), teacher_logits=teacher, temperature=2.0)
        )

    def test_retained_graph_can_be_gone_through_again(self) -> None:
        student, teacher = _normal(4, 5, seed=0).requires_grad_(), _normal(4, 5, seed=1)
        loss = soft_target_loss(student, teacher, temperature=2.0).sum()
        (first,) = torch.autograd.grad(loss, student, retain_graph=True)
        kept = first.clone()
        (second,) = torch.autograd.grad(3 * loss, student)
        assert_close(first, kept)
        assert_close(second, 3 * kept)

    def test_cannot_be_differentiated_twice(self) -> None:
        student = _normal(4, 5, seed=0).requires_grad_()
        loss = soft_target_loss(student, _normal(4, 5, seed=1), temperature=2.0).sum()
        with pytest.raises(InvalidValue, match="cannot be differentiated again"):
            torch.autograd.grad(loss, student, create_graph=True)

    def test_teacher_receives_none(self) -> None:
        student, teacher = _normal(4, 5, seed=0).requires_grad_(), _normal(4, 5, seed=1).requires_grad_()
        soft_target_loss(student, teacher, temperature=2.0).sum().backward()
        assert teacher.grad is None
        assert student.grad is not None

    def test_value_without_autograd_is_the_same(self) -> None:
        student, teacher = _normal(4, 5, seed=0).requires_grad_(), _normal(4, 5, seed=1)
        with torch.no_grad():
            alone = soft_target_loss(student, teacher, temperature=2.0)
        assert not alone.requires_grad
        assert_close(alone, soft_target_loss(student, teacher, temperature=2.0).detach(), rtol=0, atol=0)

    def test_hot_limit_is_logit_matching(self) -> None:
        student, teacher = _normal(6, 10, seed=0), _normal(6, 10, seed=1)
        student, teacher = (x - x.mean(dim=-1, keepdim=True) for x in (student, teacher))
        hot = _gradient(student, teacher_logits=teacher, temperature=1e4)
        assert_close(hot, (student - teacher) / 10, rtol=2e-3, atol=2e-3)
        leaf = student.clone().requires_grad_()
        logit_matching_loss(leaf, teacher, centred=True).sum().backward()
        assert_close(leaf.grad, (student - teacher) / 10)
        value = soft_target_loss(student.double(), teacher.double(), temperature=1e4)
        assert_close(value.float(), logit_matching_loss(student, teacher, centred=True), rtol=2e-3, atol=0)


class TestSoftTargetEdges:
    def test_classes_of_no_teacher_probability_count_nothing(self) -> None:
        # p = (1, 0), q = (1/4, 3/4): KL = log 4, gradient q - p.
        student = tensor([[0.0, math.log(3)]])
        loss = soft_target_loss(student, teacher_probs=tensor([[1.0, 0.0]]), temperature=1.0)
        assert_close(loss, tensor([math.log(4)]))
        gradient = _gradient(student, teacher_probs=tensor([[1.0, 0.0]]), temperature=1.0)
        assert_close(gradient, tensor([[-0.75, 0.75]]))

    def test_probabilities_are_divided_by_their_sum(self) -> None:
        student, probs = _normal(4, 5, seed=0), torch.softmax(_normal(4, 5, seed=1), dim=-1)
        loss = soft_target_loss(student, teacher_probs=probs, temperature=2.0)
        assert_close(soft_target_loss(student, teacher_probs=0.99 * probs, temperature=2.0), loss)
        gradient = _gradient(student, teacher_probs=0.99 * probs, temperature=2.0)
        assert_close(gradient.sum(dim=-1), torch.zeros(4), atol=1e-6, rtol=0)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
    def test_teacher_may_have_another_dtype(self, dtype: torch.dtype) -> None:
        student, teacher = _normal(4, 5, seed=0), _normal(4, 5, seed=1).to(dtype)
        loss = soft_target_loss(student, teacher, temperature=2.0)
        assert loss.dtype == torch.float32
        assert_close(loss, soft_target_loss(student, teacher.float(), temperature=2.0))
        probs = torch.softmax(teacher, dim=-1)
        ready = soft_target_loss(student, teacher_probs=probs, temperature=2.0)
        assert ready.dtype == torch.float32
        assert_close(ready, soft_target_loss(student, teacher_probs=probs.float(), temperature=2.0))

    def test_class_excluded_by_both_is_left_out(self) -> None:
        student, teacher = _normal(4, 5, seed=0), _normal(4, 5, seed=1)
        excluded = torch.full((4, 1), -INF)
        wide = torch.cat([excluded, student], 1), torch.cat([excluded, teacher], 1)
        assert_close(soft_target_loss(*wide, temperature=2.0), soft_target_loss(student, teacher, temperature=2.0))
        gradient = _gradient(wide[0], teacher_logits=wide[1], temperature=2.0)
        assert (gradient[:, 0] == 0).all()
        assert_close(gradient[:, 1:], _gradient(student, teacher_logits=teacher, temperature=2.0))

    def test_class_excluded_by_the_teacher_alone(self) -> None:
        # p = (1/2, 1/2, 0), q = (1/3, 1/3, 1/3): KL = log(3/2).
        loss = soft_target_loss(torch.zeros(1, 3), tensor([[0.0, 0.0, -INF]]), temperature=1.0)
        assert_close(loss, tensor([math.log(1.5)]))

    def test_class_excluded_by_the_student_alone_is_infinitely_wrong(self) -> None:
        student, teacher = tensor([[0.0, -INF], [0.0, 0.0]]), torch.zeros(2, 2)
        assert soft_target_loss(student, teacher, temperature=2.0).tolist() == [INF, 0.0]
        gradient = _gradient(student, teacher_logits=teacher, temperature=2.0)
        assert_close(gradient, tensor([[1.0, -1.0], [0.0, 0.0]]))

    @pytest.mark.parametrize("bad", [math.nan, INF])
    @pytest.mark.parametrize("where", ["student", "teacher"])
    def test_nan_shows_in_its_row_alone(self, bad: float, where: str) -> None:
        student, teacher = _normal(3, 5, seed=0), _normal(3, 5, seed=1)
        (student if where == "student" else teacher)[1, 2] = bad
        assert soft_target_loss(student, teacher, temperature=2.0).isnan().tolist() == [False, True, False]

    def test_nothing_is_read_back_from_an_accelerator(self) -> None:
        # Tensors on the meta device have no values: to read one would raise.
        student = torch.empty(4, 5, device="meta", requires_grad=True)
        teacher, temperature = torch.empty(4, 5, device="meta"), torch.empty(4, device="meta")
        for said in ({"teacher_logits": teacher}, {"teacher_probs": teacher}):
            loss = soft_target_loss(student, temperature=temperature, **said)
            loss.sum().backward()
            assert loss.device.type == "meta"
        labels = torch.zeros(4, dtype=torch.long, device="meta")
        assert hard_label_loss(student, labels).shape == (4,)

    @pytest.mark.parametrize("temperature", [3.0, tensor([1.0, 2.0, 3.0, 4.0])], ids=["one", "many"])
    @pytest.mark.parametrize("probs", [False, True])
    def test_a_compiler_sees_the_same_loss(self, temperature: float | Tensor, probs: bool) -> None:
        student, teacher = _normal(4, 5, seed=0), _normal(4, 5, seed=1)
        said = {"teacher_probs": torch.softmax(teacher, -1)} if probs else {"teacher_logits": teacher}

        @torch.compile(backend="eager", fullgraph=True)
        def compiled(student: Tensor) -> Tensor:
            return soft_target_loss(student, temperature=temperature, **said)

        leaf = student.clone().requires_grad_()
        loss = compiled(leaf)
        loss.sum().backward()
        assert_close(loss, soft_target_loss(student, temperature=temperature, **said), check_stride=False)
        assert_close(leaf.grad, _gradient(student, temperature=temperature, **said))


class TestMistakes:
    @pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, INF])
    @pytest.mark.parametrize("as_tensor", [False, True])
    def test_temperature_must_be_above_zero(self, temperature: float, as_tensor: bool) -> None:
        logits = torch.zeros(2, 3)
        given = tensor([1.0, temperature]) if as_tensor else temperature
        with pytest.raises(InvalidValue, match="temperature") as caught:
            soft_target_loss(logits, logits, temperature=given)
        assert str(temperature) in str(caught.value)
        with pytest.raises(InvalidValue, match="temperature"):
            tempered_log_softmax(logits, temperature=given)
        with pytest.raises(InvalidValue, match="temperature"):
            soft_cross_entropy(logits, logits, temperature=given)

    @pytest.mark.parametrize("shape", [(3,), (2, 1), (2, 3)])
    def test_temperature_must_fit(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ShapeMismatch) as caught:
            soft_target_loss(torch.zeros(2, 3), torch.zeros(2, 3), temperature=torch.ones(shape))
        assert str(shape) in str(caught.value)
        assert "(2, 3)" in str(caught.value)

    def test_temperature_cannot_be_learned_through_soft_target_loss(self) -> None:
        with pytest.raises(InvalidValue, match="no gradient"):
            soft_target_loss(torch.zeros(2, 3), torch.zeros(2, 3), temperature=tensor(2.0, requires_grad=True))

    def test_teacher_is_given_once(self) -> None:
        logits = torch.zeros(2, 3)
        with pytest.raises(InvalidValue, match="neither"):
            soft_target_loss(logits, temperature=1.0)
        with pytest.raises(InvalidValue, match="both"):
            soft_target_loss(logits, logits, teacher_probs=logits, temperature=1.0)

    def test_logits_must_be_floating_point(self) -> None:
        whole = torch.zeros(2, 3, dtype=torch.long)
        with pytest.raises(InvalidValue, match="student_logits must hold floating-point"):
            soft_target_loss(whole, torch.zeros(2, 3), temperature=1.0)

    def test_devices_must_agree(self) -> None:
        with pytest.raises(InvalidValue, match="different devices") as caught:
            soft_target_loss(torch.zeros(2, 3), torch.zeros(2, 3, device="meta"), temperature=1.0)
        assert "cpu and meta" in str(caught.value)

    @pytest.mark.parametrize("label", [-2, 3, 100])
    def test_label_out_of_range_is_named(self, label: int) -> None:
        with pytest.raises(InvalidValue) as caught:
            hard_label_loss(torch.zeros(3, 3), tensor([0, label, -1]))
        assert f"received: {label}\n" in str(caught.value)
        assert "0 to 2" in str(caught.value)

    @pytest.mark.parametrize("labels", [tensor([0.0, 1.0]), tensor([True, False])])
    def test_labels_must_be_integers(self, labels: Tensor) -> None:
        with pytest.raises(InvalidValue, match="integers"):
            hard_label_loss(torch.zeros(2, 3), labels)

    @pytest.mark.parametrize("label_smoothing", [-0.1, 1.1, math.nan])
    def test_label_smoothing_is_a_fraction(self, label_smoothing: float) -> None:
        with pytest.raises(InvalidValue, match="label_smoothing"):
            hard_label_loss(torch.zeros(2, 3), tensor([0, 1]), label_smoothing=label_smoothing)


class TestTemperedLogSoftmax:
    @given(pairs_of_logits, st.floats(0.5, 50))
    def test_matches_a_slow_loop(self, logits: tuple[list[float], list[float]], temperature: float) -> None:
        expected = tensor(_naive_softmax(logits[0], temperature), dtype=torch.float64)
        log_probs = tempered_log_softmax(tensor(logits[0], dtype=torch.float64), temperature=temperature)
        assert_close(log_probs.exp(), expected)

    def test_passes_a_gradient_to_the_temperature(self) -> None:
        # d/dT log softmax(z / T)_0 at z = (1, 0), T = 1 is -(1 - q_0).
        temperature = tensor(1.0, requires_grad=True)
        tempered_log_softmax(tensor([1.0, 0.0]), temperature=temperature)[0].backward()
        assert_close(temperature.grad, tensor(-1 / (1 + math.e)))


class TestEntropy:
    def test_uniform_is_log_of_the_classes_and_certainty_is_zero(self) -> None:
        assert_close(entropy(torch.full((2, 8), 1 / 8).log()), torch.full((2,), math.log(8)))
        assert entropy(tensor([1.0, 0.0, 0.0]).log()).item() == 0

    def test_gradient_is_finite_beside_an_excluded_class(self) -> None:
        logits = tensor([1.0, 0.0, -INF], requires_grad=True)
        entropy(tempered_log_softmax(logits)).backward()
        assert logits.grad is not None
        assert logits.grad.isfinite().all()
        assert logits.grad[2] == 0


class TestDivergences:
    @given(pairs_of_logits)
    def test_kl_and_js_match_slow_loops(self, logits: tuple[list[float], list[float]]) -> None:
        p, q = (_naive_softmax(row, 1.0) for row in logits)
        middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
        log_p, log_q = (torch.log_softmax(tensor(row, dtype=torch.float64), dim=-1) for row in logits)
        assert kl_divergence(log_p, log_q).item() == pytest.approx(_naive_kl(p, q), abs=1e-9)
        expected = (_naive_kl(p, middle) + _naive_kl(q, middle)) / 2
        assert js_divergence(log_p, log_q).item() == pytest.approx(expected, abs=1e-9)
        assert_close(js_divergence(log_q, log_p), js_divergence(log_p, log_q))
        assert js_divergence(log_p, log_q).item() <= math.log(2) + 1e-9

    def test_order_of_arguments_reverses_kl(self) -> None:
        log_p, log_q = tensor([0.5, 0.5]).log(), tensor([0.9, 0.1]).log()
        assert kl_divergence(log_p, log_q).item() == pytest.approx(0.5 * math.log(25 / 9))
        assert kl_divergence(log_q, log_p).item() == pytest.approx(0.9 * math.log(1.8) + 0.1 * math.log(0.2))

    def test_excluded_classes(self) -> None:
        first, second = tensor([0.5, 0.5, 0.0]).log(), tensor([0.25, 0.75, 0.0]).log()
        assert kl_divergence(first, second).item() == pytest.approx(0.5 * math.log(4 / 3))
        assert kl_divergence(tensor([1.0, 0.0]).log(), tensor([0.5, 0.5]).log()).item() == pytest.approx(math.log(2))
        assert kl_divergence(tensor([0.5, 0.5]).log(), tensor([1.0, 0.0]).log()).item() == INF
        assert js_divergence(tensor([1.0, 0.0]).log(), tensor([0.0, 1.0]).log()).item() == pytest.approx(math.log(2))

    @pytest.mark.parametrize("divergence", [kl_divergence, js_divergence])
    def test_gradients_are_finite_beside_excluded_classes(self, divergence) -> None:
        first = tensor([0.3, 1.0, -INF, -INF], requires_grad=True)
        second = tensor([0.1, -1.0, 0.5, -INF], requires_grad=True)
        divergence(tempered_log_softmax(first), tempered_log_softmax(second)).backward()
        for logits in (first, second):
            assert logits.grad is not None
            assert logits.grad.isfinite().all()
            assert logits.grad[3] == 0


class TestSoftCrossEntropy:
    def test_is_kl_plus_entropy(self) -> None:
        student, teacher = _normal(6, 9, seed=0), _normal(6, 9, seed=1)
        log_p = tempered_log_softmax(teacher, temperature=2.0)
        expected = kl_divergence(log_p, tempered_log_softmax(student, temperature=2.0)) + entropy(log_p)
        assert_close(soft_cross_entropy(student, log_p.exp(), temperature=2.0), expected)

    def test_gradient_is_the_soft_target_gradient_without_t_squared(self) -> None:
        student, probs = _normal(6, 9, seed=0).requires_grad_(), torch.softmax(_normal(6, 9, seed=1), dim=-1)
        soft_cross_entropy(student, probs, temperature=3.0).sum().backward()
        assert student.grad is not None
        assert_close(9 * student.grad, _gradient(student.detach(), teacher_probs=probs, temperature=3.0))

    def test_zero_probability_of_an_excluded_class_counts_nothing(self) -> None:
        student = tensor([[0.0, 0.0, -INF]], requires_grad=True)
        loss = soft_cross_entropy(student, tensor([[1.0, 0.0, 0.0]]))
        assert_close(loss.detach(), tensor([math.log(2)]))
        loss.sum().backward()
        assert_close(student.grad, tensor([[-0.5, 0.5, 0.0]]))

    def test_target_receives_no_gradient(self) -> None:
        student, probs = torch.zeros(2, 3, requires_grad=True), torch.full((2, 3), 1 / 3, requires_grad=True)
        soft_cross_entropy(student, probs).sum().backward()
        assert probs.grad is None


class TestLogitMatching:
    def test_by_hand(self) -> None:
        # Differences 2 and 0: (4 + 0) / (2 * 2) raw; centred they are 1 and -1: (1 + 1) / (2 * 2).
        student, teacher = tensor([[3.0, 1.0]]), tensor([[1.0, 1.0]])
        assert_close(logit_matching_loss(student, teacher, centred=False), tensor([1.0]))
        assert_close(logit_matching_loss(student, teacher, centred=True), tensor([0.5]))

    def test_teacher_receives_no_gradient(self) -> None:
        student, teacher = torch.zeros(2, 3, requires_grad=True), torch.ones(2, 3, requires_grad=True)
        logit_matching_loss(student, teacher, centred=False).sum().backward()
        assert teacher.grad is None
        assert_close(student.grad, torch.full((2, 3), -1 / 3))


class TestHardLabel:
    @given(pairs_of_logits, st.integers(0, 5), st.floats(0, 1))
    def test_matches_a_slow_loop(
        self, logits: tuple[list[float], list[float]], label: int, label_smoothing: float
    ) -> None:
        row = logits[0]
        label %= len(row)
        surprise = [-math.log(q) for q in _naive_softmax(row, 1.0)]
        expected = (1 - label_smoothing) * surprise[label] + label_smoothing * math.fsum(surprise) / len(row)
        loss = hard_label_loss(tensor([row], dtype=torch.float64), tensor([label]), label_smoothing=label_smoothing)
        assert loss.item() == pytest.approx(expected, rel=1e-9, abs=1e-9)

    @pytest.mark.parametrize("num_classes", [3, 16, 17, 40])
    def test_further_axes_of_examples_change_nothing(self, num_classes: int) -> None:
        logits = _normal(2, 3, 5, num_classes, seed=1).requires_grad_()
        labels = torch.arange(30).reshape(2, 3, 5) % (num_classes + 1) - 1
        loss = hard_label_loss(logits, labels, label_smoothing=0.1)
        rows = hard_label_loss(logits.reshape(30, num_classes), labels.reshape(30), label_smoothing=0.1)
        assert_close(loss, rows.reshape(2, 3, 5))
        weights = _normal(2, 3, 5, seed=2)
        (own,) = torch.autograd.grad((loss * weights).sum(), logits)
        (flat,) = torch.autograd.grad((rows * weights.reshape(30)).sum(), logits)
        assert_close(own, flat)

    @pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
    @pytest.mark.parametrize("ignore_label", [-1, -100, 2])
    def test_ignored_example_has_no_loss_and_no_gradient(self, label_smoothing: float, ignore_label: int) -> None:
        logits, labels = _normal(2, 3, 4, seed=0).requires_grad_(), torch.zeros(2, 3, dtype=torch.long)
        labels[1] = ignore_label
        loss = hard_label_loss(logits, labels, label_smoothing=label_smoothing, ignore_label=ignore_label)
        loss.sum().backward()
        assert logits.grad is not None
        assert (loss[1] == 0).all()
        assert (logits.grad[1] == 0).all()
        assert (loss[0] > 0).all()
        assert (logits.grad[0] != 0).all()

    def test_any_integer_dtype(self) -> None:
        logits = _normal(3, 4, seed=0)
        expected = hard_label_loss(logits, tensor([0, 3, 1]))
        for dtype in (torch.uint8, torch.int16, torch.int32):
            assert_close(hard_label_loss(logits, tensor([0, 3, 1], dtype=dtype)), expected)
