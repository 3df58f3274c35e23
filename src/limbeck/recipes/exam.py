"""What a network answered on a labelled split."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.errors import unknown_name
from limbeck.metrics import count_errors, measure_predictions
from limbeck.pooling import arithmetic_mean


@dataclass(frozen=True, eq=False)
class Exam:
    """Logits of shape (samples, classes) and labels of shape (samples,), on the CPU.

    Example:
        >>> exam = Exam(torch.tensor([[2.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1]), ("no", "yes"))
        >>> exam.errors, exam.errors_on("yes"), exam.errors_on("no")
        (1, 1, 0)
    """

    logits: Tensor
    labels: Tensor
    class_names: tuple[str, ...]

    @property
    def errors(self) -> int:
        """Samples whose largest logit is not the label's."""
        return count_errors(self.logits, self.labels)

    @property
    def accuracy(self) -> float:
        """Fraction of samples whose largest logit is the label's."""
        return self.measured()["accuracy"]

    def errors_on(self, class_name: str) -> int:
        """Return the errors among the samples of one class.

        Raises:
            UnknownName: no such class.
        """
        if class_name not in self.class_names:
            raise unknown_name("class", class_name, self.class_names)
        of_class = self.labels == self.class_names.index(class_name)
        return int((self.logits[of_class].argmax(dim=1) != self.labels[of_class]).sum())

    def measured(self) -> dict[str, float]:
        """Return errors, accuracy, NLL (nats), ECE and Brier score by name."""
        return {name: value for name, (value, _) in measure_predictions(self.logits, self.labels).items()}

    def shifted(self, offset: Tensor) -> Exam:
        """Return the exam of the same network with an offset, shape (classes,), added to its logits."""
        return Exam(torch.add(self.logits, offset), self.labels, self.class_names)


@dataclass(frozen=True, eq=False)
class ExitExam:
    """Logits of every exit, shape (samples, exits, classes), and labels of shape (samples,), on the CPU.

    Example:
        >>> logits = torch.tensor([[[2.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [3.0, 0.0]]])
        >>> exam = ExitExam(logits, torch.tensor([1, 0]), ("no", "yes"), ("layer1", "head"))
        >>> [exam.of(number).errors for number in (0, 1)], exam.ensemble.errors
        ([1, 0], 1)
    """

    logits: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    exit_names: tuple[str, ...]

    def of(self, number: int) -> Exam:
        """Return one exit's exam, by number from 0; -1 is the head's."""
        return Exam(self.logits[:, number], self.labels, self.class_names)

    @property
    def ensemble(self) -> Exam:
        """The exam of the arithmetic mean of all exits' distributions."""
        mean = arithmetic_mean(torch.log_softmax(self.logits, dim=2).unbind(dim=1))
        return Exam(mean, self.labels, self.class_names)


def exit_conditions(condition: str, num_exits: int) -> list[str]:
    """Return what ``Laboratory.examine_exits`` calls the exits of a network, the head last.

    Example:
        >>> exit_conditions("self", 3)
        ['self_exit_1', 'self_exit_2', 'self_head']
    """
    return [*(f"{condition}_exit_{number}" for number in range(1, num_exits)), f"{condition}_head"]
