"""Matching the teacher's logits: what soft targets become at high temperature."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from limbeck.data import Batch
from limbeck.errors import InvalidValue, require_not_negative
from limbeck.losses import logit_matching_loss
from limbeck.objectives.hard_labels import mean_hard_label_loss
from limbeck.objectives.objective import Counts, LossParts, Objective, count_valid, example_sum, logits_for, names_of
from limbeck.targets import SoftTargets


@dataclass(frozen=True)
class LogitMatching(Objective):
    r"""Half the mean squared difference to the teacher's logits, and labels at T = 1 beside it where they are weighed.

    .. math:: L = w_{soft}\, \overline{\frac{1}{2 C} \sum_c (z_c - v_c - m)^2} + w_{hard}\, \overline{CE(y, q)}

    m is the mean of z - v over the classes if centred, else 0. Centred, it is the limit of :class:`Distillation` with
    the same weights as T grows, in value and gradient. The first mean runs over all examples, the second over the
    labelled ones.

    Args:
        centred: whether a constant added to all logits of an example is ignored, as a softmax ignores it.
        hard_weight: >= 0; 0 where the labels play no part.
        soft_weight: > 0, of the matching.
    Raises:
        InvalidValue: outside these ranges.
    References:
        Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 2.1; Ba, Caruana 2014, arXiv:1312.6184.
    """

    centred: bool = True
    hard_weight: float = 0.0
    soft_weight: float = 1.0

    def __post_init__(self) -> None:
        require_not_negative("hard_weight", self.hard_weight)
        require_not_negative("soft_weight", self.soft_weight)
        if self.soft_weight == 0:
            raise InvalidValue(
                "Without a weight on the teacher's logits there is nothing to match.",
                received="soft_weight 0",
                expected="soft_weight > 0",
                remedy="use HardLabels",
            )

    @property
    def needs_teacher(self) -> bool:
        return True

    @property
    def part_names(self) -> tuple[str, ...]:
        return names_of(logits=self.soft_weight, hard=self.hard_weight)

    def __call__(
        self, outputs: Tensor, targets: SoftTargets | None, batch: Batch, *, counts: Counts | None = None
    ) -> LossParts:
        counts = counts or count_valid(batch)
        # The teacher as it is used, at T = 1: the logits of a pooled one depend on T.
        teacher_logits = logits_for(outputs, targets, temperature=1.0, objective=self)
        losses = logit_matching_loss(outputs, teacher_logits, centred=self.centred)
        terms = {"logits": (self.soft_weight, example_sum(losses, batch) / counts.examples)}
        if self.hard_weight > 0:
            terms["hard"] = (self.hard_weight, mean_hard_label_loss(outputs, batch, counts))
        return LossParts.weighted(terms)
