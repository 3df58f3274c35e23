"""What changes from step to step while a stack of networks trains."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from limbeck.models import max_norm_of, project_max_norm
from limbeck.records import EpochRecord
from limbeck.training.averaging import AveragedWeights
from limbeck.training.optimiser import FORGET_STEPS, build_optimiser, forget_faint_traces
from limbeck.training.recipe import Recipe
from limbeck.training.stacked_networks import StackedNetworks, Weights
from limbeck.training.state import selection_key
from limbeck.training.tally import LABELLED_PARTS, WINDOW_STEPS


class StackedState:
    """The stack, its optimiser and its averages.

    Args:
        networks: what is trained.
        recipe: optimiser, averaging and clipping.
    """

    def __init__(self, networks: StackedNetworks, *, recipe: Recipe) -> None:
        self.networks, self.recipe = networks, recipe
        self.optimiser = build_optimiser(networks.module, recipe, stack_axes=1)
        self.average = (
            AveragedWeights(networks.module, decay=recipe.ema_decay) if recipe.ema_decay is not None else None
        )
        self._has_limits = any(max_norm_of(module) is not None for module in networks.module.modules())
        self.step = 0

    def update(self, learning_rate: float) -> None:
        """Take one optimiser step on the gradients that are there, and everything that follows it."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        parameters = [parameter for group in self.optimiser.param_groups for parameter in group["params"]]
        if self.recipe.clip_norm is not None:
            clip_each(parameters, self.recipe.clip_norm)
        self.optimiser.step()
        for parameter in parameters:
            parameter.grad = None
        if self._has_limits:
            project_max_norm(self.networks.module, stack_axes=1)
        if self.average is not None:
            self.average.update(self.networks.module)
        self.step += 1
        if self.step % FORGET_STEPS == 0 and parameters[0].device.type == "cpu":
            forget_faint_traces(self.optimiser)

    def evaluated_weights(self) -> Weights | None:
        """Return the stacked weights that are evaluated in place of the networks' own; None where these are."""
        return self.average.state if self.average is not None else None


@torch.no_grad()
def clip_each(parameters: Sequence[nn.Parameter], clip_norm: float) -> None:
    """Shrink the gradient of every network whose L2 norm, over all its parameters, exceeds the limit.

    Args:
        parameters: their first axis counts networks; the others' gradients are changed in place.
        clip_norm: largest norm.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norms = torch.stack([torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in gradients])
    norm = torch.linalg.vector_norm(norms, dim=0)  # (networks,)
    factor = (clip_norm / (norm + 1e-6)).clamp(max=1.0)  # as torch.nn.utils.clip_grad_norm_
    for gradient in gradients:
        gradient.mul_(factor.view(-1, *[1] * (gradient.ndim - 1)))


class Selection:
    """One network's history, its best weights so far, and its last ones.

    Args:
        part_names: of its objective.
        patience_epochs: stop after so many epochs without a better validation result; None for never.
    """

    def __init__(self, part_names: Sequence[str], *, patience_epochs: int | None) -> None:
        self.part_names = ("total", *part_names)
        self.history: list[EpochRecord] = []
        self.best_epoch = 0
        self.best_weights: dict[str, Tensor] = {}
        self.last_weights: dict[str, Tensor] = {}
        self.is_done = False
        self._best_key: list[float] = []
        self._patience_epochs = patience_epochs

    def take(self, record: EpochRecord, weights: dict[str, Tensor]) -> None:
        """Take in an epoch and the weights at its end."""
        self.history.append(record)
        self.last_weights = weights
        key = selection_key(record)
        if not self._best_key or key < self._best_key:
            self._best_key, self.best_epoch, self.best_weights = key, record.epoch, weights
        if self._patience_epochs is not None and record.epoch - self.best_epoch >= self._patience_epochs:
            self.is_done = True


class StackedTally:
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
