"""What a specialist with the full softmax minimises: labels, and the generalist's soft targets for the rest."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from limbeck.data import Batch
from limbeck.errors import InvalidValue, require_not_negative, require_positive
from limbeck.losses import soft_target_loss
from limbeck.models import class_columns, logits_with_dustbin
from limbeck.objectives.hard_labels import mean_hard_label_loss
from limbeck.objectives.objective import Counts, LossParts, Objective, count_valid, example_sum, logits_for
from limbeck.targets import SoftTargets


@dataclass(frozen=True)
class HardSpecialSoftRest(Objective):
    r"""Hard labels for the special classes S, and the generalist's soft targets over the other classes R for the rest.

    .. math:: L = - \frac{w_{hard}}{n} \Big( \sum_{y_b \in S} \log q_{b, y_b} + \sum_{y_b \in R} \log \sum_{c \in R}
        q_{bc} \Big) + \frac{w_{soft}}{n} \sum_{y_b \in R} T^2 \, KL \big( p^T_b(\cdot|R) \, \| \, q^T_b(\cdot|R) \big)

    q is the specialist's softmax over all classes, p the generalist's, and p(.|R) what p says *given that the class is
    none of S*, which the label tells of a sample of the rest. At T = 1 with both weights 1 its two terms are together
    the cross-entropy with that soft target. Which of the other classes it is, no label says: the generalist does.

    **The correction for oversampling stays that of a dustbin.** The second sum depends only on the proportions within
    R, the first only on q of each special class and on q(R), and a softmax can choose the two apart. Where special
    samples are rho of the batches and pi of those in use, a perfect specialist therefore minimises the first alone:

    .. math:: q(c|x) \propto \frac \rho \pi \, p(c, x), \; c \in S; \qquad
        q(R|x) \propto \frac{1 - \rho}{1 - \pi} \, p(R, x); \qquad q(\cdot | R, x) = p^{generalist}(\cdot | R, x)

    Reduced to S and a dustbin (:func:`limbeck.models.logits_with_dustbin`) it is what a specialist with a dustbin is,
    and :func:`limbeck.calibration.dustbin_offset` makes it right, whatever T, the weights and the generalist are. Soft
    targets with the generalist's mass on S left in would lack this: that mass adds to q(S) as much as the generalist
    takes the samples that it learnt from for special ones, and no offset takes it out again.

    Args:
        special_classes: S, the numbers of classes among the outputs; label k of a batch is the class
            ``special_classes[k]``, label ``len(special_classes)`` any other.
        temperature: T > 0, of the soft part.
        hard_weight: > 0.
        soft_weight: >= 0.
    Raises:
        InvalidValue: outside these ranges, or no special classes.
    Example:
        >>> HardSpecialSoftRest(special_classes=(2, 0), temperature=2.0).part_names
        ('soft', 'hard')

    References:
        Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 6.1 ("soft targets for the non-special classes in addition
        to training it with hard targets"); section 5.2 for the correction.
    """

    special_classes: tuple[int, ...]
    temperature: float
    hard_weight: float = 1.0
    soft_weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.special_classes:
            raise InvalidValue("There are no special classes.", received="()", expected="at least one class number")
        require_positive("temperature", self.temperature)
        require_positive("hard_weight", self.hard_weight)
        require_not_negative("soft_weight", self.soft_weight)

    @property
    def needs_teacher(self) -> bool:
        return self.soft_weight > 0

    @property
    def part_names(self) -> tuple[str, ...]:
        return ("soft", "hard") if self.soft_weight > 0 else ("hard",)

    def __call__(
        self, outputs: Tensor, targets: SoftTargets | None, batch: Batch, *, counts: Counts | None = None
    ) -> LossParts:
        counts = counts or count_valid(batch)
        hard = mean_hard_label_loss(logits_with_dustbin(outputs, self.special_classes), batch, counts)
        terms = {"hard": (self.hard_weight, hard)}
        if self.soft_weight > 0:
            terms = {"soft": (self.soft_weight, self._mean_soft_loss(outputs, targets, batch, counts)), **terms}
        return LossParts.weighted(terms)

    def _mean_soft_loss(self, outputs: Tensor, targets: SoftTargets | None, batch: Batch, counts: Counts) -> Tensor:
        """Return the mean over all examples, of which the special ones have 0."""
        teacher_logits = logits_for(outputs, targets, temperature=self.temperature, objective=self)
        _, outside = class_columns(self.special_classes, outputs.shape[1], outputs.device)
        if len(outside) == 1:  # given that it is none of the others, a sample is of this class
            return outputs.new_zeros(())
        losses = soft_target_loss(
            outputs.index_select(1, outside), teacher_logits.index_select(1, outside), temperature=self.temperature
        )
        return example_sum(losses * self._shares_of_rest(batch), batch) / counts.examples

    def _shares_of_rest(self, batch: Batch) -> Tensor:
        """Return how far each example is one of the rest, shape (batch,): 0 or 1, with mixup between."""
        rest = len(self.special_classes)
        shares = (batch.labels == rest).float()
        if batch.partner_labels is not None and batch.partner_weight is not None:
            shares = shares + batch.partner_weight * ((batch.partner_labels == rest).float() - shares)
        return shares
