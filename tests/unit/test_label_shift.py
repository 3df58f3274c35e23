"""estimate_priors finds the class frequencies under which unlabelled samples are most likely."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, tensor
from torch.testing import assert_close

from limbeck.calibration import correct_class_bias, estimate_priors
from limbeck.errors import InvalidValue, ShapeMismatch

INF = math.inf
seeds = st.integers(0, 10_000)


def _case(seed: int, *, num_samples: int = 60, num_classes: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(num_classes, (num_samples,), generator=generator)
    noise = torch.randn(num_samples, num_classes, generator=generator, dtype=torch.float64)
    old = torch.rand(num_classes, generator=generator, dtype=torch.float64) + 0.2
    return 2 * torch.eye(num_classes, dtype=torch.float64)[labels] + noise, old / old.sum()


def _likelihood(logits: Tensor, old: np.ndarray, priors: np.ndarray) -> float:
    probs = torch.softmax(logits, dim=1).numpy()
    return sum(math.log(sum(priors[c] / old[c] * row[c] for c in range(len(old)))) for row in probs) / len(probs)


def test_frequencies_of_a_discrete_world_are_found_exactly() -> None:
    signs_by_class = tensor([[0.7, 0.1, 0.2], [0.2, 0.8, 0.2], [0.1, 0.1, 0.6]], dtype=torch.float64)
    old, new = tensor([0.8, 0.15, 0.05]).double(), tensor([0.1, 0.4, 0.5]).double()
    counts = (1000 * signs_by_class @ new).round().long()
    logits = (signs_by_class * old).log().repeat_interleave(counts, dim=0)
    assert_close(estimate_priors(logits, train_priors=old), new, atol=1e-5, rtol=0)


def test_frequencies_of_shifted_gaussians_within_their_sampling_error() -> None:
    generator = torch.Generator().manual_seed(0)
    means, old, new = tensor([-2.0, 0.0, 2.0]), tensor([0.5, 0.3, 0.2]), tensor([0.1, 0.2, 0.7])
    labels = torch.multinomial(new, 20_000, replacement=True, generator=generator)
    inputs = means[labels] + torch.randn(20_000, generator=generator)
    logits = old.log() - (inputs.unsqueeze(1) - means) ** 2 / 2
    assert_close(estimate_priors(logits, train_priors=old), new.double(), atol=0.02, rtol=0)


@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_same_as_many_plain_steps_of_the_paper(seed: int) -> None:
    logits, old = _case(seed)
    found = estimate_priors(logits, train_priors=old).numpy()
    probs, priors = torch.softmax(logits, dim=1).numpy(), old.numpy()
    for _ in range(3000):  # Saerens et al., equation 2.4: posteriors, then their mean
        posteriors = probs * (priors / old.numpy())
        priors = (posteriors / posteriors.sum(axis=1, keepdims=True)).mean(axis=0)
    assert _likelihood(logits, old.numpy(), found) >= _likelihood(logits, old.numpy(), priors) - 1e-10
    np.testing.assert_allclose(found, priors, atol=2e-3)


@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_no_other_priors_are_likelier(seed: int) -> None:
    logits, old = _case(seed)
    found = estimate_priors(logits, train_priors=old).numpy()
    best = _likelihood(logits, old.numpy(), found)
    generator = np.random.default_rng(seed)
    for other in generator.dirichlet(np.ones(4), size=20):
        for share in (1.0, 0.1, 0.01):
            assert _likelihood(logits, old.numpy(), (1 - share) * found + share * other) <= best + 1e-11


def test_offsets_that_belong_to_the_estimate_match_its_frequencies() -> None:
    logits, old = _case(0, num_samples=400)
    priors = estimate_priors(logits, train_priors=old)
    expected = (priors / old).log()
    assert priors.min() > 0.01
    assert_close(correct_class_bias(logits, priors=priors), expected - expected.mean(), atol=1e-4, rtol=0)


def test_unchanged_frequencies_stay() -> None:
    # Where the mean of the posteriors is the training's prior already, that is the maximum.
    logits, _ = _case(0)
    old = torch.softmax(logits, dim=1).mean(dim=0)
    assert_close(estimate_priors(logits, train_priors=old), old, atol=1e-6, rtol=0)


def test_a_class_that_does_not_occur_goes_to_zero() -> None:
    logits = tensor([[8.0, 0.0, 0.0], [0.0, 8.0, 0.0]]).repeat(20, 1)
    priors = estimate_priors(logits, train_priors=[0.4, 0.3, 0.3])
    assert priors[2] < 1e-6
    assert_close(priors[0] + priors[1], tensor(1.0, dtype=torch.float64))
    ruled_out = tensor([[1.0, 0.0, -INF], [0.0, 1.0, -INF]])
    assert estimate_priors(ruled_out, train_priors=[0.4, 0.4, 0.2])[2] == 0


@given(seed=seeds)
@settings(max_examples=10, deadline=None)
def test_a_constant_per_sample_and_the_order_of_classes_do_not_matter(seed: int) -> None:
    logits, old = _case(seed, num_samples=300)
    order = torch.randperm(4, generator=torch.Generator().manual_seed(seed))
    shifts = torch.arange(300.0, dtype=torch.float64).unsqueeze(1)
    found = estimate_priors((logits + shifts)[:, order], train_priors=old[order])
    assert_close(found, estimate_priors(logits, train_priors=old)[order], atol=1e-4, rtol=0)


def test_classes_that_cannot_be_told_apart_keep_their_proportion() -> None:
    old = tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    logits = old.log() + tensor([[2.0, 2.0, 0.0], [0.0, 0.0, 2.0], [2.0, 2.0, 0.0]], dtype=torch.float64)
    priors = estimate_priors(logits, train_priors=old)
    assert_close(priors[0] / priors[1], tensor(2 / 3, dtype=torch.float64))


@pytest.mark.parametrize(
    ("train_priors", "kind", "fact", "received"),
    [
        ([0.5, 0.5, 0.0], InvalidValue, "training prior of class 2 is 0", "0.0"),
        ([0.5, 0.6, -0.1], InvalidValue, "train_priors must be shares", "-0.1 for class 2"),
        ([0.5, 0.5, 0.5], InvalidValue, "train_priors must sum to 1", "1.5"),
        ([0.5, 0.5], ShapeMismatch, "one number per class", "train_priors (2,), logits (1, 3)"),
    ],
)
def test_bad_priors(train_priors: list[float], kind, fact: str, received: str) -> None:
    with pytest.raises(kind, match=fact) as caught:
        estimate_priors(torch.zeros(1, 3), train_priors=train_priors)
    assert received in str(caught.value.received)
    assert caught.value.expected is not None


def test_logits_without_a_softmax() -> None:
    with pytest.raises(InvalidValue, match="have no softmax"):
        estimate_priors(tensor([[math.nan, 0.0]]), train_priors=[0.5, 0.5])
