"""How a network is trained: the settings that baseline and distilled student share."""

from __future__ import annotations

from dataclasses import dataclass

from limbeck.errors import InvalidValue, require_fraction, require_not_negative, require_positive, unknown_name

OPTIMISERS = ("sgd", "adamw")
SCHEDULES = ("constant", "cosine", "one_cycle", "step")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of one training run.

    Raises:
        InvalidValue: a number outside its range.
        UnknownName: another optimiser or schedule.
    """

    num_epochs: int = 20
    batch_size: int = 128  # samples per optimiser step
    accumulation_steps: int = 1  # forward passes that a step is split into, to save memory
    optimiser: str = "sgd"  # "sgd" or "adamw"
    learning_rate: float = 0.05  # the schedule's peak
    momentum: float = 0.9  # sgd only
    nesterov: bool = True  # sgd only
    weight_decay: float = 5e-4  # on matrices and kernels; never on biases, norms and other vectors
    schedule: str = "cosine"  # "constant", "cosine", "one_cycle" or "step"
    warmup_fraction: float = 0.0  # of all steps, rising linearly; one_cycle: its rising part (0 means 0.3)
    step_milestones: tuple[float, ...] = (0.5, 0.75)  # fractions of all steps; schedule "step" only
    step_factor: float = 0.1  # learning rate times this at each milestone
    clip_norm: float | None = None  # largest L2 norm of the whole gradient
    ema_decay: float | None = None  # averaged weights are evaluated and kept instead of the raw ones
    patience_epochs: int | None = None  # stop early after so many epochs without a better validation result

    def __post_init__(self) -> None:
        for name in ("num_epochs", "batch_size", "accumulation_steps"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise InvalidValue(f"{name} must be a whole number above 0.", received=value, expected=">= 1")
        if self.optimiser not in OPTIMISERS:
            raise unknown_name("optimiser", self.optimiser, OPTIMISERS)
        if self.schedule not in SCHEDULES:
            raise unknown_name("schedule", self.schedule, SCHEDULES)
        if self.accumulation_steps > self.batch_size:
            raise InvalidValue(
                "A step cannot be split into more parts than it has samples.",
                received=f"accumulation_steps {self.accumulation_steps}, batch_size {self.batch_size}",
                expected="accumulation_steps <= batch_size",
            )
        require_positive("learning_rate", self.learning_rate)
        require_positive("step_factor", self.step_factor)
        require_not_negative("weight_decay", self.weight_decay)
        require_fraction("momentum", self.momentum, below_one=True)
        require_fraction("warmup_fraction", self.warmup_fraction, below_one=True)
        for milestone in self.step_milestones:
            require_fraction("A step milestone", milestone)
        if self.clip_norm is not None:
            require_positive("clip_norm", self.clip_norm)
        if self.ema_decay is not None:
            require_fraction("ema_decay", self.ema_decay, below_one=True)
        if self.patience_epochs is not None and self.patience_epochs < 1:
            raise InvalidValue("patience_epochs must be above 0.", received=self.patience_epochs, expected=">= 1")
        if self.optimiser == "sgd" and self.nesterov and self.momentum == 0:
            raise InvalidValue(
                "Nesterov needs momentum.", received="momentum 0", expected="momentum > 0, or nesterov off"
            )
