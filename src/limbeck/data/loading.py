"""Batches of one epoch: made as they are asked for, or ahead in a background thread where inputs must be read."""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from limbeck.data.order import batch_positions
from limbeck.data.samples import Samples
from limbeck.data.views import Batch, Views
from limbeck.errors import InvalidValue

_POLL_SECONDS = 0.1  # how soon a waiting thread notices that nobody takes its batches any more


def iterate_batches(
    samples: Samples,
    views: Views,
    order: Tensor,
    *,
    batch_size: int,
    view: int | None,
    start_batch: int = 0,
    drop_last: bool = False,
    prefetch: int = 2,
) -> Iterator[Batch]:
    """Iterate over the batches of one pass.

    In-memory samples are cut up as asked for. Samples that are read on demand are read ahead by one background thread;
    what goes wrong there is raised here, and the thread ends when the iterator is exhausted, closed or dropped. The
    batches are the same either way.

    Args:
        samples: raw, or prepared by ``views``.
        views: what is made of them.
        order: positions, int64, shape (n,), e.g. from ``epoch_order``, or ``torch.arange(len(samples))``.
        batch_size: samples per batch, at least 1.
        view: which view; None for the clean one.
        start_batch: how many batches to skip, unread: where a run resumes.
        drop_last: leave out a last batch that is not full.
        prefetch: batches read ahead at most; 0 for no thread.
    Raises:
        InvalidValue: batch_size, start_batch or prefetch out of range.
    Example:
        >>> import torch
        >>> samples = Samples("toy", torch.arange(5), torch.rand(5, 3), torch.tensor([0, 1, 0, 1, 0]), ("no", "yes"))
        >>> batches = iterate_batches(samples, Views(), torch.arange(5), batch_size=2, view=None, start_batch=1)
        >>> [batch.ids.tolist() for batch in batches]
        [[2, 3], [4]]
    """
    if start_batch < 0 or prefetch < 0:
        raise InvalidValue(
            "start_batch and prefetch must not be negative.", received=f"start_batch={start_batch}, prefetch={prefetch}"
        )
    batches = batch_positions(order, batch_size, drop_last)[start_batch:]

    def make(positions: Tensor) -> Batch:
        return views.batch(samples, positions, view=view)

    if samples.in_memory:
        return _looked_up(samples, views, batches, view)
    if prefetch == 0:
        return map(make, batches)
    return _made_ahead(make, batches, prefetch)


def _looked_up(samples: Samples, views: Views, batches: list[Tensor], view: int | None) -> Iterator[Batch]:
    """Yield the batches, with what is a function of ids alone made for the whole pass at once."""
    if not batches:
        return
    positions = torch.cat(batches).to(samples.device)
    sizes = [len(batch) for batch in batches]
    ids, labels = samples.ids.index_select(0, positions), samples.labels.index_select(0, positions)
    columns = [torch.split(values, sizes) for values in (positions, ids, labels)]
    uniforms: Iterable[Tensor | None] = itertools.repeat(None, len(sizes))
    if view is not None and not views.is_constant:
        uniforms = torch.split(views.draw(ids, view), sizes)
    for chosen, batch_ids, batch_labels, drawn in zip(*columns, uniforms, strict=True):
        yield views.batch(samples, chosen, view=view, ids=batch_ids, labels=batch_labels, uniforms=drawn)


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
