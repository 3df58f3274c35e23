"""The order of an epoch is a function of (seed, epoch, ids)."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck.data import batch_positions, epoch_batches, epoch_order
from limbeck.data import order as order_module
from limbeck.errors import InvalidValue

unique_ids = st.lists(st.integers(0, (1 << 63) - 1), min_size=1, max_size=60, unique=True)


@given(ids=unique_ids, seed=st.integers(0, 1000), epoch=st.integers(0, 1000), data=st.data())
def test_storage_order_does_not_change_the_sequence_of_ids(ids, seed, epoch, data):
    stored = torch.tensor(ids)
    otherwise = torch.tensor(data.draw(st.permutations(ids)))
    first = stored[epoch_order(stored, seed=seed, epoch=epoch)]
    second = otherwise[epoch_order(otherwise, seed=seed, epoch=epoch)]
    assert torch.equal(first, second)


@given(ids=unique_ids, batch_size=st.integers(1, 70), start=st.integers(0, 70))
def test_batches_of_any_size_from_any_resume_point_are_the_same_sequence(ids, batch_size, start):
    stored = torch.tensor(ids)
    order = epoch_order(stored, seed=1, epoch=2)
    batches = epoch_batches(stored, seed=1, epoch=2, batch_size=batch_size)
    assert torch.equal(torch.cat(batches), order)
    assert all(len(batch) == batch_size for batch in batches[:-1])
    resumed = batches[start:]
    if resumed:
        assert torch.equal(torch.cat(resumed), order[start * batch_size :])


@given(ids=unique_ids)
def test_an_epoch_shows_each_sample_once(ids):
    order = epoch_order(torch.tensor(ids), seed=0, epoch=0)
    assert sorted(order.tolist()) == list(range(len(ids)))


def test_subset_keeps_the_relative_order():
    # Adding samples puts them in between and moves nothing else.
    many, few = torch.arange(100), torch.arange(0, 100, 3)
    order = many[epoch_order(many, seed=0, epoch=0)]
    assert few[epoch_order(few, seed=0, epoch=0)].tolist() == [i for i in order.tolist() if i % 3 == 0]


def test_epochs_and_seeds_differ():
    ids = torch.arange(1000)
    orders = [epoch_order(ids, seed=s, epoch=e) for s in range(3) for e in range(3)]
    for i, first in enumerate(orders):
        for second in orders[:i]:
            assert int((first == second).sum()) < 20  # about one fixed point is expected by chance


def test_first_places_are_shared_out_evenly():
    ids = torch.arange(10)
    firsts = torch.stack([epoch_order(ids, seed=0, epoch=e)[0] for e in range(2000)])
    assert float((torch.bincount(firsts, minlength=10) - 200.0).abs().max()) < 5 * 200**0.5


def test_drop_last_drops_only_what_does_not_fill_a_batch():
    assert [len(b) for b in batch_positions(torch.arange(10), 4, drop_last=True)] == [4, 4]
    assert [len(b) for b in batch_positions(torch.arange(8), 4, drop_last=True)] == [4, 4]


def test_refusals():
    with pytest.raises(InvalidValue, match="batch_size"):
        batch_positions(torch.arange(3), 0)
    with pytest.raises(InvalidValue, match="leaves nothing"):
        batch_positions(torch.arange(3), 4, drop_last=True)


def test_the_order_of_very_many_is_made_in_parts(monkeypatch):
    ids = torch.randperm(1000, generator=torch.Generator().manual_seed(0)) * 17
    whole = epoch_order(ids, seed=3, epoch=2)
    monkeypatch.setattr(order_module, "_CHUNK", 64)
    assert epoch_order(ids, seed=3, epoch=2).equal(whole)
