"""Everything of a training run that changes from step to step, and so belongs into a checkpoint."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.models import max_norm_of, project_max_norm
from limbeck.objectives import Objective
from limbeck.records import EpochRecord
from limbeck.training.averaging import AveragedWeights
from limbeck.training.optimiser import FORGET_STEPS, build_optimiser, forget_faint_traces
from limbeck.training.recipe import Recipe
from limbeck.training.runtime import Runtime
from limbeck.training.tally import LossTally

Weights = dict[str, Tensor]


def selection_key(record: EpochRecord) -> list[float]:
    """Return what the selected epoch has the lowest of: validation errors, then NLL; without validation, the last."""
    validation = record.validation
    return [validation["errors"], validation["nll"]] if validation else [0.0, -float(record.epoch)]


class TrainingState:
    """The student, its optimiser, averages and counters.

    Args:
        student: what is trained, on the runtime's device.
        recipe: optimiser, averaging and clipping.
        runtime: device and precision.
        objective: what is minimised; names the parts of its loss and reads them.
    """

    def __init__(self, student: nn.Module, *, recipe: Recipe, runtime: Runtime, objective: Objective) -> None:
        self.student, self.recipe, self.runtime = student, recipe, runtime
        self.optimiser = build_optimiser(student, recipe)
        self.average = AveragedWeights(student, decay=recipe.ema_decay) if recipe.ema_decay is not None else None
        self.scaler = torch.amp.GradScaler(runtime.device.type, enabled=runtime.precision == "fp16")
        self.tally = LossTally(("total", *objective.part_names), objective.read)
        self._has_limits = any(max_norm_of(module) is not None for module in student.modules())
        self.step = 0
        self.num_skipped = 0  # of these steps, for gradients that overflowed in float16
        self.done = False
        self.history: list[EpochRecord] = []
        self.best_key: list[float] = []  # lower is better
        self.best_epoch = 0
        self.best_weights: Weights = {}
        self.elapsed_seconds = 0.0  # of all parts of the run
        self.epoch_seconds = 0.0  # of the current epoch

    @property
    def num_updates(self) -> int:
        """Number of steps that changed the weights: where the schedule stands."""
        return self.step - self.num_skipped

    @property
    def learning_rate(self) -> float:
        """Of the last step."""
        return float(self.optimiser.param_groups[0]["lr"])

    def update(self, learning_rate: float) -> None:
        """Take one optimiser step on the gradients that are there, and everything that follows it.

        Gradients that overflowed in float16 skip it: weights, their average and the schedule stay where they are.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        if self.recipe.clip_norm is not None:
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self.student.parameters(), self.recipe.clip_norm)
        self.scaler.step(self.optimiser)
        was_taken = self._update_scale()
        for group in self.optimiser.param_groups:  # as zero_grad does, without its profiling
            for parameter in group["params"]:
                parameter.grad = None
        self.step += 1
        if not was_taken:
            self.num_skipped += 1
            return
        if self._has_limits:
            project_max_norm(self.student)
        if self.average is not None:
            self.average.update(self.student)
        if self.step % FORGET_STEPS == 0 and self.runtime.device.type == "cpu":
            forget_faint_traces(self.optimiser)

    def _update_scale(self) -> bool:
        """Let the scale of float16 losses adapt; return whether the optimiser's step was taken, not skipped."""
        if not self.scaler.is_enabled():
            return True
        before = self.scaler.get_scale()
        self.scaler.update()
        return self.scaler.get_scale() >= before

    def averaged_weights(self) -> Weights | None:
        """Return the weights that are evaluated in place of the student's own; None where these are."""
        return self.average.state if self.average is not None else None

    def copy_evaluated_weights(self) -> Weights:
        """Return a copy of the weights that stand for the student now."""
        weights = self.averaged_weights() or self.student.state_dict()
        return {key: value.detach().clone(memory_format=torch.contiguous_format) for key, value in weights.items()}

    def keep_if_best(self, record: EpochRecord) -> None:
        """Keep the weights of the epoch with the fewest validation errors, then the lower NLL; else of the last."""
        key = selection_key(record)
        if not self.best_key or key < self.best_key:
            self.best_key, self.best_epoch = key, record.epoch
            self.best_weights = self.copy_evaluated_weights()

    def snapshot(self) -> dict[str, Any]:
        """Return all of it, for a checkpoint; losses that were not read yet are not in it."""
        return {
            "step": self.step,
            "skipped": self.num_skipped,
            "done": self.done,
            "student": self.student.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": [self.average.num_updates, self.average.state] if self.average else [],
            "scaler": self.scaler.state_dict(),
            "random": self._random_states(),
            "tally": self.tally.state(),
            "history": json.dumps([asdict(record) for record in self.history]),
            "best": [self.best_key, self.best_epoch, self.best_weights],
            "seconds": [self.elapsed_seconds, self.epoch_seconds],
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Become what :meth:`snapshot` saw; torch's random states too."""
        self.step, self.num_skipped, self.done = snapshot["step"], snapshot["skipped"], snapshot["done"]
        self.student.load_state_dict(snapshot["student"])
        self.optimiser.load_state_dict(snapshot["optimiser"])
        if self.average is not None:
            self.average.num_updates, average = snapshot["average"]
            self.average.state = {key: value.to(self.runtime.device) for key, value in average.items()}
        self.scaler.load_state_dict(snapshot["scaler"])
        self.tally.restore(snapshot["tally"])
        self.history = [EpochRecord(**record) for record in json.loads(snapshot["history"])]
        self.best_key, self.best_epoch, self.best_weights = snapshot["best"]
        self.elapsed_seconds, self.epoch_seconds = snapshot["seconds"]
        torch.set_rng_state(snapshot["random"][0])
        if len(snapshot["random"]) > 1 and self.runtime.device.type == "cuda":
            torch.cuda.set_rng_state(snapshot["random"][1], self.runtime.device)

    def _random_states(self) -> list[Tensor]:
        device = self.runtime.device
        return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]
