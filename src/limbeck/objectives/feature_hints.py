"""Soft targets, labels and hidden features: hints, attention transfer, relations between examples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.data import Batch
from limbeck.errors import ModelError, TeacherError, require_not_negative, require_positive, unknown_name
from limbeck.losses import (
    attention_transfer_loss,
    hint_loss,
    relational_angle_loss,
    relational_distance_loss,
    soft_target_loss,
)
from limbeck.models import FeatureOutputs
from limbeck.objectives.hard_labels import mean_hard_label_loss
from limbeck.objectives.objective import Counts, LossParts, Objective, count_valid, example_sum, logits_for, names_of
from limbeck.targets import FeatureTargets, SoftTargets

FEATURE_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "hint": hint_loss,
    "attention": attention_transfer_loss,
    "distance": relational_distance_loss,
    "angle": relational_angle_loss,
}


@dataclass(frozen=True)
class FeatureHints(Objective):
    r"""What a tapped student minimises beside a tapped teacher (``models.add_taps``, ``teachers.FeatureTeacher``).

    .. math:: L = w_{hard}\, \overline{CE(y, q)} + w_{soft}\, T^2\, \overline{KL(p \| q)} + w_{feature} \sum_i
        \overline{\ell(f_i, g_i)}

    over the taps i, with l of ``limbeck.losses``: "hint", the mean squared difference over elements; "attention";
    "distance" or "angle", relations between the examples of a batch. Means run over examples.

    Args:
        temperature: T > 0.
        hard_weight: >= 0.
        soft_weight: >= 0.
        feature_weight: > 0. Scales differ much: papers take 1000 for attention, 25 and 50 for distances and angles.
        loss: "hint", "attention", "distance" or "angle".
    Raises:
        InvalidValue: a number outside its range.
        UnknownName: another loss.
    Example:
        >>> FeatureHints(loss="angle").part_names
        ('features', 'soft', 'hard')

    References:
        Romero et al. 2015, arXiv:1412.6550; Zagoruyko and Komodakis 2017, arXiv:1612.03928; Park et al. 2019,
        arXiv:1904.05068.
    """

    temperature: float = 4.0
    hard_weight: float = 0.1
    soft_weight: float = 0.9
    feature_weight: float = 1.0
    loss: str = "hint"

    def __post_init__(self) -> None:
        require_positive("temperature", self.temperature)
        require_not_negative("hard_weight", self.hard_weight)
        require_not_negative("soft_weight", self.soft_weight)
        require_positive("feature_weight", self.feature_weight)
        if self.loss not in FEATURE_LOSSES:
            raise unknown_name("feature loss", self.loss, FEATURE_LOSSES)

    @property
    def needs_teacher(self) -> bool:
        return True

    @property
    def takes_positions(self) -> bool:
        return False

    @property
    def part_names(self) -> tuple[str, ...]:
        return names_of(features=self.feature_weight, soft=self.soft_weight, hard=self.hard_weight)

    def __call__(
        self,
        outputs: Tensor | FeatureOutputs,
        targets: SoftTargets | None,
        batch: Batch,
        *,
        counts: Counts | None = None,
    ) -> LossParts:
        if not isinstance(outputs, FeatureOutputs):
            raise ModelError(
                "FeatureHints needs a tapped student.",
                received=f"outputs of type {type(outputs).__name__}",
                remedy="make one with limbeck.models.add_taps",
            )
        if not isinstance(targets, FeatureTargets) or len(targets.features) != len(outputs.features):
            given = len(targets.features) if isinstance(targets, FeatureTargets) else "no"
            raise TeacherError(
                "FeatureHints needs a teacher that is tapped as the student is.",
                received=f"{given} features for {len(outputs.features)} taps",
                remedy="use limbeck.teachers.FeatureTeacher with one path for each tap",
            )
        counts = counts or count_valid(batch)
        compare = FEATURE_LOSSES[self.loss]
        pairs = zip(outputs.features, targets.features, strict=True)
        losses = torch.stack([example_sum(compare(own, other), batch) for own, other in pairs]).sum() / counts.examples
        terms = {"features": (self.feature_weight, losses)}
        if self.soft_weight > 0:
            logits = logits_for(outputs.logits, targets, temperature=self.temperature, objective=self)
            soft = soft_target_loss(outputs.logits, logits, temperature=self.temperature)
            terms["soft"] = (self.soft_weight, example_sum(soft, batch) / counts.examples)
        if self.hard_weight > 0:
            terms["hard"] = (self.hard_weight, mean_hard_label_loss(outputs.logits, batch, counts))
        return LossParts.weighted(terms)
