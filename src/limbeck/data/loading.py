"""Batches of one epoch: looked up, made ahead in a background thread, or made by worker processes."""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from limbeck.data.batches import Batch
from limbeck.data.order import batch_positions
from limbeck.data.samples import Samples
from limbeck.data.views import Views
from limbeck.errors import InvalidValue

_POLL_SECONDS = 0.1  # how soon a waiting thread notices that nobody takes its batches any more


@dataclass(frozen=True)
class ReadSettings:
    """How samples are read. Which batches come out does not depend on it, to the last bit.

    Args:
        num_workers: processes that make batches; 0 for none.
        prefetch: batches made ahead at most, by each worker, or by a thread where there are no workers; 0 for none.
        pin_memory: whether batches are put into page-locked memory, where there is an accelerator to copy them to;
            batches that are bound for one are without being asked for.
        batch_size: that the data's owner reads it with, as a hint for a recipe; nothing here obeys it.
    Raises:
        InvalidValue: a negative number.
    """

    num_workers: int = 0
    prefetch: int = 2
    pin_memory: bool = False
    batch_size: int | None = None

    def __post_init__(self) -> None:
        if self.num_workers < 0 or self.prefetch < 0:
            raise InvalidValue(
                "num_workers and prefetch must not be negative.",
                received=f"num_workers={self.num_workers}, prefetch={self.prefetch}",
            )


def iterate_batches(
    samples: Samples,
    views: Views,
    order: Tensor,
    *,
    batch_size: int,
    view: int | None,
    start_batch: int = 0,
    drop_last: bool = False,
    prefetch: int | None = None,
    reading: ReadSettings | None = None,
    share: Callable[[Tensor], Tensor] | None = None,
    bound_for: torch.device | None = None,
) -> Iterator[Batch]:
    """Iterate over the batches of one pass.

    In-memory samples are cut up as asked for. Samples that are read on demand are read ahead by one background thread,
    or by worker processes; what goes wrong there is raised here, and thread and workers end when the iterator is
    exhausted, closed or dropped. The batches are the same either way. Where reading or a transform sets the random
    state of the process, there is no thread, which would disturb what the caller draws: batches are made as asked for,
    or by workers.

    Args:
        samples: raw, or prepared by ``views``.
        views: what is made of them.
        order: positions, int64, shape (n,), e.g. from ``epoch_order``, or ``torch.arange(len(samples))``.
        batch_size: samples per batch, at least 1.
        view: which view; None for the clean one.
        start_batch: how many batches to skip, unread: where a run resumes.
        drop_last: leave out a last batch that is not full.
        prefetch: batches read ahead at most; 0 for no thread; by default that of ``reading``.
        reading: workers and memory; by default what the data came with (a ``DataLoader``'s), else no workers.
        share: of each batch's positions, those that are read here; all where not given.
        bound_for: where the caller copies the batches: for CUDA, those that are read on demand come in page-locked
            memory, from where it copies while it computes.
    Raises:
        InvalidValue: batch_size, start_batch or prefetch out of range.
    Example:
        >>> import torch
        >>> samples = Samples("toy", torch.arange(5), torch.rand(5, 3), torch.tensor([0, 1, 0, 1, 0]), ("no", "yes"))
        >>> batches = iterate_batches(samples, Views(), torch.arange(5), batch_size=2, view=None, start_batch=1)
        >>> [batch.ids.tolist() for batch in batches]
        [[2, 3], [4]]
    """
    reading = reading or getattr(samples.inputs, "reading", None) or ReadSettings()
    prefetch = reading.prefetch if prefetch is None else prefetch
    if start_batch < 0 or prefetch < 0:
        raise InvalidValue(
            "start_batch and prefetch must not be negative.", received=f"start_batch={start_batch}, prefetch={prefetch}"
        )
    batches = batch_positions(order, batch_size, drop_last)[start_batch:]
    if share is not None:
        batches = [share(positions) for positions in batches]

    wants_pinned = reading.pin_memory or (bound_for is not None and bound_for.type == "cuda")
    is_pinned = wants_pinned and samples.device.type == "cpu" and torch.accelerator.is_available()

    def make(positions: Tensor) -> Batch:
        batch = views.batch(samples, positions, view=view)
        return batch.pin_memory() if is_pinned else batch

    if samples.in_memory and not views.has_transforms:
        return _looked_up(samples, views, batches, view)
    if reading.num_workers > 0 and samples.device.type == "cpu":
        return _made_by_workers(_BatchMaker(samples, views, batches, view), reading.num_workers, prefetch, is_pinned)
    if prefetch == 0 or views.has_transforms or getattr(samples.inputs, "read_view", None) is not None:
        return map(make, batches)
    return _made_ahead(make, batches, prefetch)


class _BatchMaker(Dataset[Batch]):
    """The batches of one pass by number, for ``DataLoader``."""

    def __init__(self, samples: Samples, views: Views, batches: list[Tensor], view: int | None) -> None:
        self.samples, self.views, self.batches, self.view = samples, views, batches, view

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> Batch:
        return self.views.batch(self.samples, self.batches[number].clone(), view=self.view)


def _made_by_workers(maker: _BatchMaker, num_workers: int, prefetch: int, is_pinned: bool) -> Iterator[Batch]:
    loader = DataLoader(
        maker,
        batch_size=None,  # the maker's items are batches already
        collate_fn=_same,
        num_workers=min(num_workers, max(1, len(maker))),
        prefetch_factor=max(1, prefetch),
        pin_memory=is_pinned,
        generator=torch.Generator(),  # the workers' seeds are drawn from it, not from the caller's
    )
    iterator = iter(loader)
    try:
        yield from iterator
    finally:
        shut_down = getattr(iterator, "_shutdown_workers", None)  # else they end when they are collected
        if shut_down is not None:
            shut_down()


def _same(batch: Any) -> Any:
    return batch


def _looked_up(samples: Samples, views: Views, batches: list[Tensor], view: int | None) -> Iterator[Batch]:
    """Yield the batches, with what is a function of ids alone made for the whole pass at once."""
    if not batches:
        return
    positions = torch.cat(batches).to(samples.device)
    sizes = [len(batch) for batch in batches]
    ids, labels = samples.ids.index_select(0, positions), samples.labels.index_select(0, positions)
    columns = [torch.split(values, sizes) for values in (positions, ids, labels)]
    uniforms: Iterable[Tensor | None] = itertools.repeat(None, len(sizes))
    weights: Iterable[Tensor | None] = itertools.repeat(None, len(sizes))
    if samples.weights is not None:
        weights = torch.split(samples.weights.index_select(0, positions), sizes)
    if view is not None and not views.is_constant:
        uniforms = torch.split(views.draw(ids, view), sizes)
    for chosen, batch_ids, batch_labels, drawn, weight in zip(*columns, uniforms, weights, strict=True):
        yield views.batch(
            samples, chosen, view=view, ids=batch_ids, labels=batch_labels, uniforms=drawn, weights=weight
        )


def _made_ahead(make: Callable[[Tensor], Batch], batches: list[Tensor], depth: int) -> Iterator[Batch]:
    """Yield ``make(positions)`` for each of ``batches``, up to ``depth`` made ahead in a thread."""
    made: queue.Queue[Batch | BaseException | None] = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def put(item: Batch | BaseException | None) -> None:
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                made.put(item, timeout=_POLL_SECONDS)
                return

    def work() -> None:
        try:
            for positions in batches:
                if stopped.is_set():
                    return
                put(make(positions))
            put(None)
        except BaseException as error:  # raised again where the batches are taken
            put(error)

    thread = threading.Thread(target=work, name="limbeck-batches", daemon=True)
    thread.start()
    try:
        while (item := made.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join()
