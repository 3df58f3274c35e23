"""What changes in a stack of networks from step to step."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from limbeck.records import EpochRecord
from limbeck.settings import TrainConfig
from limbeck.training.clock import Clock
from limbeck.training.loss_meter import LABELLED_PARTS, WINDOW_STEPS
from limbeck.training.runtime import Runtime
from limbeck.training.selection import Selection, Weights
from limbeck.training.stacked_networks import StackedNetworks
from limbeck.training.updates import WeightUpdates


class StackedState:
    """The networks with their optimiser, the losses of the current epoch, each one's selected weights and the time.

    Args:
        networks: what is trained.
        recipe: optimiser, schedule, averaging, clipping and patience, of all.
        runtime: device and precision.
        part_names: of the objectives' losses.
        num_steps: of the whole run.
    """

    def __init__(
        self,
        networks: StackedNetworks,
        *,
        recipe: TrainConfig,
        runtime: Runtime,
        part_names: Sequence[str],
        num_steps: int,
    ) -> None:
        count = networks.num_networks
        self.updates = WeightUpdates(networks.module, recipe=recipe, runtime=runtime, num_steps=num_steps, stack_axes=1)
        self.meter = StackedLossMeter(("total", *part_names), num_networks=count, device=runtime.device)
        self.selections = [Selection(patience_epochs=recipe.patience_epochs) for _ in range(count)]
        self.last_weights: list[Weights] = [{} for _ in range(count)]
        self.clock = Clock()
        self.done = False

    @property
    def step(self) -> int:
        """How many steps were taken."""
        return self.updates.step


class StackedLossMeter:
    """Sums of the losses of K networks over an epoch, kept on the device and read once in a window of steps.

    Args:
        names: of the rows, "total" first.
        num_networks: K.
        device: where the losses are.
    """

    def __init__(self, names: Sequence[str], *, num_networks: int, device: torch.device) -> None:
        self.names = tuple(names)
        self.num_networks = num_networks
        window = torch.zeros(WINDOW_STEPS, len(self.names) + 1, num_networks, device=device)
        self._window = window
        self._rows, self._short_rows = list(window), list(window[:, :-1])  # views made once
        self._examples: list[float] = []
        self._labelled: list[float | None] = []  # of each pending step, where it is known here
        self.recent: dict[str, float] = {}  # means over networks and the window that was read last
        self.reset()

    def reset(self) -> None:
        """Begin an epoch."""
        self.examples = 0  # of one network
        self._sums = torch.zeros(len(self.names), self.num_networks, dtype=torch.float64)
        self._weights = torch.zeros_like(self._sums)

    @property
    def num_pending(self) -> int:
        """Steps that were added and not read."""
        return len(self._examples)

    @property
    def is_full(self) -> bool:
        """Whether the window must be read before the next step."""
        return len(self._examples) == WINDOW_STEPS

    def add(self, values: Sequence[Tensor], *, examples: float, labelled: Tensor | float) -> None:
        """Take in one step: values of shape (networks,) by the tally's names, and how many examples they run over."""
        index = len(self._examples)
        if isinstance(labelled, Tensor):
            torch.stack([*values, labelled], out=self._rows[index])
            self._labelled.append(None)
        else:
            torch.stack(list(values), out=self._short_rows[index])
            self._labelled.append(labelled)
        self._examples.append(examples)

    def read(self, *, watched: Tensor) -> tuple[int, list[int]] | None:
        """Bring the pending steps to the host.

        Args:
            watched: of shape (networks,), which networks must have a finite loss.
        Returns:
            The first step, from 0, in which one has not, and the networks that have not; or None.
        """
        rows = self._window[: self.num_pending].to("cpu", torch.float64)  # (steps, names + 1, networks)
        examples = torch.tensor(self._examples, dtype=torch.float64)
        for row, labelled in zip(rows, self._labelled, strict=True):
            if labelled is not None:
                row[-1] = labelled
        self._examples, self._labelled, self.recent = [], [], {}
        if len(rows) == 0:
            return None
        bad = ~rows[:, 0].isfinite() & watched
        if bool(bad.any()):
            step = int(bad.any(dim=1).nonzero()[0])
            return step, bad[step].nonzero()[:, 0].tolist()
        for i, name in enumerate(self.names):
            weights = rows[:, -1] if name in LABELLED_PARTS else examples.unsqueeze(1).expand(-1, self.num_networks)
            self._sums[i] += (rows[:, i] * weights).sum(dim=0)
            self._weights[i] += weights.sum(dim=0)
        self.examples += int(examples.sum())
        means = rows[:, :-1, watched].mean(dim=(0, 2)).tolist()
        self.recent = dict(zip(self.names, means, strict=True))
        return None

    def epoch_means(self, network: int, names: Sequence[str]) -> dict[str, float]:
        """Return one network's means over the epoch's valid examples."""
        rows = [self.names.index(name) for name in names]
        sums, weights = self._sums[rows, network].tolist(), self._weights[rows, network].tolist()
        return {name: s / w for name, s, w in zip(names, sums, weights, strict=True) if w > 0}


def mean_record(records: Sequence[EpochRecord]) -> EpochRecord:
    """Return one record with the means over networks, for a person to look at."""

    def means(values: Sequence[dict[str, float]]) -> dict[str, float]:
        names = dict.fromkeys(name for value in values for name in value)
        by_name = {name: [value[name] for value in values if name in value] for name in names}
        return {name: sum(numbers) / len(numbers) for name, numbers in by_name.items()}

    first = records[0]
    return dataclasses.replace(
        first,
        train=means([record.train for record in records]),
        validation=means([record.validation for record in records]),
    )
