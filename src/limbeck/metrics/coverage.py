"""What specialists change, and for which samples: accuracy among their classes, and change by how many know the class.

Logits are of shape (samples, classes), labels of shape (samples,), as everywhere in ``limbeck.metrics``. Class sets are
class numbers; a class may be in several sets, or in none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from limbeck.errors import InvalidValue, ShapeMismatch, unknown_name
from limbeck.metrics.rows import checked_labels, checked_logits

READINGS = ("union", "each_set")
Sets = Sequence[Sequence[int]]


def conditional_accuracy(
    logits: Tensor, labels: Tensor, class_sets: Sets, *, reading: Literal["union", "each_set"] = "union"
) -> float:
    r"""Return the accuracy among the specialists' classes: only their samples count, only their classes are answers.

    The paper says no more than that; it can be read in two ways.

    - "union": with :math:`U = \bigcup_k S_k`,

      .. math:: \frac{\#\{b : y_b \in U,\ \arg\max_{c \in U} z_{bc} = y_b\}}{\#\{b : y_b \in U\}}

    - "each_set": every specialist's own set is a task of its own, and a sample counts once for each set that holds its
      class,

      .. math:: \frac{\sum_k \#\{b : y_b \in S_k,\ \arg\max_{c \in S_k} z_{bc} = y_b\}}{\sum_k \#\{b : y_b \in S_k\}}

    They agree where there is one set. Where the sets hold all classes, "union" is the plain accuracy.

    Args:
        logits: shape (samples, classes).
        labels: shape (samples,).
        class_sets: S_k of each specialist, none empty.
        reading: "union" or "each_set".
    Returns:
        A fraction. Among equal logits the class with the lowest number counts as predicted.
    Raises:
        InvalidValue: no sets, an empty one, an unknown class, no sample of their classes; or see ``accuracy``.
        ShapeMismatch: see ``accuracy``.
        UnknownName: another reading.
    Example:
        >>> logits = torch.tensor([[1.0, 5.0, 3.0, 0.0], [0.0, 3.0, 2.0, 9.0]])
        >>> conditional_accuracy(logits, torch.tensor([0, 1]), [[0, 2], [1, 2]])
        0.5
        >>> conditional_accuracy(logits, torch.tensor([1, 2]), [[0, 2], [1, 2]], reading="each_set")
        0.6666666666666666

    References:
        Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 5.6, table 3.
    """
    if reading not in READINGS:
        raise unknown_name("reading of conditional accuracy", reading, READINGS)
    logits = checked_logits(logits)
    labels = checked_labels(labels, logits)
    holds = _membership(class_sets, logits.shape[1]).to(logits.device)
    tasks = holds.any(dim=0, keepdim=True) if reading == "union" else holds  # (tasks, classes)
    num_samples = num_correct = 0
    for members in tasks:
        concerned = members[labels]
        predicted = logits[concerned].masked_fill(~members, -torch.inf).argmax(dim=1)
        num_correct += int((predicted == labels[concerned]).sum())
        num_samples += int(concerned.sum())
    if not num_samples:
        raise InvalidValue(
            "No sample is of the specialists' classes.", received=f"{len(labels)} samples", expected="at least one"
        )
    return num_correct / num_samples


@dataclass(frozen=True)
class CoverageChange:
    """The samples whose true class so many specialists know, and how many of them are right before and after."""

    num_specialists: int
    num_samples: int
    num_correct_before: int
    num_correct_after: int

    @property
    def change(self) -> int:
        """How many more are right afterwards; below 0 where there are fewer."""
        return self.num_correct_after - self.num_correct_before

    @property
    def relative_change(self) -> float | None:
        """The change as a fraction of those that were right before; None where none was."""
        return self.change / self.num_correct_before if self.num_correct_before else None


def change_by_coverage(
    before: Tensor, after: Tensor, labels: Tensor, class_sets: Sets, *, most: int | None = None
) -> list[CoverageChange]:
    """Count what a committee gets right and its generalist does not, by the number of specialists that know the class.

    Args:
        before: logits of the generalist, shape (samples, classes).
        after: logits of generalist and specialists together, of the same shape.
        labels: shape (samples,).
        class_sets: of each specialist, none empty.
        most: so many and more are counted together (10 in the paper); each number alone where not given.
    Returns:
        One for each number of specialists that occurs among the samples, rising.
    Raises:
        InvalidValue: no sets, an empty one, an unknown class, ``most`` below 1; or see ``accuracy``.
        ShapeMismatch: logits of two shapes; or see ``accuracy``.
    Example:
        >>> before = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
        >>> after = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
        >>> for row in change_by_coverage(before, after, torch.tensor([0, 1, 2]), [[0, 1]]):
        ...     print(row.num_specialists, row.num_samples, row.change, row.relative_change)
        0 1 0 0.0
        1 2 1 1.0

    References:
        Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 5.6, table 4.
    """
    before, after = checked_logits(before, name="before"), checked_logits(after, name="after")
    if before.shape != after.shape:
        raise ShapeMismatch(
            "The logits before and after must be of the same samples and classes.",
            received=f"{tuple(before.shape)} and {tuple(after.shape)}",
            expected="one shape",
        )
    if most is not None and most < 1:
        raise InvalidValue("most must be at least 1.", received=most, expected=">= 1, or None")
    labels = checked_labels(labels, before)
    covering = _membership(class_sets, before.shape[1]).sum(dim=0)[labels.cpu()].clamp(min=0, max=most)
    was_right, is_right = ((logits.argmax(dim=1) == labels.to(logits.device)).cpu() for logits in (before, after))
    return [
        CoverageChange(
            num_specialists=number,
            num_samples=int((covering == number).sum()),
            num_correct_before=int(was_right[covering == number].sum()),
            num_correct_after=int(is_right[covering == number].sum()),
        )
        for number in sorted(set(covering.tolist()))
    ]


def _membership(class_sets: Sets, num_classes: int) -> Tensor:
    """Return which set holds which class, bool, shape (sets, classes), on the CPU."""
    holds = torch.zeros(len(class_sets), num_classes, dtype=torch.bool)
    for number, members in enumerate(class_sets):
        outside = [one for one in members if not 0 <= one < num_classes]
        if outside or not len(members):
            raise InvalidValue(
                f"The class set of specialist {number} " + ("holds an unknown class." if outside else "is empty."),
                received=outside[0] if outside else "no classes",
                expected=f"class numbers from 0 to {num_classes - 1}",
            )
        holds[number, list(members)] = True
    if not len(class_sets):
        raise InvalidValue("There are no class sets.", received="none", expected="one for each specialist")
    return holds
