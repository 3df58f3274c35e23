"""Updates of weights: the optimiser's step and what follows each, for one network or for a stack of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from limbeck.models import max_norm_of, project_max_norm
from limbeck.models.sharding import is_sharded, load_shards
from limbeck.settings import TrainConfig
from limbeck.training.averaging import AveragedWeights
from limbeck.training.optimiser import FLUSH_STEPS, build_optimiser, clip_each, flush_subnormal_state
from limbeck.training.runtime import Runtime
from limbeck.training.schedule import learning_rate_at, momentum_at
from limbeck.training.selection import Weights
from limbeck.training.sharded import OwnParameters, own_state


class WeightUpdates:
    """A module's optimiser, its averaged weights and the count of its steps.

    Args:
        module: what is trained, on the runtime's device, whole or sharded over all ranks.
        recipe: optimiser, schedule, averaging and clipping.
        runtime: device and precision.
        num_steps: of the whole run: the schedule's length.
        stack_axes: leading axes of every parameter that count networks; each network's gradient is then clipped by its
            own norm.
    """

    def __init__(
        self, module: nn.Module, *, recipe: TrainConfig, runtime: Runtime, num_steps: int, stack_axes: int = 0
    ) -> None:
        self.module, self.recipe, self.num_steps, self.stack_axes = module, recipe, num_steps, stack_axes
        self.device = runtime.device
        self.own = OwnParameters(module, runtime.ranks) if is_sharded(module) else None
        trained = self.own.parameters if self.own else list(module.parameters())
        self.optimiser = build_optimiser(module, recipe, parameters=trained, stack_axes=stack_axes)
        self.average = AveragedWeights(module, decay=recipe.ema_decay) if recipe.ema_decay is not None else None
        self.scaler = torch.amp.GradScaler(runtime.device.type, enabled=runtime.precision == "fp16")
        self.step = 0
        self.num_skipped = 0  # of these steps, for gradients that overflowed in float16
        self._has_limits = any(max_norm_of(part) is not None for part in module.modules())

    @property
    def num_updates(self) -> int:
        """Number of steps that changed the weights: where the schedule stands."""
        return self.step - self.num_skipped

    @property
    def learning_rate(self) -> float:
        """Of the last step."""
        return float(self.optimiser.param_groups[0]["lr"])

    def update(self) -> None:
        """Take one optimiser step on the gradients that are there, and everything that follows it.

        Gradients that overflowed in float16 skip it: weights, their average and the schedule stay where they are.
        """
        learning_rate = learning_rate_at(self.recipe, self.num_updates, self.num_steps)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
            if self.recipe.optimiser == "sgd":
                group["momentum"] = momentum_at(self.recipe, self.num_updates, self.num_steps)
        if self.own is not None:
            self.own.take_gradients()
        self._clip()
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
            project_max_norm(self.module, stack_axes=self.stack_axes)
        if self.average is not None:
            self.average.update(self.module)
        if self.step % FLUSH_STEPS == 0 and self.device.type == "cpu":
            flush_subnormal_state(self.optimiser)

    def _clip(self) -> None:
        clip_norm = self.recipe.clip_norm
        if clip_norm is None:
            return
        self.scaler.unscale_(self.optimiser)
        parameters = [parameter for group in self.optimiser.param_groups for parameter in group["params"]]
        if self.own is not None:
            self.own.clip(clip_norm)
        elif self.stack_axes:
            clip_each(parameters, clip_norm)
        else:
            nn.utils.clip_grad_norm_(parameters, clip_norm)

    def _update_scale(self) -> bool:
        """Let the scale of float16 losses adapt; return whether the optimiser's step was taken, not skipped."""
        if not self.scaler.is_enabled():
            return True
        before = self.scaler.get_scale()
        self.scaler.update()
        return self.scaler.get_scale() >= before

    def averaged_weights(self) -> Weights | None:
        """Return the weights that are evaluated in place of the module's own; None where these are."""
        return self.average.state if self.average is not None else None

    def copy_evaluated_weights(self) -> Weights:
        """Return a copy of the weights that stand for the module now."""
        weights = self.averaged_weights() or self.module.state_dict()
        return {key: value.detach().clone(memory_format=torch.contiguous_format) for key, value in weights.items()}

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        optimiser = self.own.sharded_state(self.optimiser) if self.own else self.optimiser.state_dict()
        return {
            "step": self.step,
            "skipped": self.num_skipped,
            "weights": self.module.state_dict(),
            "optimiser": optimiser,
            "average": [self.average.num_updates, self.average.state] if self.average else [],
            "scaler": self.scaler.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state` returned."""
        self.step, self.num_skipped = state["step"], state["skipped"]
        if self.own is not None:
            load_shards(self.module, state["weights"])
            self.optimiser.load_state_dict(own_state(state["optimiser"]))
        else:
            self.module.load_state_dict(state["weights"])
            self.optimiser.load_state_dict(state["optimiser"])
        if self.average is not None:
            self.average.num_updates, average = state["average"]
            self.average.state = {key: value.to(self.device) for key, value in average.items()}
        self.scaler.load_state_dict(state["scaler"])
