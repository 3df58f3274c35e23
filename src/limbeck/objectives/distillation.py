"""The weighted sum of soft targets and labels: Hinton's objective."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from limbeck.data import Batch
from limbeck.errors import InvalidValue, ShapeMismatch, TeacherError, require_not_negative, require_positive
from limbeck.losses import soft_target_loss
from limbeck.objectives.hard_labels import mean_hard_label_loss
from limbeck.objectives.objective import Counts, LossParts, Objective, count_valid
from limbeck.targets import SoftTargets


@dataclass(frozen=True)
class Distillation(Objective):
    r"""Soft targets at T and labels at T = 1.

    .. math:: L = w_{soft}\, T^2\, \overline{KL(p \| q)} + w_{hard}\, \overline{CE(y, q_{T=1})}

    The soft mean runs over all examples, the hard one over the labelled ones. T² is always there, so that the soft
    gradient's size does not depend on T, and L is continuous in both weights down to 0.

    Args:
        temperature: T > 0.
        hard_weight: >= 0, "considerably lower" than the soft one.
        soft_weight: >= 0; the two must not both be 0.
    Raises:
        InvalidValue: outside these ranges.
    References:
        Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 2.
    """

    temperature: float
    hard_weight: float = 0.1
    soft_weight: float = 0.9

    def __post_init__(self) -> None:
        require_positive("temperature", self.temperature)
        require_not_negative("hard_weight", self.hard_weight)
        require_not_negative("soft_weight", self.soft_weight)
        if self.hard_weight == 0 and self.soft_weight == 0:
            raise InvalidValue(
                "hard_weight and soft_weight are both 0.", received="0 and 0", expected="at least one above 0"
            )

    @property
    def needs_teacher(self) -> bool:
        return self.soft_weight > 0

    @property
    def part_names(self) -> tuple[str, ...]:
        weights = {"soft": self.soft_weight, "hard": self.hard_weight}
        return tuple(name for name, weight in weights.items() if weight > 0)

    def __call__(
        self, outputs: Tensor, targets: SoftTargets | None, batch: Batch, *, counts: Counts | None = None
    ) -> LossParts:
        counts = counts or count_valid(batch)
        weighted: list[Tensor] = []
        means: dict[str, Tensor] = {}
        if self.soft_weight > 0:
            means["soft"] = self._mean_soft_target_loss(outputs, targets, counts)
            weighted.append(self.soft_weight * means["soft"])
        if self.hard_weight > 0:
            means["hard"] = mean_hard_label_loss(outputs, batch, counts)
            weighted.append(self.hard_weight * means["hard"])
        total = weighted[0] if len(weighted) == 1 else weighted[0] + weighted[1]
        return LossParts(total=total, means={name: mean.detach() for name, mean in means.items()})

    def _mean_soft_target_loss(self, outputs: Tensor, targets: SoftTargets | None, counts: Counts) -> Tensor:
        if targets is None:
            raise TeacherError("Distillation needs a teacher.", remedy="pass teacher= to fit, or train with HardLabels")
        teacher_logits = targets.logits_at(self.temperature)
        if teacher_logits.shape != outputs.shape:
            raise ShapeMismatch(
                "Teacher and student do not agree on the classes.",
                received=f"teacher {tuple(teacher_logits.shape)}, student {tuple(outputs.shape)}",
                expected="(batch, classes), the same for both",
            )
        return soft_target_loss(outputs, teacher_logits, temperature=self.temperature).sum() / counts.examples
