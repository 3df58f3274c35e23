"""What must hold before networks are trained, and how many batches a pass has."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from limbeck.data import BalancedOrder, Samples, Views
from limbeck.errors import InvalidValue, ModelError, TeacherError
from limbeck.objectives import Objective
from limbeck.settings import TrainConfig
from limbeck.teachers import Teacher


def part_bounds(num_examples: int, num_parts: int) -> list[tuple[int, int]]:
    """Return where the parts of a batch begin and end: nearly equal ones, and none of a single example.

    Batch norm cannot train on one example, so a batch of few examples has fewer parts.

    Example:
        >>> part_bounds(13, 4), part_bounds(3, 4), part_bounds(1, 4)
        ([(0, 4), (4, 7), (7, 10), (10, 13)], [(0, 3)], [(0, 1)])
    """
    count = max(1, min(num_parts, num_examples // 2))
    ends = [-(-num_examples * (number + 1) // count) for number in range(count)]
    return list(zip([0, *ends[:-1]], ends, strict=True))


def check_teacher(
    objective: Objective, teacher: Teacher | None, student: nn.Module, train: Samples, views: Views
) -> None:
    """Raise TeacherError unless the teacher can serve this objective, on these samples and views, for this student."""
    if objective.needs_teacher and teacher is None:
        raise TeacherError("This objective needs a teacher.", received="none", remedy="pass teacher=")
    if teacher is None:
        return
    teacher.check_fits(train, views)
    own = {tensor.data_ptr() for tensor in student.parameters() if tensor.numel()}
    for module in teacher.modules:
        if any(tensor.data_ptr() in own for tensor in module.parameters() if tensor.numel()):
            raise TeacherError(
                "Teacher and student share weights.",
                received=f"a parameter of {teacher.name} that is also the student's",
                expected="two networks",
                remedy="copy.deepcopy the teacher before it is frozen",
            )


def check_labels(objective: Objective, train: Samples) -> None:
    """Raise InvalidValue unless the objective is for labels of the samples' kind."""
    if objective.takes_independent_labels != (train.task == "multi_label"):
        raise InvalidValue(
            "The objective is for labels of another kind.",
            received=f"{type(objective).__name__}, samples with task {train.task!r}",
            expected="BinaryDistillation for multi_label, and for that alone",
            remedy="use limbeck.BinaryDistillation"
            if train.task == "multi_label"
            else 'give labels (n, labels) with task="multi_label"',
        )
    if train.has_positions and not objective.takes_positions:
        raise InvalidValue(
            f"{type(objective).__name__} takes one label a sample.",
            received=f"labels of positions, {tuple(train.labels.shape)}",
            expected="labels (n,)",
            remedy="distil from a teacher with limbeck.distill, or pool the positions",
        )


def class_weights_for(recipe: TrainConfig, train: Samples, device: torch.device) -> Tensor | None:
    """Return the recipe's weights of classes on the device, shape (classes,); None where there are none.

    Raises:
        InvalidValue: another number of weights than of classes.
    """
    if recipe.class_weights is None:
        return None
    if len(recipe.class_weights) != train.num_classes:
        raise InvalidValue(
            "class_weights are one for each class.",
            received=f"{len(recipe.class_weights)} weights",
            expected=f"{train.num_classes}, in the order of {', '.join(train.class_names[:6])}",
        )
    return torch.tensor(recipe.class_weights, device=device)


def check_apart(networks: Sequence[nn.Module]) -> None:
    """Raise ModelError where two students that train together share weights."""
    owners: dict[int, int] = {}
    for k, network in enumerate(networks):
        for name, parameter in network.named_parameters():
            if parameter.numel() and owners.setdefault(parameter.data_ptr(), k) != k:
                raise ModelError(
                    "Two students share weights.",
                    received=f"{name} of student {k} is student {owners[parameter.data_ptr()]}'s",
                    expected="networks of their own",
                    remedy="copy.deepcopy one of them",
                )


def batches_of_pass(train: Samples, batch_size: int, order: BalancedOrder | None) -> int:
    """Return the batches of one pass in an order; in the usual one where there is none."""
    return count_batches(len(train), batch_size) if order is None else order.num_batches(train, batch_size)


def count_batches(num_samples: int, batch_size: int) -> int:
    """Return the batches of one pass. A last batch of one sample is left out: batch norm cannot take it."""
    whole, rest = divmod(num_samples, batch_size)
    if whole == 0 and rest == 0:
        raise InvalidValue("There is nothing to train on.", received="0 samples")
    return whole + (rest > 1 or whole == 0)
