"""Everything of a training run that changes from step to step, and so belongs into a checkpoint."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from limbeck.objectives import Objective
from limbeck.settings import TrainConfig
from limbeck.training.clock import Clock
from limbeck.training.loss_meter import LossMeter
from limbeck.training.runtime import Runtime
from limbeck.training.selection import Selection
from limbeck.training.updates import WeightUpdates


class TrainingState:
    """The student with its optimiser, the losses of the current epoch, the selected weights and the time.

    Args:
        student: what is trained, on the runtime's device.
        recipe: optimiser, schedule, averaging, clipping and patience.
        runtime: device and precision.
        objective: what is minimised; names the parts of its loss and reads them.
        num_steps: of the whole run.
    """

    def __init__(
        self, student: nn.Module, *, recipe: TrainConfig, runtime: Runtime, objective: Objective, num_steps: int
    ) -> None:
        self.runtime = runtime
        self.updates = WeightUpdates(student, recipe=recipe, runtime=runtime, num_steps=num_steps)
        self.meter = LossMeter(("total", *objective.part_names), objective.read, runtime.ranks.add_up)
        self.selection = Selection(patience_epochs=recipe.patience_epochs)
        self.clock = Clock()
        self.done = False

    @property
    def step(self) -> int:
        """How many steps were taken."""
        return self.updates.step

    def snapshot(self) -> dict[str, Any]:
        """Return all of it, for a checkpoint; losses that were not read yet are not in it."""
        return {
            "done": self.done,
            "updates": self.updates.state(),
            "random": self._random_states(),
            "tally": self.meter.state(),
            "selection": self.selection.state(),
            "seconds": self.clock.state(),
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Become what :meth:`snapshot` saw; torch's random states too."""
        self.done = snapshot["done"]
        self.updates.restore(snapshot["updates"])
        self.meter.restore(snapshot["tally"])
        self.selection.restore(snapshot["selection"])
        self.clock.restore(snapshot["seconds"])
        torch.set_rng_state(snapshot["random"][0])
        if len(snapshot["random"]) > 1 and self.runtime.device.type == "cuda":
            torch.cuda.set_rng_state(snapshot["random"][1], self.runtime.device)

    def _random_states(self) -> list[Tensor]:
        device = self.runtime.device
        return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]
