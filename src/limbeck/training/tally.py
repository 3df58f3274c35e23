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
        self._window = torch.zeros(WINDOW_STEPS, len(self.names) + 1, device=device)
        self._pending_examples: list[int] = []
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
        return len(self._pending_examples)

    @property
    def is_full(self) -> bool:
        """Whether the window must be read before the next step."""
        return len(self._pending_examples) == WINDOW_STEPS

    def add(self, values: Sequence[Tensor], *, examples: int, labelled: Tensor) -> None:
        """Take in one step: scalars by the tally's names, and the numbers of examples that they are means of."""
        torch.stack([*(value.float() for value in values), labelled], out=self._window[len(self._pending_examples)])
        self._pending_examples.append(examples)

    def read(self) -> int | None:
        """Bring the pending steps to the host; return the first, from 0, whose total is not finite, or None."""
        rows = self._window[: self.num_pending].tolist()
        self.recent = {}
        for index, (row, examples) in enumerate(zip(rows, self._pending_examples, strict=True)):
            if not math.isfinite(row[0]):
                self._pending_examples = []
                return index
            labelled = row[-1]
            for i, name in enumerate(self.names):
                weight = labelled if name in LABELLED_PARTS else examples
                self._sums[i] += row[i] * weight
                self._weights[i] += weight
            self.examples += examples
        if rows:
            self.recent = {name: sum(row[i] for row in rows) / len(rows) for i, name in enumerate(self.names)}
        self._pending_examples = []
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
