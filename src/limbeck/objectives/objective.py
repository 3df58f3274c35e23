"""The contract of an objective."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.data import IGNORE_INDEX, UNLABELLED, Batch, has_positions
from limbeck.errors import InvalidValue, ShapeMismatch, TeacherError, require_not_negative
from limbeck.targets import SoftTargets


@dataclass(frozen=True)
class Counts:
    """What a step's loss takes beside its batch: how many examples the means run over, and how labels count.

    With sample weights the numbers are sums of weights. An example is a sample, or a position of one where outputs are
    (batch, time, classes).

    The numbers are those of the whole optimiser step, whatever it is split into.

    Gradient accumulation passes the counts of the whole step to each of its parts, and so do ranks, so that the
    parts add up to the mean over all valid examples and not to a mean of means.
    """

    examples: Tensor | float
    labelled: Tensor | float  # a scalar on the batch's device where it must be counted, which must not wait for it
    label_smoothing: float = 0.0  # of every loss of labels, in [0, 1)
    class_weights: Tensor | None = None  # of every loss of labels, shape (classes,)


@dataclass(frozen=True)
class LossParts:
    """One step's loss.

    ``total`` is what is minimised, a scalar with a graph; ``means`` are the unweighted parts, detached scalars, by
    name.
    """

    total: Tensor
    means: dict[str, Tensor]

    @staticmethod
    def weighted(terms: Mapping[str, tuple[float, Tensor]]) -> LossParts:
        """Return the sum of means by their weights, from (weight, mean) by name: at least one."""
        (weight, mean), *others = terms.values()
        total = weight * mean
        for weight, mean in others:
            total = total + weight * mean
        return LossParts(total=total, means={name: mean.detach() for name, (_, mean) in terms.items()})


def require_some_weight(*, hard_weight: float, soft_weight: float) -> None:
    """Raise InvalidValue unless both weights are at least 0, and one is above 0."""
    require_not_negative("hard_weight", hard_weight)
    require_not_negative("soft_weight", soft_weight)
    if hard_weight == 0 and soft_weight == 0:
        raise InvalidValue(
            "hard_weight and soft_weight are both 0.", received="0 and 0", expected="at least one above 0"
        )


def names_of(**weights: float) -> tuple[str, ...]:
    """Return the parts of a loss that have a weight.

    Example:
        >>> names_of(soft=0.9, hard=0.0)
        ('soft',)
    """
    return tuple(name for name, weight in weights.items() if weight > 0)


@dataclass(frozen=True)
class DeferredLoss:
    """All that a batch's loss is a function of: few numbers, kept until many batches' values are computed together.

    ``outputs`` are detached; ``teacher_logits`` are None where there is no teacher.
    """

    outputs: Tensor
    teacher_logits: Tensor | None
    labels: Tensor
    counts: Counts


def sums_by_batch(values: Tensor, losses: Sequence[DeferredLoss]) -> Tensor:
    """Sum one value per example over each batch, all batches' examples lying in a row: shape (losses,)."""
    sizes = torch.tensor([len(loss.labels) for loss in losses])
    batch = torch.arange(len(losses)).repeat_interleave(sizes).to(values.device)
    return values.new_zeros(len(losses)).index_add_(0, batch, values)


def as_it_is(values: Tensor) -> Tensor:
    """Return the argument: no scale."""
    return values


class Objective(ABC):
    """What one training step minimises."""

    @property
    @abstractmethod
    def needs_teacher(self) -> bool:
        """Whether soft targets must be given."""

    @property
    @abstractmethod
    def part_names(self) -> tuple[str, ...]:
        """The names of the parts, in the order of ``LossParts.means``."""

    @property
    def takes_positions(self) -> bool:
        """Whether the rows that ``valid_rows`` makes of positions are all that it needs of a batch."""
        return True

    @property
    def takes_independent_labels(self) -> bool:
        """Whether labels are independent of each other, (batch, labels), rather than one class for each row."""
        return False

    @property
    def relates_examples(self) -> bool:
        """Whether the loss of an example depends on the others of its batch, so that ranks cannot share one."""
        return False

    @abstractmethod
    def __call__(
        self, outputs: Tensor, targets: SoftTargets | None, batch: Batch, *, counts: Counts | None = None
    ) -> LossParts:
        """Return the loss of a batch.

        Args:
            outputs: the student's logits, shape (batch, classes).
            targets: what the teacher says of the same inputs; None where no teacher is needed.
            batch: ids and labels; unlabelled examples take no part in the means over labels.
            counts: of the whole step, where ``batch`` is a part of it.
        """

    def count(
        self,
        batch: Batch,
        *,
        all_labelled: bool = False,
        label_smoothing: float = 0.0,
        class_weights: Tensor | None = None,
    ) -> Counts:
        """Return how many examples the means of a step run over; see :func:`count_valid`."""
        return count_valid(
            batch, all_labelled=all_labelled, label_smoothing=label_smoothing, class_weights=class_weights
        )

    def backward(
        self,
        outputs: Tensor,
        targets: SoftTargets | None,
        batch: Batch,
        *,
        counts: Counts,
        scale: Callable[[Tensor], Tensor] = as_it_is,
    ) -> Tensor | DeferredLoss:
        """Add the gradient of a batch's loss to the student's weights; the same as ``self(...).total.backward()``.

        An objective whose gradient in the outputs is known may give it to them at once, and leave the value for later.

        Args:
            outputs: the student's logits with their graph, shape (batch, classes).
            targets: as in a call.
            batch: as in a call.
            counts: of the whole step.
            scale: what is done to the loss, or to its gradient in the outputs, against underflow in float16.
        Returns:
            The values of total and parts in the order of ``part_names``, unscaled, shape (1 + parts,), detached; or
            what :meth:`read` takes to compute them.
        """
        return backward_by_autograd(self, outputs, targets, batch, counts, scale)

    def read(self, losses: Sequence[DeferredLoss]) -> Tensor:
        """Return the values that :meth:`backward` left for later, one row each: shape (losses, 1 + parts).

        Only for objectives whose ``backward`` leaves them.
        """
        raise NotImplementedError(f"{type(self).__name__}.backward left a value that it cannot read")


def backward_by_autograd(
    objective: Objective,
    outputs: Tensor,
    targets: SoftTargets | None,
    batch: Batch,
    counts: Counts,
    scale: Callable[[Tensor], Tensor],
) -> Tensor:
    """Do as ``Objective.backward`` says, for any objective."""
    loss = objective(outputs, targets, batch, counts=counts)
    scale(loss.total).backward()  # type: ignore[no-untyped-call]
    return torch.stack([loss.total.detach(), *(loss.means[name] for name in objective.part_names)])


def logits_for(outputs: Tensor, targets: SoftTargets | None, *, temperature: float, objective: Objective) -> Tensor:
    """Return the teacher's logits at a temperature, of the shape of the student's outputs.

    Raises:
        TeacherError: no soft targets were given; the message names the objective.
        ShapeMismatch: teacher and student differ in their classes.
    """
    if targets is None:
        raise TeacherError(
            f"{type(objective).__name__} needs a teacher.", remedy="pass teacher= to fit, or train with HardLabels"
        )
    teacher_logits = targets.logits_at(temperature)
    if teacher_logits.shape != outputs.shape:
        raise ShapeMismatch(
            "Teacher and student do not agree on the classes.",
            received=f"teacher {tuple(teacher_logits.shape)}, student {tuple(outputs.shape)}",
            expected="(batch, classes), the same for both",
        )
    return teacher_logits


def example_sum(losses: Tensor, batch: Batch) -> Tensor:
    """Return the sum of one loss per example by the samples' weights, over the last axis: shape (...)."""
    return (losses if batch.weights is None else losses * batch.weights).sum(dim=-1)


def count_valid(
    batch: Batch,
    *,
    all_labelled: bool = False,
    label_smoothing: float = 0.0,
    class_weights: Tensor | None = None,
    is_stacked: bool = False,
) -> Counts:
    """Return the counts of a batch: all examples, and the labelled ones (with mixup, the share that is).

    Args:
        batch: labels (batch,), (batch, positions) or rows over the classes.
        all_labelled: known beforehand, so that there is nothing to count in each step.
        label_smoothing: handed on.
        class_weights: shape (classes,); a labelled example then counts as much as its class does.
        is_stacked: labels are (networks, batch), and are counted for each network.
    """
    labels = batch.labels
    if all_labelled and batch.weights is None and class_weights is None and (is_stacked or labels.dim() == 1):
        examples = float(labels.shape[-1])
        return Counts(examples, examples, label_smoothing)
    labelled = label_weights(labels, class_weights)
    if batch.partner_labels is not None and batch.partner_weight is not None:
        partner_labelled = label_weights(batch.partner_labels, class_weights)
        labelled = labelled + batch.partner_weight * (partner_labelled - labelled)
    if is_stacked:
        return Counts(float(labels.shape[-1]), labelled.sum(dim=-1), label_smoothing, class_weights)
    if has_positions(labels):
        counting = (labels != IGNORE_INDEX).float()
        counting = counting if batch.weights is None else counting * batch.weights.unsqueeze(1)
        return Counts(counting.sum(), (labelled * counting).sum(), label_smoothing, class_weights)
    if batch.weights is None:
        return Counts(float(len(labels)), labelled.sum(), label_smoothing, class_weights)
    return Counts(batch.weights.sum(), (labelled * batch.weights).sum(), label_smoothing, class_weights)


def label_weights(labels: Tensor, class_weights: Tensor | None) -> Tensor:
    """Return how much each example's label counts, 0 where it has none: 1, or what its class weighs.

    Args:
        labels: class indices of any shape, or distributions (batch, classes).
        class_weights: shape (classes,).
    """
    if labels.is_floating_point():
        known = (labels != UNLABELLED).all(dim=-1).float()
        return known if class_weights is None else known * (labels.to(class_weights) @ class_weights)
    known = labels >= 0
    if class_weights is None:
        return known.float()
    return torch.where(known, class_weights[labels.clamp(min=0)], 0.0)
