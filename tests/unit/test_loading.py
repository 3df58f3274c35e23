"""Batches are the same whether made on demand or ahead; threads end and errors arrive."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from limbeck.data import Jitter, Normalise, Samples, Views, epoch_order, iterate_batches
from limbeck.errors import DataError, InvalidValue

VIEWS = Views((Jitter(1),), Normalise((0.5,), (0.5,)), seed=3)


class Slow:
    """Images read on demand; remembers what was read, fails at one position."""

    def __init__(self, images: torch.Tensor, *, broken: int | None = None) -> None:
        self.images, self.broken, self.read = images, broken, []

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, positions: torch.Tensor) -> torch.Tensor:
        if self.broken is not None and self.broken in positions.tolist():
            raise DataError("This image is broken.", received=self.broken)
        self.read.append(positions.tolist())
        return self.images[positions]


def in_memory() -> Samples:
    images = torch.randint(0, 256, (20, 1, 5, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Samples("toy", torch.arange(20) + 100, images, torch.arange(20) % 2, ("a", "b"))


def on_demand(broken: int | None = None) -> Samples:
    samples = in_memory()
    return Samples("toy", samples.ids, Slow(samples.inputs, broken=broken), samples.labels, ("a", "b"))


def batch_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "limbeck-batches"]


@pytest.mark.parametrize("prefetch", [0, 1, 3, 50])
@pytest.mark.parametrize("start_batch", [0, 2, 9])
@pytest.mark.parametrize("drop_last", [False, True])
def test_the_same_batches_either_way(prefetch, start_batch, drop_last):
    order = epoch_order(in_memory().ids, seed=0, epoch=0)
    settings = {"batch_size": 6, "view": 4, "start_batch": start_batch, "drop_last": drop_last}
    direct = list(iterate_batches(in_memory(), VIEWS, order, **settings))
    ahead = list(iterate_batches(on_demand(), VIEWS, order, prefetch=prefetch, **settings))
    assert len(direct) == len(ahead) == max(0, (3 if drop_last else 4) - start_batch)
    for first, second in zip(direct, ahead, strict=True):
        assert torch.equal(first.ids, second.ids)
        assert torch.equal(first.inputs, second.inputs)
        assert torch.equal(first.labels, second.labels)
        assert first.view == second.view == 4
    assert not batch_threads()


def test_what_goes_wrong_while_reading_arrives_in_its_place():
    batches = iterate_batches(on_demand(broken=9), VIEWS, torch.arange(20), batch_size=4, view=None)
    assert next(batches).ids.tolist() == [100, 101, 102, 103]
    assert next(batches).ids.tolist() == [104, 105, 106, 107]
    with pytest.raises(DataError, match="broken"):
        next(batches)
    assert not batch_threads()


def test_stopping_early_ends_the_thread():
    samples = on_demand()
    batches = iterate_batches(samples, VIEWS, torch.arange(20), batch_size=2, view=None, prefetch=2)
    next(batches)
    batches.close()
    assert not batch_threads()
    assert len(samples.inputs.read) <= 5  # one taken, two queued, one waiting to be queued, one begun


def test_dropping_the_iterator_ends_the_thread():
    for _ in iterate_batches(on_demand(), VIEWS, torch.arange(20), batch_size=2, view=None, prefetch=1):
        break
    assert not batch_threads()


def test_no_more_than_prefetch_is_read_ahead():
    samples = on_demand()
    batches = iterate_batches(samples, VIEWS, torch.arange(20), batch_size=1, view=None, prefetch=3)
    next(batches)
    time.sleep(0.3)
    assert len(samples.inputs.read) <= 5
    batches.close()


def test_resuming_reads_nothing_of_what_is_skipped():
    samples = on_demand()
    list(iterate_batches(samples, VIEWS, torch.arange(20), batch_size=5, view=None, start_batch=3))
    assert samples.inputs.read == [[15, 16, 17, 18, 19]]


def test_refusals_come_at_the_call():
    for wrong in ({"batch_size": 0}, {"batch_size": 2, "start_batch": -1}, {"batch_size": 2, "prefetch": -1}):
        with pytest.raises(InvalidValue):
            iterate_batches(in_memory(), VIEWS, torch.arange(20), view=None, **wrong)
