"""Mixtures of samples join a transfer set: without labels, with inputs that depend on seed, id and number alone."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from limbeck.data import UNLABELLED, Samples, with_mixtures
from limbeck.errors import DataError, InvalidValue

COUNT = 12


@pytest.fixture
def corners():
    """Samples of which every one has a coordinate of its own, so that a mixture tells of which two it is made."""
    return Samples("toy", 5 * torch.arange(COUNT), torch.eye(COUNT), torch.arange(COUNT) % 2, ("even", "odd"))


def test_the_samples_come_first_as_they_are(corners):
    more = with_mixtures(corners, per_sample=3)
    assert len(more) == 4 * COUNT
    assert torch.equal(more.fetch(torch.arange(COUNT)), torch.eye(COUNT))
    assert torch.equal(more.labels[:COUNT], corners.labels)
    assert (more.labels[COUNT:] == UNLABELLED).all()
    assert torch.equal(more.ids[:COUNT], corners.ids)
    assert len(more.ids.unique()) == len(more)


def test_a_mixture_lies_between_its_sample_and_one_other(corners):
    inputs = with_mixtures(corners, per_sample=50).fetch(torch.arange(COUNT, 51 * COUNT))
    assert_close(inputs.sum(dim=1), torch.ones(len(inputs)))
    assert (inputs >= 0).all()
    assert ((inputs > 0).sum(dim=1) == 2).all()
    own = inputs[torch.arange(len(inputs)), torch.arange(len(inputs)) % COUNT]
    assert (own > 0).all()
    assert own.mean().item() == pytest.approx(0.5, abs=0.03)  # weights are uniform: 600 of them
    assert own.std().item() == pytest.approx(12**-0.5, abs=0.02)


def test_a_large_concentration_mixes_halves(corners):
    inputs = with_mixtures(corners, per_sample=5, concentration=1e4).fetch(torch.arange(COUNT, 6 * COUNT))
    assert_close(inputs.amax(dim=1), torch.full((5 * COUNT,), 0.5), atol=0.03, rtol=0)


def test_a_mixture_depends_on_its_id_not_on_where_it_is_stored(corners):
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(0))
    first, second = with_mixtures(corners, per_sample=2), with_mixtures(corners.take(order), per_sample=2)
    assert first.inputs_fingerprint == second.inputs_fingerprint
    place = {int(one): k for k, one in enumerate(second.ids)}
    there = torch.tensor([place[int(one)] for one in first.ids])
    assert torch.equal(first.fetch(torch.arange(len(first))), second.fetch(there))


def test_another_seed_or_number_is_another_set(corners):
    sets = [
        with_mixtures(corners, per_sample=2),
        with_mixtures(corners, per_sample=2, seed=1),
        with_mixtures(corners, per_sample=3),
        with_mixtures(corners, per_sample=2, concentration=0.5),
        corners,
    ]
    assert len({one.inputs_fingerprint for one in sets}) == len(sets)
    assert with_mixtures(corners, per_sample=0) is corners


def test_what_cannot_be_mixed_is_told(corners):
    with pytest.raises(InvalidValue, match="per_sample"):
        with_mixtures(corners, per_sample=-1)
    words = Samples("words", torch.arange(2), torch.ones(2, 3, dtype=torch.int64), torch.tensor([0, 1]), ("no", "yes"))
    with pytest.raises(DataError, match="one float tensor each"):
        with_mixtures(words, per_sample=1)
    far = Samples("far", torch.tensor([0, 1 << 48]), torch.eye(2), torch.tensor([0, 1]), ("no", "yes"))
    with pytest.raises(DataError, match="no room for mixtures"):
        with_mixtures(far, per_sample=1)
    with pytest.raises(DataError, match="at least two"):
        with_mixtures(corners.take(torch.tensor([0])), per_sample=1)
