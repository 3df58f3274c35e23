"""combine_specialists minimises equation 5 of arXiv:1503.02531, section 5.5, by two ways that agree."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from torch import Tensor, tensor
from torch.testing import assert_close

from limbeck.errors import InvalidValue, LimbeckError, NotConverged, ShapeMismatch, UnknownName
from limbeck.pooling import METHODS, active_specialists, class_set_numbers, combine_specialists
from limbeck.pooling.combination import Combination
from limbeck.pooling.newton import solve_dual
from limbeck.pooling.solving import _look, find_fixed_point

both_methods = pytest.mark.parametrize("method", METHODS)
INF = math.inf


def case(seed: int, *, scale: float, batch: int = 4) -> tuple[Tensor, list[Tensor], list[list[int]]]:
    """Return random logits, and sets of any size that may overlap."""
    generator = torch.Generator().manual_seed(seed)

    def whole(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (1,), generator=generator))

    def normal(*shape: int) -> Tensor:
        return scale * torch.randn(*shape, generator=generator, dtype=torch.float64)

    num_classes = whole(2, 9)
    sets = [
        torch.randperm(num_classes, generator=generator)[: whole(1, num_classes - 1)].tolist()
        for _ in range(whole(0, 5))
    ]
    return normal(batch, num_classes), [normal(batch, len(members) + 1) for members in sets], sets


def divergence_sum(
    q: Tensor, generalist: Tensor, specialists: list[Tensor], sets: list[list[int]], active: Tensor
) -> float:
    """Return the sum of equation 5 of one image, written slowly."""

    def divergence(p: Tensor, q: list[Tensor]) -> float:
        return sum(float(a * (a / b).log()) for a, b in zip(p, q, strict=True) if a > 0)

    total = divergence(torch.softmax(generalist, dim=0), list(q))
    for logits, members, is_active in zip(specialists, sets, active.tolist(), strict=True):
        if is_active:
            dustbin = sum((q[c] for c in range(len(q)) if c not in members), start=tensor(0.0, dtype=q.dtype))
            total += divergence(torch.softmax(logits, dim=0), [*(q[c] for c in members), dustbin])
    return total


@settings(deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.5, 1.0, 2.0, 3.0]), st.integers(1, 3))
def test_both_methods_agree(seed: int, scale: float, num_top_classes: int) -> None:
    generalist, specialists, sets = case(seed, scale=scale)
    n = min(num_top_classes, generalist.shape[1])
    fixed, descended = (
        combine_specialists(generalist, specialists, sets, num_top_classes=n, method=method, tolerance=1e-11).exp()
        for method in METHODS
    )
    assert_close(fixed, descended, atol=1e-4, rtol=0)
    assert_close(fixed.sum(dim=1), torch.ones(len(fixed), dtype=torch.float64))


@settings(deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1.0, 10.0, 30.0, 100.0]), st.sampled_from(METHODS))
@example(seed=0, scale=300.0, method="fixed_point")
def test_nothing_near_is_better(seed: int, scale: float, method: str) -> None:
    generalist, specialists, sets = case(seed, scale=scale, batch=2)
    active = active_specialists(generalist, sets)
    try:
        found = combine_specialists(generalist, specialists, sets, method=method, tolerance=1e-8)
    except NotConverged:
        return  # said, not hidden; how rarely is the next test's
    generator = torch.Generator().manual_seed(seed)
    for i in range(len(found)):
        rest = (generalist[i], [logits[i] for logits in specialists], sets, active[i])
        least = divergence_sum(found[i].exp(), *rest)
        for size in (1e-3, 0.1, 1.0):
            moved = found[i] + size * torch.randn(found.shape[1], generator=generator, dtype=torch.float64)
            assert divergence_sum(torch.softmax(moved, dim=0), *rest) >= least - 2e-8


def posed(seed: int, scale: float) -> tuple[Combination, Tensor]:
    """Return random minimisations, every specialist active, and distributions to begin with, far from the minimum."""
    generalist, specialists, sets = case(seed, scale=scale)
    said, count = torch.softmax(generalist, dim=1), len(sets)
    dustbins, outside = said.new_zeros(len(said), count), said.new_ones(count, said.shape[1])
    for k, (logits, members) in enumerate(zip(specialists, sets, strict=True)):
        probs = torch.softmax(logits, dim=1)
        said[:, members] += probs[:, :-1]
        dustbins[:, k] = probs[:, -1]
        outside[k, members] = 0.0
    start = torch.softmax(scale * torch.randn(said.shape, generator=torch.Generator().manual_seed(seed + 1)), dim=1)
    return Combination(said, dustbins, said.new_full((len(said), 1), 1.0 + count), outside), start.double()


@settings(deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1.0, 5.0]))
def test_a_step_of_the_fixed_point_never_raises_the_sum(seed: int, scale: float) -> None:
    problem, q = posed(seed, scale)
    q = q / q.sum(dim=1, keepdim=True)
    for _ in range(4):
        stepped = problem.step(q)
        assert_close(stepped.sum(dim=1), torch.ones(len(q), dtype=torch.float64))
        before, after = (problem.objective(p.log(), problem.pulls(p)[0]) for p in (q, stepped))
        assert bool((after <= before + 1e-12).all())
        q = stepped


@settings(deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1.0, 3.0]))
def test_the_bound_holds(seed: int, scale: float) -> None:
    problem, q = posed(seed, scale)
    q = q / q.sum(dim=1, keepdim=True)
    least, excess = find_fixed_point(problem, tolerance=1e-10, max_iterations=1000)
    assert bool((excess <= 1e-10).all())
    for p in (q, problem.step(q)):
        shares, pulls = problem.pulls(p)
        lead = problem.objective(p.log(), shares) - problem.objective(least.log(), problem.pulls(least)[0])
        assert bool((problem.excess(p, pulls) >= lead - 1e-9).all())


@settings(deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1.0, 3.0]))
def test_the_dual_has_the_same_solution(seed: int, scale: float) -> None:
    problem, _ = posed(seed, scale)
    assume(problem.dustbins.shape[1] > 0)
    q = solve_dual(problem)
    assert_close(q.sum(dim=1), torch.ones(len(q), dtype=torch.float64))
    assert_close(q, find_fixed_point(problem, tolerance=1e-11, max_iterations=1000)[0], atol=1e-4, rtol=0)
    assert bool((problem.excess(q, problem.pulls(q)[1]) < 1e-9).all())


@settings(deadline=None)
@given(st.integers(0, 10**6))
def test_the_gradient_in_z_is_that_of_the_sum(seed: int) -> None:
    problem, q = posed(seed, 1.0)
    z = q.log().requires_grad_()
    log_q = torch.log_softmax(z, dim=1)
    problem.objective(log_q, log_q.exp() @ problem.outside.T).sum().backward()
    assert_close(_look(problem, z.detach())[0], z.grad)


def test_extreme_logits_rarely_fail() -> None:
    assert sum(num_failed(seed, scale=30.0) for seed in range(40)) <= 1  # of 1000


def num_failed(seed: int, *, scale: float) -> int:
    try:
        combine_specialists(*case(seed, scale=scale, batch=25))
    except NotConverged as error:
        return int(error.fact.split()[0])
    return 0


def test_the_fixed_point_is_one() -> None:
    # q_c = (p^g_c + sum over k of p^k_S(c) q_c / q_S(c)) / (1 + |A|), for an image that concerns both specialists.
    generalist = tensor([[2.0, 1.0, 0.5, 0.0, -1.0]], dtype=torch.float64)
    specialists = [
        tensor([[1.0, 0.0, 2.0]], dtype=torch.float64),
        tensor([[0.0, 1.0, 0.5, 1.0]], dtype=torch.float64),
    ]
    sets = [[0, 1], [0, 2, 3]]
    q = combine_specialists(generalist, specialists, sets, tolerance=1e-12).exp()[0]
    p_g, p_1, p_2 = (torch.softmax(logits[0], dim=0) for logits in (generalist, *specialists))
    outside_1, outside_2 = q[2] + q[3] + q[4], q[1] + q[4]
    expected = [
        (p_g[0] + p_1[0] + p_2[0]) / 3,
        (p_g[1] + p_1[1] + p_2[3] * q[1] / outside_2) / 3,
        (p_g[2] + p_1[2] * q[2] / outside_1 + p_2[1]) / 3,
        (p_g[3] + p_1[2] * q[3] / outside_1 + p_2[2]) / 3,
        (p_g[4] + p_1[2] * q[4] / outside_1 + p_2[3] * q[4] / outside_2) / 3,
    ]
    assert_close(q, torch.stack(expected), atol=1e-7, rtol=0)


@both_methods
def test_without_an_active_specialist_the_generalist_stands_exactly(method: str) -> None:
    generalist = tensor([[3.0, 0.0, 1.0], [0.0, 3.0, -1.0]])
    specialist = tensor([[5.0, 0.0], [0.0, 0.0]])
    combined = combine_specialists(generalist, [specialist], [[1]], method=method)
    assert torch.equal(combined[0], torch.log_softmax(generalist[0].double(), dim=0).float())
    assert not torch.allclose(combined[1], torch.log_softmax(generalist[1], dim=0))
    assert_close(combine_specialists(generalist, [], [], method=method), torch.log_softmax(generalist, dim=1))


@both_methods
@pytest.mark.parametrize("scale", [1.0, 5.0, 100.0])
def test_one_specialist_has_a_closed_form(method: str, scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    generalist = scale * torch.randn(50, 6, generator=generator, dtype=torch.float64)
    generalist[:, 4] = generalist.amax(dim=1) + 1.0
    specialist = scale * torch.randn(50, 3, generator=generator, dtype=torch.float64)
    p, own = torch.softmax(generalist, dim=1), torch.softmax(specialist, dim=1)
    outside = [0, 2, 3, 5]
    expected = torch.empty_like(p)
    expected[:, [4, 1]] = (p[:, [4, 1]] + own[:, :2]) / 2
    within = torch.softmax(generalist[:, outside], dim=1)
    expected[:, outside] = (p[:, outside].sum(dim=1, keepdim=True) + own[:, 2:]) / 2 * within
    combined = combine_specialists(generalist, [specialist], [[4, 1]], method=method).exp()
    assert_close(combined, expected, atol=1e-9 if method == "fixed_point" else 1e-4, rtol=0)


@both_methods
def test_one_specialist_that_knows_all_but_one_class(method: str) -> None:
    # Every class is a class of its own for both: the plain mean of the two.
    generalist, specialist = tensor([[0.5, 0.3, 0.2]]), tensor([[0.1, 0.6, 0.3]])
    combined = combine_specialists(generalist.log(), [specialist.log()], [[0, 1]], method=method).exp()
    assert_close(combined, tensor([[0.3, 0.45, 0.25]]), atol=1e-5, rtol=0)


@both_methods
def test_equal_sets_are_the_mean_of_their_specialists(method: str) -> None:
    # By hand: inside (0.6 + 0.2 + 0.4) / 3; outside (0.4 + 0.8 + 0.6) / 3, shared 3 : 1 as the generalist does.
    generalist = tensor([[0.6, 0.3, 0.1]])
    first, second = tensor([[0.2, 0.8]]), tensor([[0.4, 0.6]])
    combined = combine_specialists(generalist.log(), [first.log(), second.log()], [[0], [0]], method=method).exp()
    assert_close(combined, tensor([[0.4, 0.45, 0.15]]), atol=1e-4, rtol=0)


@both_methods
def test_disjoint_specialists_for_two_top_classes(method: str) -> None:
    # Three classes, specialists for 0 and for 1. With q_2 = x: q_0 = (0.5 + 0.4 + t_2 q_0) / 3 where t_k = d_k / s_k.
    generalist, first, second = tensor([[0.5, 0.3, 0.2]]), tensor([[0.4, 0.6]]), tensor([[0.3, 0.7]])
    arguments = ([first.double().log(), second.double().log()], [[0], [1]])
    q = combine_specialists(generalist.double().log(), *arguments, num_top_classes=2, method=method, tolerance=1e-12)
    a, b, c = q.exp()[0].tolist()
    t_1, t_2 = 0.6 / (b + c), 0.7 / (a + c)
    assert [a, b, c] == pytest.approx([(0.9 + a * t_2) / 3, (0.6 + b * t_1) / 3, (0.2 + c * (t_1 + t_2)) / 3], abs=1e-5)


def test_images_with_different_active_sets_do_not_touch_each_other() -> None:
    generator = torch.Generator().manual_seed(3)
    sets = [[0, 1, 2], [2, 3, 4], [4, 2, 0]]
    generalist = 2 * torch.randn(60, 8, generator=generator)
    specialists = [2 * torch.randn(60, len(members) + 1, generator=generator) for members in sets]
    counts = active_specialists(generalist, sets, num_top_classes=2).sum(dim=1)
    assert counts.unique().tolist() == [0, 1, 2, 3]
    together = combine_specialists(generalist, specialists, sets, num_top_classes=2)
    for i in range(60):
        alone = combine_specialists(
            generalist[i : i + 1], [logits[i : i + 1] for logits in specialists], sets, num_top_classes=2
        )
        assert_close(together[i : i + 1], alone)


def test_many_chunks_are_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = case(11, scale=2.0, batch=30)
    whole = combine_specialists(*arguments)
    monkeypatch.setattr("limbeck.pooling.specialists._CHUNK", 10)
    assert_close(combine_specialists(*arguments), whole)


def test_temperature_softens_all_parts_and_leaves_the_active_ones() -> None:
    generalist, specialists, sets = case(7, scale=2.0)
    assert_close(
        combine_specialists(generalist, specialists, sets, temperature=4.0),
        combine_specialists(generalist / 4.0, [logits / 4.0 for logits in specialists], sets),
    )


def test_the_order_of_a_set_is_the_order_of_its_logits() -> None:
    generalist, specialist = tensor([[0.5, 0.3, 0.2]]).log(), tensor([[0.2, 0.6, 0.2]]).log()
    turned = combine_specialists(generalist, [specialist[:, [1, 0, 2]]], [[1, 0]])
    assert_close(turned, combine_specialists(generalist, [specialist], [[0, 1]]))
    named = combine_specialists(generalist, [specialist], [["cat", "dog"]], class_names=["cat", "dog", "car"])
    assert torch.equal(named, combine_specialists(generalist, [specialist], [[0, 1]]))


def test_a_constant_added_to_logits_changes_nothing() -> None:
    generalist, specialists, sets = case(7, scale=2.0)
    moved = [logits + 1000.0 for logits in specialists]
    assert_close(
        combine_specialists(generalist - 500.0, moved, sets), combine_specialists(generalist, specialists, sets)
    )


@both_methods
def test_certain_generalist_and_contradicting_specialist(method: str) -> None:
    # The generalist's other classes are at e^-200 and e^-201: the dustbin's half goes to them, 1 : 1/e.
    generalist, specialist = tensor([[200.0, 0.0, -1.0]]), tensor([[-50.0, 50.0]])
    combined = combine_specialists(generalist, [specialist], [[0]], method=method).exp()
    share = 0.5 / (1 + math.exp(-1))
    assert_close(combined, tensor([[0.5, share, 0.5 - share]]), atol=1e-4, rtol=0)


def test_classes_that_are_ruled_out() -> None:
    generalist, specialist = tensor([[0.0, -INF, -1.0]]), tensor([[1.0, 0.0, -INF]])
    combined = combine_specialists(generalist, [specialist], [[0, 1]])
    p, own = torch.softmax(generalist[0], dim=0), torch.softmax(specialist[0], dim=0)
    assert_close(combined.exp()[0], tensor([(p[0] + own[0]) / 2, own[1] / 2, p[2] / 2]), atol=1e-6, rtol=0)


def test_half_precision_and_float64() -> None:
    generalist, specialists, sets = case(7, scale=2.0)
    half = [logits.half() for logits in specialists]
    assert combine_specialists(generalist.half(), half, sets).dtype == torch.float32
    assert combine_specialists(generalist, half, sets).dtype == torch.float64
    expected = combine_specialists(generalist.half().double(), [logits.double() for logits in half], sets)
    assert_close(combine_specialists(generalist.half(), half, sets), expected.float())


def test_gives_no_gradient_and_changes_no_input() -> None:
    generalist, specialists, sets = case(7, scale=2.0)
    before = generalist.clone()
    assert not combine_specialists(generalist.requires_grad_(), specialists, sets).requires_grad
    assert torch.equal(generalist, before)


def test_no_images_are_no_outputs() -> None:
    assert combine_specialists(torch.zeros(0, 3), [torch.zeros(0, 2)], [[1]]).shape == (0, 3)


@both_methods
def test_what_did_not_converge_is_told(method: str) -> None:
    generalist, specialists, sets = case(1, scale=3.0, batch=40)
    assert active_specialists(generalist, sets).sum(dim=1).max() >= 2
    with pytest.raises(NotConverged, match=r"\d+ of 40 combinations did not converge in 1 iterations") as caught:
        combine_specialists(generalist, specialists, sets, max_iterations=1, method=method)
    assert "nats above the minimum; the first is row" in str(caught.value)
    assert "tolerance" in str(caught.value)


def test_top_classes() -> None:
    logits = tensor([[1.0, 1.0, 0.0, 2.0]])
    assert active_specialists(logits, [[3], [0], [1], [2]]).tolist() == [[True, False, False, False]]
    assert active_specialists(logits, [[3], [0], [1], [2]], num_top_classes=2).tolist() == [[True, True, False, False]]
    assert active_specialists(logits, [[2], [2, 1]], num_top_classes=4).tolist() == [[True, True]]


@pytest.mark.parametrize(
    ("sets", "kind", "words"),
    [
        ([[]], InvalidValue, "specialist 0 is empty"),
        ([[0, 1, 2]], InvalidValue, "holds every class"),
        ([[1, 1]], InvalidValue, "holds a class twice"),
        ([[3]], InvalidValue, "0 to 2"),
        ([[-1]], InvalidValue, "0 to 2"),
        ([["cat"]], InvalidValue, "class_names"),
        (["cat"], InvalidValue, "must be a list"),
        ([[0.5]], InvalidValue, "class numbers or names"),
        ([3], InvalidValue, "class numbers or names"),
        ([[0], [1]], ShapeMismatch, "2 sets for 1 specialists"),
        ([[0, 1]], ShapeMismatch, "2 classes and the dustbin"),
    ],
)
def test_sets_that_cannot_be(sets: list[list[int]], kind: type[LimbeckError], words: str) -> None:
    with pytest.raises(kind) as caught:
        combine_specialists(torch.zeros(2, 3), [torch.zeros(2, 2)], sets)
    assert words in str(caught.value)


def test_near_names_are_listed() -> None:
    with pytest.raises(UnknownName, match="did you mean leopard"):
        class_set_numbers([["leopart"]], num_classes=2, class_names=["leopard", "lorry"])
    with pytest.raises(InvalidValue, match="one name per class"):
        class_set_numbers([["leopard"]], num_classes=3, class_names=["leopard", "lorry"])
    with pytest.raises(InvalidValue, match="twice") as caught:
        class_set_numbers([["lorry", "lorry"]], num_classes=3, class_names=["leopard", "lorry", "cat"])
    assert "received: lorry" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_top_classes": 0}, "1 to 3"),
        ({"num_top_classes": 4}, "1 to 3"),
        ({"temperature": 0.0}, "temperature"),
        ({"tolerance": 0.0}, "tolerance of at least 1e-12"),
        ({"tolerance": math.nan}, "tolerance"),
        ({"max_iterations": 0}, "at least 1 iteration"),
        ({"method": "fixpoint"}, "did you mean fixed_point"),
    ],
)
def test_options_out_of_range(options: dict[str, object], words: str) -> None:
    with pytest.raises(LimbeckError) as caught:
        combine_specialists(torch.zeros(2, 3), [torch.zeros(2, 2)], [[1]], **options)
    assert words in str(caught.value)


def test_logits_that_cannot_be() -> None:
    fine = torch.zeros(2, 2)
    with pytest.raises(ShapeMismatch, match="must be a matrix"):
        combine_specialists(torch.zeros(3), [fine], [[1]])
    with pytest.raises(InvalidValue, match="floating-point"):
        combine_specialists(torch.zeros(2, 3, dtype=torch.long), [fine], [[1]])
    for bad in (math.nan, INF):
        with pytest.raises(InvalidValue, match="1 of 2 rows of generalist_logits have no softmax"):
            combine_specialists(tensor([[0.0, 0.0, 0.0], [0.0, bad, 0.0]]), [fine], [[1]])
    with pytest.raises(InvalidValue, match=r"specialist_logits\[0\] have no softmax"):
        combine_specialists(torch.zeros(2, 3), [torch.full((2, 2), -INF)], [[1]])
    with pytest.raises(InvalidValue, match="different devices"):
        combine_specialists(torch.zeros(2, 3), [torch.zeros(2, 2, device="meta")], [[1]])
