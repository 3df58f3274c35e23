"""What a network answered on a labelled split."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.errors import unknown_name
from limbeck.metrics import count_errors, measure_predictions


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
