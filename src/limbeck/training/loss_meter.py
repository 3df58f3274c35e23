"""Losses of the current epoch, kept on the device and read once in a window of steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from limbeck.objectives import Counts, DeferredLoss
from limbeck.objectives.objective import as_it_is

WINDOW_STEPS = 32
LABELLED_PARTS = ("hard", "exits_hard")  # means over labelled examples; the others run over all


@dataclass(frozen=True)
class _Step:
    """The losses of one step's parts, on the device, and how many examples they are means of."""

    losses: Sequence[Tensor | DeferredLoss]
    examples: Tensor | float
    labelled: Tensor | float
    num_samples: int
    counts_here: bool


class LossMeter:
    """Sums of the loss and its parts over an epoch.

    Reading a loss on every step makes an accelerator wait, and even on a CPU the values of many small steps cost less
    together. Losses are kept for a window of steps and read at once.

    Args:
        names: of a loss's values, "total" first.
        read: computes the values of losses that were left for later, one row each.
        add_up: makes of rows of values their sums over ranks; nothing where not given.
    """

    def __init__(
        self,
        names: Sequence[str],
        read: Callable[[Sequence[DeferredLoss]], Tensor],
        add_up: Callable[[Tensor], Tensor] = as_it_is,
    ) -> None:
        self.names = tuple(names)
        self._read, self._add_up = read, add_up
        self._pending: list[_Step] = []
        self.recent: dict[str, float] = {}  # means over the window that was read last
        self.reset()

    def reset(self) -> None:
        """Begin an epoch."""
        self.num_samples = 0
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

    def add(
        self, losses: Sequence[Tensor | DeferredLoss], counts: Counts, *, num_samples: int, counts_here: bool = True
    ) -> None:
        """Take in one step.

        Args:
            losses: of its parts, which add up: values by the tally's names, shape (names,), or what reads them later.
            counts: of the examples that they are means of.
            num_samples: of the step.
            counts_here: whether this rank's values belong to the sum over ranks.
        """
        self._pending.append(_Step(losses, counts.examples, counts.labelled, num_samples, counts_here))

    def read(self) -> int | None:
        """Bring the pending steps to the host; return the first, from 0, whose total is not finite, or None."""
        pending, self._pending = self._pending, []
        self.recent = {}
        rows = self._rows(pending)
        examples = _on_host([step.examples for step in pending])
        labelled = _on_host([step.labelled for step in pending])
        for index, (row, step) in enumerate(zip(rows, pending, strict=True)):
            if not math.isfinite(row[0]):
                return index
            for i, name in enumerate(self.names):
                weight = labelled[index] if name in LABELLED_PARTS else examples[index]
                self._sums[i] += row[i] * weight
                self._weights[i] += weight
            self.num_samples += step.num_samples
        if rows:
            self.recent = {name: sum(row[i] for row in rows) / len(rows) for i, name in enumerate(self.names)}
        return None

    def _rows(self, steps: Sequence[_Step]) -> list[list[float]]:
        """Return each step's values, in one transfer."""
        if not steps:
            return []
        losses = [loss for step in steps for loss in step.losses]
        deferred = [loss for loss in losses if isinstance(loss, DeferredLoss)]
        later = iter(self._read(deferred)) if deferred else iter(())
        rows = torch.stack([next(later) if isinstance(loss, DeferredLoss) else loss for loss in losses])
        if len(losses) > len(steps):
            parts = torch.split(rows, [len(step.losses) for step in steps])
            rows = torch.stack([part.sum(dim=0) for part in parts])
        for index, step in enumerate(steps):
            if not step.counts_here:
                rows[index] = 0.0
        rows = self._add_up(rows)
        values: list[list[float]] = rows.tolist()
        return values

    def epoch_means(self) -> dict[str, float]:
        """Return the means over the epoch's valid examples."""
        return {name: self._sums[i] / self._weights[i] for i, name in enumerate(self.names) if self._weights[i] > 0}

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps; everything pending must have been read."""
        return {
            "samples": self.num_samples,
            "sums": self._sums,
            "weights": self._weights,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state` returned."""
        self.num_samples = state["samples"]
        self._sums, self._weights = list(state["sums"]), list(state["weights"])


def _on_host(counts: Sequence[Tensor | float]) -> list[float]:
    """Return counts as numbers; those on a device come in one transfer."""
    counted = [count for count in counts if isinstance(count, Tensor)]
    on_host = iter(torch.stack(counted).tolist() if counted else ())
    return [next(on_host) if isinstance(count, Tensor) else count for count in counts]
