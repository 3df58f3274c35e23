"""Several teachers, each with a soft-target term of its own."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.data import Batch
from limbeck.errors import ShapeMismatch, TeacherError, require_not_negative, require_positive
from limbeck.losses import soft_target_loss
from limbeck.objectives.hard_labels import mean_hard_label_loss
from limbeck.objectives.objective import Counts, LossParts, Objective, count_valid, example_sum, names_of
from limbeck.targets import SoftTargets


@dataclass(frozen=True)
class MultiTeacher(Objective):
    r"""The soft-target losses of all teachers, added up by the teachers' shares, and labels at T = 1.

    .. math:: L = w_{soft}\, T^2 \sum_k \mu_k \overline{KL(p_k \| q_k)} + w_{hard}\, \overline{CE(y, q_{T=1})},
        \qquad \sum_k \mu_k = 1

    A student with one softmax has q_k = q for every teacher. Its gradient is then that of :class:`Distillation` from
    the arithmetic mean of the teachers, since the cross-entropy is linear in the target; only the value is larger, by
    T² times the teachers' mean divergence from their mean. A student with a head for each teacher learns K tasks at
    once: outputs of shape (batch, teachers, classes), q_k from head k, the hard term a mean over the heads.

    Args:
        temperature: T > 0.
        hard_weight: >= 0.
        soft_weight: > 0.
    Raises:
        InvalidValue: outside these ranges.
    Example:
        >>> MultiTeacher(temperature=20.0).part_names
        ('soft', 'hard')

    References:
        Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 2, for the two terms.
    """

    temperature: float
    hard_weight: float = 0.1
    soft_weight: float = 0.9

    def __post_init__(self) -> None:
        require_positive("temperature", self.temperature)
        require_not_negative("hard_weight", self.hard_weight)
        require_positive("soft_weight", self.soft_weight)

    @property
    def needs_teacher(self) -> bool:
        return True

    @property
    def part_names(self) -> tuple[str, ...]:
        return names_of(soft=self.soft_weight, hard=self.hard_weight)

    def __call__(
        self, outputs: Tensor, targets: SoftTargets | None, batch: Batch, *, counts: Counts | None = None
    ) -> LossParts:
        counts = counts or count_valid(batch)
        terms = {"soft": (self.soft_weight, self._mean_soft_loss(outputs, targets, batch, counts))}
        if self.hard_weight > 0:
            terms["hard"] = (self.hard_weight, _mean_hard_loss(outputs, batch, counts))
        return LossParts.weighted(terms)

    def _mean_soft_loss(self, outputs: Tensor, targets: SoftTargets | None, batch: Batch, counts: Counts) -> Tensor:
        if targets is None:
            raise TeacherError(
                "MultiTeacher needs teachers.", remedy="pass teacher= to fit, such as an EnsembleTeacher"
            )
        members = targets.members()
        teacher_logits = torch.stack([member.logits_at(self.temperature) for _, member in members], dim=1)
        students = (
            outputs.unsqueeze(1).expand_as(teacher_logits) if _shares_softmax(outputs, teacher_logits) else outputs
        )
        if students.shape != teacher_logits.shape:
            raise ShapeMismatch(
                "Teachers and student do not agree on teachers and classes.",
                received=f"teachers {tuple(teacher_logits.shape)}, student {tuple(outputs.shape)}",
                expected="(batch, teachers, classes) for both, or a student with one softmax (batch, classes) for all",
                remedy="give the student one head for each teacher, or one for all",
            )
        shares = torch.tensor([share for share, _ in members], device=outputs.device)
        losses = soft_target_loss(students, teacher_logits, temperature=self.temperature)  # (batch, teachers)
        return example_sum(losses @ shares.to(losses.dtype), batch) / counts.examples


def _shares_softmax(outputs: Tensor, teacher_logits: Tensor) -> bool:
    batch, _, classes = teacher_logits.shape
    return outputs.shape == (batch, classes)


def _mean_hard_loss(outputs: Tensor, batch: Batch, counts: Counts) -> Tensor:
    """Return the mean cross-entropy over labelled examples, and over the heads where there are several."""
    if outputs.ndim == 2:
        return mean_hard_label_loss(outputs, batch, counts)
    heads = outputs.transpose(0, 1)  # (heads, batch, classes)
    partners = batch.partner_labels
    of_heads = dataclasses.replace(
        batch,
        labels=batch.labels.expand(len(heads), -1),
        partner_labels=None if partners is None else partners.expand(len(heads), -1),
    )
    return mean_hard_label_loss(heads, of_heads, counts).mean()
