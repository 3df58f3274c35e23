"""correct_class_bias makes predicted classes as frequent as the priors, by probabilities or by counts."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from torch import Tensor, tensor
from torch.testing import assert_close

import limbeck
from limbeck.calibration import correct_class_bias
from limbeck.errors import InvalidValue, ShapeMismatch, UnknownName

INF = math.inf
seeds = st.integers(0, 10_000)


def _case(seed: int, *, num_samples: int = 60, num_classes: int = 4, scale: float = 3.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randn(num_samples, num_classes, generator=generator, dtype=torch.float64)
    lean = torch.randn(num_classes, generator=generator, dtype=torch.float64)
    priors = torch.rand(num_classes, generator=generator, dtype=torch.float64) + 0.1
    return scale * (draw + lean), priors / priors.sum()


def _mean_probs(logits: Tensor, offsets: Tensor) -> np.ndarray:
    """Average softmax(z + b) slowly."""
    total = np.zeros(logits.shape[1])
    for row in (logits.double() + offsets).numpy():
        exponentials = np.exp(row - row.max())
        total += exponentials / exponentials.sum()
    return total / len(logits)


def _counts(logits: Tensor, offsets: Tensor) -> list[int]:
    counts = [0] * logits.shape[1]
    for row in (logits.double() + offsets).tolist():
        counts[row.index(max(row))] += 1
    return counts


# Offsets that are known


def _gaussian_logits(old: list[float], new: list[float], num_samples: int) -> Tensor:
    """Posteriors under the old priors, of samples at even quantiles of each class's normal, mixed by the new priors."""
    classes = [NormalDist(mean, 1.0) for mean in (-1.0, 0.0, 1.5)]
    rows = []
    for share, normal in zip(new, classes, strict=True):
        count = round(share * num_samples)
        for k in range(count):
            x = normal.inv_cdf((k + 0.5) / count)
            rows.append([math.log(prior) + math.log(c.pdf(x)) for prior, c in zip(old, classes, strict=True)])
    return tensor(rows, dtype=torch.float64)


def test_offsets_for_shifted_gaussians_are_the_log_ratio_of_the_priors() -> None:
    old, new = [0.6, 0.39, 0.01], [0.2, 0.3, 0.5]
    logits = _gaussian_logits(old, new, 4000)
    expected = (tensor(new) / tensor(old)).double().log()
    assert_close(correct_class_bias(logits, priors=new), expected - expected.mean(), atol=2e-3, rtol=0)


def test_offset_of_one_class_where_only_its_frequency_changed() -> None:
    # The other two keep their proportion 6 : 3, so that one offset makes all three right.
    old, new = [0.66, 0.33, 0.01], [0.4, 0.2, 0.4]
    logits = _gaussian_logits(old, new, 4000)
    exact = math.log((0.4 / 0.01) / (0.4 / 0.66))
    offsets = correct_class_bias(logits, priors=new, classes=[2])
    assert_close(offsets, tensor([0.0, 0.0, exact], dtype=torch.float64), atol=5e-3, rtol=0)
    assert_close(torch.from_numpy(_mean_probs(logits, offsets)), tensor(new).double(), atol=1e-3, rtol=0)


def test_exact_on_a_discrete_world() -> None:
    # p(sign | class): rows are signs. 1000 samples hold each sign exactly as often as the new priors say.
    signs_by_class = tensor([[0.7, 0.1, 0.2], [0.2, 0.8, 0.2], [0.1, 0.1, 0.6]], dtype=torch.float64)
    old, new = tensor([0.8, 0.15, 0.05]).double(), tensor([0.1, 0.4, 0.5]).double()
    counts = (1000 * signs_by_class @ new).round().long()
    assert counts.tolist() == [210, 440, 350]
    logits = (signs_by_class * old).log().repeat_interleave(counts, dim=0)
    expected = (new / old).log()
    assert_close(correct_class_bias(logits, priors=new), expected - expected.mean(), atol=1e-7, rtol=0)


# Matching of probabilities


@given(seed=seeds, scale=st.sampled_from([0.01, 1.0, 10.0, 100.0, 1000.0]))
@example(seed=281, scale=100.0)  # a class that no sample is unsure of: no curvature in floating point
@example(seed=0, scale=1000.0)
@settings(max_examples=40, deadline=None)
def test_mean_probabilities_match_the_priors(seed: int, scale: float) -> None:
    logits, priors = _case(seed, scale=scale)
    offsets = correct_class_bias(logits, priors=priors)
    np.testing.assert_allclose(_mean_probs(logits, offsets), priors.numpy(), rtol=1e-6)
    assert abs(float(offsets.mean())) < 1e-9 * max(1.0, scale)


@given(seed=seeds)
@settings(max_examples=20, deadline=None)
def test_chosen_classes_match_and_the_others_stay(seed: int) -> None:
    logits, priors = _case(seed)
    offsets = correct_class_bias(logits, priors=priors, classes=[3, 1])
    assert offsets[[0, 2]].tolist() == [0.0, 0.0]
    np.testing.assert_allclose(_mean_probs(logits, offsets)[[1, 3]], priors[[1, 3]].numpy(), rtol=1e-6)


@pytest.mark.parametrize(("classes", "shared"), [([2], False), ([0, 3], True), ([1], True)])
def test_one_offset_equals_a_root_found_by_bracketing(classes: list[int], shared: bool) -> None:
    logits, priors = _case(5)

    def surplus(offset: float) -> float:
        offsets = torch.zeros(4, dtype=torch.float64)
        offsets[classes] = offset
        return float(_mean_probs(logits, offsets)[classes].sum() - priors[classes].sum())

    expected = torch.zeros(4, dtype=torch.float64)
    expected[classes] = brentq(surplus, -50, 50, xtol=1e-12)
    assert_close(correct_class_bias(logits, priors=priors, classes=classes, shared=shared), expected, atol=1e-7, rtol=0)


def test_leaving_out_one_class_only_fixes_the_constant() -> None:
    logits, priors = _case(3)
    every = correct_class_bias(logits, priors=priors)
    assert_close(correct_class_bias(logits, priors=priors, classes=[0, 1, 3]), every - every[2], atol=1e-7, rtol=0)


@given(seed=seeds, constant=st.floats(-1000, 1000))
@settings(max_examples=20, deadline=None)
def test_a_constant_per_sample_changes_nothing(seed: int, constant: float) -> None:
    logits, priors = _case(seed)
    shifts = constant * torch.rand(len(logits), 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert_close(
        correct_class_bias(logits + shifts, priors=priors), correct_class_bias(logits, priors=priors), atol=1e-6, rtol=0
    )


@given(seed=seeds)
@settings(max_examples=20, deadline=None)
def test_renaming_classes_renames_offsets(seed: int) -> None:
    logits, priors = _case(seed)
    order = torch.randperm(4, generator=torch.Generator().manual_seed(seed))
    for classes in (None, [2]):
        renamed = None if classes is None else [int((order == 2).nonzero())]
        offsets = correct_class_bias(logits[:, order], priors=priors[order], classes=renamed)
        assert_close(offsets, correct_class_bias(logits, priors=priors, classes=classes)[order], atol=1e-6, rtol=0)


def test_a_bias_that_is_there_already_is_taken_back() -> None:
    logits, priors = _case(8)
    bias = tensor([5.0, -7.6, 0.0, 2.6], dtype=torch.float64)  # of mean 0
    expected = correct_class_bias(logits, priors=priors) - bias
    assert_close(correct_class_bias(logits + bias, priors=priors), expected, atol=1e-6, rtol=0)


def test_plateaus_of_a_sure_network_are_crossed() -> None:
    # 100 samples a class, sure by 50 nats; a tenth of class 1 must go to class 0, across a gap without any sample.
    logits = 50 * torch.eye(2, dtype=torch.float64).repeat_interleave(100, dim=0)
    logits = logits + torch.randn(200, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    offsets = correct_class_bias(logits, priors=[0.55, 0.45], classes=[0])
    np.testing.assert_allclose(_mean_probs(logits, offsets), [0.55, 0.45], rtol=1e-6)
    assert 45 < offsets[0] < 55


def test_more_classes_than_samples() -> None:
    logits, priors = _case(0, num_samples=30, num_classes=500)
    np.testing.assert_allclose(_mean_probs(logits, correct_class_bias(logits, priors=priors)), priors, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_is_reduced_in_float64(dtype: torch.dtype) -> None:
    logits, priors = _case(1)
    offsets = correct_class_bias(logits.to(dtype).requires_grad_(), priors=priors)
    assert offsets.dtype == torch.float64
    assert not offsets.requires_grad
    assert_close(offsets, correct_class_bias(logits.to(dtype).double(), priors=priors))


# Matching of counts


@given(seed=seeds, classes=st.sampled_from([([2], False), ([0, 3], True), ([0, 1, 2], True)]))
@settings(max_examples=40, deadline=None)
def test_one_offset_gives_the_count_exactly(seed: int, classes: tuple[list[int], bool]) -> None:
    logits, priors = _case(seed)
    chosen, shared = classes
    offsets = correct_class_bias(logits, priors=priors, classes=chosen, shared=shared, frequencies="argmax")
    assert sum(_counts(logits, offsets)[c] for c in chosen) == round(60 * float(priors[chosen].sum()))
    assert offsets[[c for c in range(4) if c not in chosen]].count_nonzero() == 0


def test_one_offset_is_the_middle_of_its_interval() -> None:
    # Class 1 lacks 1, 3, 4 and 9: half of the samples are its own from 3 to 4.
    logits = tensor([[1.0, 0.0], [9.0, 0.0], [2.0, -1.0], [4.0, 0.0]])
    offsets = correct_class_bias(logits, priors=[0.5, 0.5], classes=[1], frequencies="argmax")
    assert offsets.tolist() == [0.0, 3.5]


@given(seed=seeds, scale=st.sampled_from([1e-3, 1.0, 100.0]))
@settings(max_examples=25, deadline=None)
def test_several_offsets_give_the_counts_within_one_sample(seed: int, scale: float) -> None:
    logits, priors = _case(seed, scale=scale, num_samples=100)
    for classes in (None, [0, 2]):
        offsets = correct_class_bias(logits, priors=priors, classes=classes, frequencies="argmax")
        for number in range(4) if classes is None else classes:
            assert abs(_counts(logits, offsets)[number] - 100 * float(priors[number])) <= 2  # rounded, then off by one


def test_counts_do_not_care_how_sure_the_network_is() -> None:
    logits, priors = _case(2)
    offsets = correct_class_bias(logits, priors=priors, classes=[1], frequencies="argmax")
    assert_close(correct_class_bias(4 * logits, priors=priors, classes=[1], frequencies="argmax"), 4 * offsets)


def test_ties_that_no_offset_parts() -> None:
    alike = tensor([[1.0, 0.0, 0.0]]).repeat(50, 1)
    for classes in ([1], None):
        with pytest.raises(InvalidValue, match="as frequent as the priors") as caught:
            correct_class_bias(alike, priors=[0.4, 0.3, 0.3], classes=classes, frequencies="argmax")
        assert "tie" in str(caught.value.received)
    # The mean of probabilities can be had all the same.
    offsets = correct_class_bias(alike, priors=[0.4, 0.3, 0.3])
    np.testing.assert_allclose(_mean_probs(alike, offsets), [0.4, 0.3, 0.3], rtol=1e-6)


def test_one_tied_pair_leaves_the_count_off_by_one() -> None:
    # Class 1 lacks 1, 2, 2 and 4. Two samples cannot be had; one and three can, equally near.
    logits = tensor([[1.0, 0.0], [2.0, 0.0], [2.0, 0.0], [4.0, 0.0]])
    offsets = correct_class_bias(logits, priors=[0.5, 0.5], classes=[1], frequencies="argmax")
    assert _counts(logits, offsets)[1] in (1, 3)


def test_too_few_samples_to_count() -> None:
    with pytest.raises(InvalidValue, match="too few samples") as caught:
        correct_class_bias(torch.eye(3), priors=[0.05, 0.05, 0.9], frequencies="argmax")
    assert "3 samples, of which class " in str(caught.value.received)
    assert "probabilities" in str(caught.value.remedy)


# Classes ruled out


def test_a_class_ruled_out_for_some_samples_can_be_matched_among_the_others() -> None:
    logits, _ = _case(4, num_classes=3)
    logits[:40, 2] = -INF
    priors = [0.5, 0.3, 0.2]
    for classes in (None, [2]):
        offsets = correct_class_bias(logits, priors=priors, classes=classes)
        assert math.isclose(_mean_probs(logits, offsets)[2], 0.2, rel_tol=1e-6)


@pytest.mark.parametrize("frequencies", ["probabilities", "argmax"])
@pytest.mark.parametrize("num_ruled_out", [60, 50])
def test_a_class_ruled_out_too_often_cannot(frequencies: str, num_ruled_out: int) -> None:
    logits, _ = _case(4, num_classes=3)
    logits[:num_ruled_out, 2] = -INF
    with pytest.raises(InvalidValue, match="No offsets") as caught:
        correct_class_bias(logits, priors=[0.5, 0.3, 0.2], frequencies=frequencies)  # type: ignore[arg-type]
    assert "0.2 for class 2" in str(caught.value.received)
    assert "-inf" in str(caught.value.remedy)


def test_two_sets_of_samples_that_share_no_class() -> None:
    # Half of the samples are of classes 0 and 1, whose priors sum to 0.6: each class alone could be matched.
    logits, _ = _case(4)
    logits[:30, 2:], logits[30:, :2] = -INF, -INF
    with pytest.raises(InvalidValue, match="No offsets"):
        correct_class_bias(logits, priors=[0.3, 0.3, 0.2, 0.2])


# What is refused

LOGITS = tensor([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5]])
THIRDS = [0.4, 0.3, 0.3]


@pytest.mark.parametrize(
    ("settings_", "kind", "fact", "received"),
    [
        ({"priors": [0.5, 0.3, 0.3]}, InvalidValue, "priors must sum to 1", "1.1"),
        ({"priors": [33, 33, 34]}, InvalidValue, "priors must sum to 1", "100"),
        ({"priors": [0.8, 0.4, -0.2]}, InvalidValue, "priors must be shares", "-0.2 for class 2"),
        ({"priors": [0.5, math.nan, 0.5]}, InvalidValue, "priors must be shares", "nan for class 1"),
        ({"priors": ["a", "b", "c"]}, InvalidValue, "priors must be numbers", "a"),
        ({"priors": [0.5, 0.5]}, ShapeMismatch, "one number per class", "priors (2,), logits (2, 3)"),
        ({"priors": [0.5, 0.5, 0.0]}, InvalidValue, "prior of class 2 is 0", "0.0"),
        ({"priors": [1.0, 0.0, 0.0], "classes": [0]}, InvalidValue, "prior of the other classes together is 0", "0.0"),
        ({"priors": [1, 0, 0], "classes": [1, 2], "shared": True}, InvalidValue, "classes 1, 2 together is 0", "0.0"),
        ({"priors": THIRDS, "classes": [3]}, InvalidValue, "no class 3", "[3]"),
        ({"priors": THIRDS, "classes": [-1]}, InvalidValue, "no class -1", "[-1]"),
        ({"priors": THIRDS, "classes": [1, 1]}, InvalidValue, "names a class twice", "[1, 1]"),
        ({"priors": THIRDS, "classes": []}, InvalidValue, "classes is empty", "[]"),
        ({"priors": THIRDS, "classes": 1}, InvalidValue, "must be a list of class numbers", "1"),
        ({"priors": THIRDS, "classes": [1.5]}, InvalidValue, "must be a list of class numbers", "1.5"),
        ({"priors": THIRDS, "shared": True}, InvalidValue, "shared by all classes changes nothing", "all 3 classes"),
        ({"priors": THIRDS, "frequencies": "argmin"}, UnknownName, "no kind of frequencies named 'argmin'", "argmin"),
    ],
)
def test_bad_settings_name_fact_received_and_expected(settings_, kind, fact: str, received: str) -> None:
    with pytest.raises(kind) as caught:
        correct_class_bias(LOGITS, **settings_)
    assert fact in caught.value.fact
    assert received in str(caught.value.received)
    assert caught.value.expected is not None


@pytest.mark.parametrize("value", [math.nan, INF])
def test_logits_without_a_softmax(value: float) -> None:
    logits = LOGITS.clone()
    logits[1, 0] = value
    with pytest.raises(InvalidValue, match="1 of 2 rows of logits have no softmax") as caught:
        correct_class_bias(logits, priors=THIRDS)
    assert "row 1" in str(caught.value.received)


def test_logits_of_another_shape() -> None:
    with pytest.raises(ShapeMismatch, match="one row per sample"):
        correct_class_bias(LOGITS[0], priors=THIRDS)
    with pytest.raises(InvalidValue, match="no samples"):
        correct_class_bias(LOGITS[:0], priors=THIRDS)


def test_priors_may_be_rounded_shares_or_a_tensor_of_floats() -> None:
    exact = correct_class_bias(LOGITS, priors=[1 / 3, 1 / 3, 1 / 3])
    assert_close(correct_class_bias(LOGITS, priors=torch.full((3,), 1 / 3)), exact, atol=1e-6, rtol=0)
    assert_close(correct_class_bias(LOGITS, priors=[0.33333, 0.33333, 0.33334]), exact, atol=1e-4, rtol=0)


def test_classes_may_be_a_tensor_or_numpy_numbers() -> None:
    expected = correct_class_bias(LOGITS, priors=THIRDS, classes=[0, 2])
    for classes in (tensor([2, 0]), np.array([0, 2])):
        assert_close(correct_class_bias(LOGITS, priors=THIRDS, classes=classes), expected)


def test_public_names_of_the_package() -> None:
    for name in ("add_class_bias", "best_class_bias", "correct_class_bias", "estimate_priors"):
        assert name in dir(limbeck)
        assert getattr(limbeck, name) is getattr(limbeck.calibration, name)
