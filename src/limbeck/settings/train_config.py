"""How a network is trained: the settings that baseline and distilled student share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt

from limbeck.errors import InvalidValue
from limbeck.settings.checking import check
from limbeck.settings.setting import Count, Fraction, FractionBelowOne, Positive, Setting, arguments_documented

Optimiser = Literal["sgd", "adamw", "lion"]
Schedule = Literal["constant", "cosine", "exponential", "one_cycle", "step"]


@arguments_documented
@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of one training run.

    Raises:
        InvalidValue: a number outside its range.
        UnknownName: another optimiser or schedule.
    """

    num_epochs: Annotated[
        Count, Setting("Number of epochs for every network trained.", "training", flag="--epochs")
    ] = 20
    batch_size: Annotated[Count, Setting("Samples per optimiser step.", "training")] = 128
    accumulation_steps: Annotated[
        Count, Setting("Forward passes that a step is split into, to save memory.", "training")
    ] = 1
    label_smoothing: Annotated[
        FractionBelowOne, Setting("Label smoothing s: the label counts 1 - s, every class s / classes.", "loss")
    ] = 0.0
    class_weights: Annotated[
        Sequence[Positive] | None,
        Setting(
            "Weight of each class in the labels' loss, in the order of the classes.",
            "loss",
            separator=",",
            unset="equal",
        ),
    ] = None
    optimiser: Annotated[Optimiser, Setting("Optimiser of every network trained.", "training")] = "sgd"
    learning_rate: Annotated[Positive, Setting("Learning rate at the schedule's peak.", "training")] = 0.05
    momentum: Annotated[FractionBelowOne, Setting("Momentum of sgd.", "training")] = 0.9
    momentum_start: Annotated[
        FractionBelowOne | None,
        Setting(
            "Momentum of sgd at the first step, from where it rises linearly; the rate then counts times "
            "(1 - m) / (1 - momentum).",
            "training",
            unset="momentum",
        ),
    ] = None
    momentum_rise_fraction: Annotated[
        Fraction, Setting("Fraction of all steps in which momentum_start rises to momentum.", "training")
    ] = 1 / 6
    nesterov: Annotated[bool, Setting("Nesterov momentum for sgd.", "training")] = True
    weight_decay: Annotated[
        float, Ge(0), Setting("Weight decay of matrices and kernels; biases and norms have none.", "training")
    ] = 5e-4
    schedule: Annotated[Schedule, Setting("How the learning rate changes over the steps.", "training")] = "cosine"
    warmup_fraction: Annotated[
        FractionBelowOne,
        Setting("Fraction of all steps in which the rate rises linearly; for one_cycle 0 means 0.3.", "training"),
    ] = 0.0
    step_milestones: Annotated[
        Sequence[Fraction],
        Setting("Fractions of all steps at which schedule step lowers the rate.", "training", separator=","),
    ] = (0.5, 0.75)
    step_factor: Annotated[Positive, Setting("What schedule step multiplies the rate by.", "training")] = 0.1
    exponential_end: Annotated[
        Positive, Setting("What schedule exponential has multiplied the rate by in the end.", "training")
    ] = 0.0025
    clip_norm: Annotated[
        Annotated[float, Gt(0)] | None, Setting("Largest L2 norm of the whole gradient.", "training", unset="no limit")
    ] = None
    ema_decay: Annotated[
        FractionBelowOne | None,
        Setting("Decay of averaged weights, evaluated and kept instead of the raw ones.", "training", unset="none"),
    ] = None
    patience_epochs: Annotated[
        Count | None,
        Setting("Stop after so many epochs without a better validation result.", "training", unset="never"),
    ] = None

    def __post_init__(self) -> None:
        check(self)
        if self.accumulation_steps > self.batch_size:
            raise InvalidValue(
                "A step cannot be split into more parts than it has samples.",
                received=f"accumulation_steps {self.accumulation_steps}, batch_size {self.batch_size}",
                expected="accumulation_steps <= batch_size",
            )
        if self.optimiser == "sgd" and self.nesterov and 0 in (self.momentum, self.momentum_start):
            received = "momentum 0" if self.momentum == 0 else "momentum_start 0"
            raise InvalidValue("Nesterov needs momentum.", received=received, expected="more than 0, or nesterov off")
