"""A specialist trained on balanced batches is right again for the frequencies in use: arXiv:1503.02531, section 5.2."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn, tensor
from torch.testing import assert_close

from limbeck.calibration import add_class_bias, correct_dustbin, dustbin_offset
from limbeck.errors import InvalidValue, LimbeckError, ShapeMismatch, UnknownName

PRIORS = tensor([0.07, 0.03, 0.5, 0.25, 0.15], dtype=torch.float64)  # classes 0 and 1 are special
MEANS = tensor([-1.0, 0.0, 1.0, 2.5, -3.0], dtype=torch.float64)
POINTS = torch.linspace(-4, 4, 41, dtype=torch.float64)
SPECIAL = float(PRIORS[:2].sum())


def log_joint(priors: Tensor) -> Tensor:
    """Return log(prior x density) of the mixture of Gaussians of unit variance, shape (points, classes)."""
    return priors.log() - 0.5 * (POINTS.unsqueeze(1) - MEANS).square()


def specialists_view(joint: Tensor) -> Tensor:
    """Return the logits of a perfect specialist: its two classes, and the dustbin."""
    return torch.cat([joint[:, :2], joint[:, 2:].logsumexp(dim=1, keepdim=True)], dim=1)


def trained(share: float) -> Tensor:
    """Return what a perfect specialist gives after batches with this share of special examples."""
    batches = torch.cat([PRIORS[:2] * share / SPECIAL, PRIORS[2:] * (1 - share) / (1 - SPECIAL)])
    assert_close(batches.sum(), tensor(1.0, dtype=torch.float64))
    return specialists_view(log_joint(batches))


TRUTH = torch.softmax(specialists_view(log_joint(PRIORS)), dim=1)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_the_exact_form_gives_the_true_posterior(share: float) -> None:
    logits = trained(share)
    if share != 0.1:
        assert (torch.softmax(logits, dim=1) - TRUTH).abs().max() > 0.3
    corrected = correct_dustbin(logits, special_prior=SPECIAL, special_share=share)
    assert_close(torch.softmax(corrected, dim=1), TRUTH)


def test_the_papers_form_leaves_the_dustbin_too_low() -> None:
    corrected = correct_dustbin(trained(0.5), special_prior=SPECIAL, form="paper")
    short = math.log(2 * (1 - SPECIAL))
    corrected[:, -1] += short
    assert_close(torch.softmax(corrected, dim=1), TRUTH)
    assert short == pytest.approx(
        dustbin_offset(special_prior=SPECIAL) - dustbin_offset(special_prior=SPECIAL, form="paper")
    )


def test_counts_of_a_sampled_training_set() -> None:
    # A sign of three values; the specialist is the table of frequencies in balanced batches, thus perfectly trained.
    generator = torch.Generator().manual_seed(0)
    labels = torch.multinomial(PRIORS, 400_000, replacement=True, generator=generator)
    signs_of = tensor([[0.7, 0.2, 0.1], [0.3, 0.4, 0.3], [0.1, 0.3, 0.6], [0.2, 0.2, 0.6], [0.4, 0.3, 0.3]])
    signs = torch.multinomial(signs_of[labels], 1, generator=generator).squeeze(1)
    special, rest = (labels < 2).nonzero().squeeze(1), (labels >= 2).nonzero().squeeze(1)
    batch = torch.cat(
        [
            special[torch.randint(len(special), (200_000,), generator=generator)],
            rest[torch.randint(len(rest), (200_000,), generator=generator)],
        ]
    )
    counts = torch.stack(
        [torch.bincount(signs[batch][labels[batch].clamp(max=2) == c], minlength=3) for c in range(3)], dim=1
    )
    joint = PRIORS * signs_of.double().T  # (signs, classes)
    truth = torch.cat([joint[:, :2], joint[:, 2:].sum(dim=1, keepdim=True)], dim=1)
    truth /= truth.sum(dim=1, keepdim=True)
    corrected = correct_dustbin(counts.double().log(), special_prior=SPECIAL)
    assert_close(torch.softmax(corrected, dim=1), truth, atol=0.005, rtol=0)


@given(st.floats(0.001, 0.999), st.floats(0.001, 0.999))
def test_offsets_by_hand(prior: float, share: float) -> None:
    exact = dustbin_offset(special_prior=prior, special_share=share)
    assert math.exp(exact) == pytest.approx(share * (1 - prior) / (prior * (1 - share)))
    assert math.exp(dustbin_offset(special_prior=prior, special_share=share, form="paper")) == pytest.approx(
        share / prior
    )
    assert dustbin_offset(special_prior=share, special_share=share) == pytest.approx(0.0)


def test_only_the_dustbin_moves_and_the_input_stays() -> None:
    logits = torch.zeros(2, 3, dtype=torch.float16, requires_grad=True)
    corrected = correct_dustbin(logits, special_prior=0.2)
    assert (corrected.dtype, corrected.requires_grad) == (torch.float16, False)
    assert torch.equal(corrected[:, :2], torch.zeros(2, 2, dtype=torch.float16))
    assert corrected[:, 2].tolist() == pytest.approx([math.log(4)] * 2, abs=1e-3)
    assert not logits.any()


def test_the_offset_goes_into_a_network() -> None:
    torch.manual_seed(0)
    network, inputs = nn.Linear(4, 3), torch.randn(5, 4)
    expected = correct_dustbin(network(inputs), special_prior=0.2)
    add_class_bias(network, [0.0, 0.0, dustbin_offset(special_prior=0.2)])
    assert_close(network(inputs).detach(), expected)


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"special_prior": 0.0}, InvalidValue),
        ({"special_prior": 1.0}, InvalidValue),
        ({"special_prior": math.nan}, InvalidValue),
        ({"special_prior": 0.5, "special_share": 1.5}, InvalidValue),
        ({"special_prior": 0.5, "form": "papers"}, UnknownName),
    ],
)
def test_what_is_refused(options: dict[str, float], kind: type[LimbeckError]) -> None:
    with pytest.raises(kind):
        correct_dustbin(torch.zeros(2, 3), **options)
    with pytest.raises(ShapeMismatch, match="a class and the dustbin"):
        correct_dustbin(torch.zeros(2, 1), special_prior=0.5)
