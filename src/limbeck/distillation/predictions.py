"""What networks predict on a split, held as logits."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from limbeck.data import Samples, Views
from limbeck.distillation.trained import TrainedNetwork, exits_of
from limbeck.errors import unknown_name
from limbeck.metrics import count_errors
from limbeck.metrics.tasks import Measured, compare_task, labelled_rows, measure_task
from limbeck.models import EveryExit
from limbeck.pooling import arithmetic_mean
from limbeck.training import Runtime, predict


@dataclass(frozen=True, eq=False)
class Predictions:
    """Logits and labels of samples, on the CPU; -1 where a label is unknown.

    Args:
        logits: shape (samples, classes), or (samples, time, classes) where labels are of positions.
        labels: class indices of samples or positions, distributions, or independent labels; as ``Samples`` has them.
        class_names: in the order of the logits.
        task: "single_label" or "multi_label".

    Example:
        >>> found = Predictions(torch.tensor([[2.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1]), ("no", "yes"))
        >>> found.errors, found.errors_on("yes"), found.errors_on("no")
        (1, 1, 0)
    """

    logits: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    task: str = "single_label"

    @property
    def labelled(self) -> Predictions:
        """Those of samples, or of valid positions, with a label: one row each."""
        logits, labels = labelled_rows(self.logits, self.labels, task=self.task)
        return dataclasses.replace(self, logits=logits, labels=labels)

    @property
    def has_classes(self) -> bool:
        """Whether each row has one class for its label."""
        return self.task == "single_label" and not self.labels.is_floating_point()

    @property
    def errors(self) -> int:
        """Samples whose largest logit is not the label's."""
        return count_errors(self.logits, self.labels)

    @property
    def accuracy(self) -> float:
        """Fraction of samples whose largest logit is the label's."""
        return self.measured()["accuracy"][0]

    def errors_on(self, class_name: str) -> int:
        """Return the errors among the samples of one class.

        Raises:
            UnknownName: no such class.
        """
        if class_name not in self.class_names:
            raise unknown_name("class", class_name, self.class_names)
        of_class = self.labels == self.class_names.index(class_name)
        return int((self.logits[of_class].argmax(dim=1) != self.labels[of_class]).sum())

    def measured(self) -> Measured:
        """Return errors, accuracy, NLL (nats), ECE, Brier score and more, with their units; nothing without labels."""
        return measure_task(self.logits, self.labels, task=self.task)

    def compared(self, teacher_logits: Tensor) -> Measured:
        """Return how closely they follow a teacher's logits of the same samples; labels do not matter.

        Args:
            teacher_logits: shape (samples, classes), at T = 1.
        """
        return compare_task(self.logits, teacher_logits, self.labels, task=self.task)

    def shifted(self, offset: Tensor) -> Predictions:
        """Return those of the same network with an offset, shape (classes,), added to its logits."""
        return dataclasses.replace(self, logits=torch.add(self.logits, offset))


@dataclass(frozen=True, eq=False)
class ExitPredictions:
    """Logits of every exit, shape (samples, exits, classes), and labels of shape (samples,), on the CPU.

    Example:
        >>> logits = torch.tensor([[[2.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [3.0, 0.0]]])
        >>> found = ExitPredictions(logits, torch.tensor([1, 0]), ("no", "yes"), ("layer1", "head"))
        >>> [found.of(number).errors for number in (0, 1)], found.ensemble.errors
        ([1, 0], 1)
    """

    logits: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    exit_names: tuple[str, ...]

    def of(self, number: int) -> Predictions:
        """Return one exit's predictions, by number from 0; -1 is the head's."""
        return Predictions(self.logits[:, number], self.labels, self.class_names)

    @property
    def ensemble(self) -> Predictions:
        """The arithmetic mean of all exits' distributions."""
        mean = arithmetic_mean(torch.log_softmax(self.logits, dim=2).unbind(dim=1))
        return Predictions(mean, self.labels, self.class_names)


def exit_conditions(condition: str, num_exits: int) -> list[str]:
    """Return what ``evaluate_exits`` of a recipe calls the exits of a network, the head last.

    Example:
        >>> exit_conditions("self", 3)
        ['self_exit_1', 'self_exit_2', 'self_head']
    """
    return [*(f"{condition}_exit_{number}" for number in range(1, num_exits)), f"{condition}_head"]


def predictions_of(module: nn.Module, samples: Samples, views: Views, *, runtime: Runtime) -> Predictions:
    """Return what a network predicts on the clean views of samples."""
    logits = predict(module.to(runtime.device), samples, views, runtime=runtime)
    return Predictions(logits, samples.labels.cpu(), samples.class_names, samples.task)


def exit_predictions_of(
    network: TrainedNetwork, samples: Samples, views: Views, *, runtime: Runtime
) -> ExitPredictions:
    """Return what every exit of a network predicts on the clean views of samples.

    Raises:
        ModelError: a network without exits.
    """
    module = exits_of(network)
    logits = predict(EveryExit(module).to(runtime.device), samples, views, runtime=runtime)
    return ExitPredictions(logits, samples.labels.cpu(), samples.class_names, module.exit_names)
