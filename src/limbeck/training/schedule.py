"""Learning rate and momentum as pure functions of the step, so that a resumed run has nothing to restore."""

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
    passed); exponential: end^s; one_cycle: cosine rise from 1/25 of the peak, then cosine fall to 1/10,000 of it
    (Smith 2018, arXiv:1803.09820).

    Where the momentum m rises, the rate counts times (1 - m) / (1 - momentum): a lasting gradient moves the weights as
    far in every step, whatever m is (Hinton et al. 2012, arXiv:1207.0580, appendix A.1).

    Example:
        >>> recipe = TrainConfig(learning_rate=0.1, schedule="cosine")
        >>> [round(learning_rate_at(recipe, step, 4), 4) for step in range(4)]
        [0.1, 0.0854, 0.05, 0.0146]
    """
    rate = _scheduled_rate(recipe, step, num_steps)
    if recipe.optimiser != "sgd" or recipe.momentum_start is None:
        return rate
    return rate * (1 - momentum_at(recipe, step, num_steps)) / (1 - recipe.momentum)


def momentum_at(recipe: TrainConfig, step: int, num_steps: int) -> float:
    """Return the momentum of optimiser step ``step`` (from 0) of ``num_steps``.

    It rises linearly from ``momentum_start`` to ``momentum`` in the first ``momentum_rise_fraction`` of all steps.

    Example:
        >>> recipe = TrainConfig(momentum=0.9, momentum_start=0.5, momentum_rise_fraction=0.5)
        >>> [round(momentum_at(recipe, step, 8), 4) for step in (0, 2, 4, 7)]
        [0.5, 0.7, 0.9, 0.9]
    """
    rising_steps = recipe.momentum_rise_fraction * num_steps
    if recipe.momentum_start is None or step >= rising_steps:
        return recipe.momentum
    return recipe.momentum_start + (recipe.momentum - recipe.momentum_start) * step / rising_steps


def _scheduled_rate(recipe: TrainConfig, step: int, num_steps: int) -> float:
    if recipe.schedule == "one_cycle":
        return recipe.learning_rate * _one_cycle(step / num_steps, recipe.warmup_fraction or ONE_CYCLE_RISE)
    warmup_steps = round(recipe.warmup_fraction * num_steps)
    if step < warmup_steps:
        return recipe.learning_rate * (step + 1) / warmup_steps
    position = (step - warmup_steps) / max(1, num_steps - warmup_steps)
    if recipe.schedule == "cosine":
        return recipe.learning_rate * (1 + math.cos(math.pi * position)) / 2
    if recipe.schedule == "exponential":
        return float(recipe.learning_rate * recipe.exponential_end**position)
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
