"""Losses of the current epoch, kept on the device and read once in a window of steps."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

WINDOW_STEPS = 32
LABELLED_PARTS = ("hard",)  # means over labelled examples; the others run over all

Item = TypeVar("Item")


class LossTally:
    """Sums of the loss and its parts over an epoch.

    Reading a loss on every step makes an accelerator wait. Rows are kept in one tensor on the device and read together.

    Args:
        names: of a row's values, "total" first.
        device: where the losses are.
    """

    def __init__(self, names: Sequence[str], *, device: torch.device) -> None:
        self.names = tuple(names)
        window = torch.zeros(WINDOW_STEPS, len(self.names) + 1, device=device)
        self._window = window
        self._rows = list(window)  # views made once
        self._short_rows = list(window[:, :-1])
        self._pending: list[tuple[int, float | None]] = []  # examples, and labelled ones where they are known here
        self.recent: dict[str, float] = {}  # means over the window that was read last
        self.reset()

    def reset(self) -> None:
        """Begin an epoch."""
        self.examples = 0
        self.wait_seconds = 0.0
        self._sums = [0.0] * len(self.names)
        self._weights = [0.0] * len(self.names)

    @property
    def num_pending(self) -> int:
        """Steps that were added and not read."""
        return len(self._pending)

    @property
    def is_full(self) -> bool:
        """Whether the window must be read before the next step."""
        return len(self._pending) == WINDOW_STEPS

    def add(self, values: Sequence[Tensor], *, examples: int, labelled: Tensor | float) -> None:
        """Take in one step: float32 scalars by the tally's names, and how many examples they are means of."""
        index = len(self._pending)
        if isinstance(labelled, Tensor):
            torch.stack([*values, labelled], out=self._rows[index])
            self._pending.append((examples, None))
        else:
            torch.stack(list(values), out=self._short_rows[index])
            self._pending.append((examples, labelled))

    def read(self) -> int | None:
        """Bring the pending steps to the host; return the first, from 0, whose total is not finite, or None."""
        pending, self._pending = self._pending, []
        rows = self._window[: len(pending)].tolist()
        self.recent = {}
        for index, (row, (examples, labelled)) in enumerate(zip(rows, pending, strict=True)):
            if not math.isfinite(row[0]):
                return index
            for i, name in enumerate(self.names):
                weight = (row[-1] if labelled is None else labelled) if name in LABELLED_PARTS else examples
                self._sums[i] += row[i] * weight
                self._weights[i] += weight
            self.examples += examples
        if rows:
            self.recent = {name: sum(row[i] for row in rows) / len(rows) for i, name in enumerate(self.names)}
        return None

    def epoch_means(self) -> dict[str, float]:
        """Return the means over the epoch's valid examples."""
        return {name: self._sums[i] / self._weights[i] for i, name in enumerate(self.names) if self._weights[i] > 0}

    def time_waits(self, items: Iterable[Item]) -> Iterator[Item]:
        """Pass the items on, adding the time spent waiting for each to ``wait_seconds``."""
        iterator = iter(items)
        while True:
            start = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            self.wait_seconds += time.perf_counter() - start
            yield item

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps; everything pending must have been read."""
        return {
            "examples": self.examples,
            "wait_seconds": self.wait_seconds,
            "sums": self._sums,
            "weights": self._weights,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state` returned."""
        self.examples, self.wait_seconds = state["examples"], state["wait_seconds"]
        self._sums, self._weights = list(state["sums"]), list(state["weights"])
