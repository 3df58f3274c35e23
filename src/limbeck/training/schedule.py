"""Learning rate as a pure function of the step, so that a resumed run has nothing to restore."""

from __future__ import annotations

import math

from limbeck.errors import TrainingDiverged
from limbeck.settings import TrainConfig

ONE_CYCLE_RISE = 0.3  # of all steps, where the recipe names no warm-up
ONE_CYCLE_START = 1 / 25  # of the peak
ONE_CYCLE_END = 1e-4  # of the peak


def learning_rate_at(recipe: TrainConfig, step: int, num_steps: int) -> float:
    r"""Return the learning rate of optimiser step ``step`` (from 0) of ``num_steps``.

    With s = step / num_steps after warm-up in [0, 1): constant 1; cosine (1 + cos(pi s)) / 2; step: factor^(milestones
    passed); one_cycle: cosine rise from 1/25 of the peak, then cosine fall to 1/10,000 of it (Smith 2018,
    arXiv:1803.09820).

    Example:
        >>> recipe = TrainConfig(learning_rate=0.1, schedule="cosine")
        >>> [round(learning_rate_at(recipe, step, 4), 4) for step in range(4)]
        [0.1, 0.0854, 0.05, 0.0146]
    """
    if recipe.schedule == "one_cycle":
        return recipe.learning_rate * _one_cycle(step / num_steps, recipe.warmup_fraction or ONE_CYCLE_RISE)
    warmup_steps = round(recipe.warmup_fraction * num_steps)
    if step < warmup_steps:
        return recipe.learning_rate * (step + 1) / warmup_steps
    if recipe.schedule == "cosine":
        position = (step - warmup_steps) / max(1, num_steps - warmup_steps)
        return recipe.learning_rate * (1 + math.cos(math.pi * position)) / 2
    if recipe.schedule == "step":
        passed = sum(step >= milestone * num_steps for milestone in recipe.step_milestones)
        return float(recipe.learning_rate * recipe.step_factor**passed)
    return recipe.learning_rate


def _one_cycle(position: float, rise: float) -> float:
    if position < rise:
        return _cosine_between(ONE_CYCLE_START, 1.0, position / rise)
    return _cosine_between(1.0, ONE_CYCLE_END, (position - rise) / (1 - rise))


def _cosine_between(start: float, end: float, position: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * position)) / 2


def diverged(
    what: str, *, step: int, num_steps: int, recipe: TrainConfig, kept: str = "", hint: str = ""
) -> TrainingDiverged:
    """Return the error of a training whose numbers are not finite any more.

    Args:
        what: "loss of student".
        step: from 1, where it was found.
        num_steps: of the whole run.
        recipe: whose learning rate it was.
        kept: where the last good state is.
        hint: another remedy.
    """
    return TrainingDiverged(
        f"The {what} became NaN or infinite at step {step} of {num_steps}.",
        received=f"learning rate {learning_rate_at(recipe, step - 1, num_steps):.4g}",
        expected=f"finite numbers{kept}",
        remedy=f"lower the learning rate, set clip_norm, or warm up longer{hint}",
    )
