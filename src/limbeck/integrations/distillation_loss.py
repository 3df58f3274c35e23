"""The loss of a batch by its sample ids: what every adapter calls, and a loop of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from limbeck.data import UNLABELLED, Batch, Samples, Views
from limbeck.errors import ShapeMismatch, TeacherError
from limbeck.inputs import Inputs
from limbeck.models.calling import outputs_of
from limbeck.objectives import LossParts, Objective, valid_rows
from limbeck.targets import SoftTargets, TargetStore
from limbeck.teachers import Teacher, as_teacher, store_teacher


class DistillationLoss:
    """An objective with its teacher, for a training loop that is not ``fit``'s.

    A plain object, no module: kept as an attribute of one, its teacher is neither trained, nor woken by ``train()``,
    nor written into checkpoints.

    Args:
        objective: what is minimised, such as ``limbeck.Distillation(temperature=4.0)``.
        teacher: a ``Teacher``, an open ``TargetStore``, or what ``as_teacher`` takes; None where only labels count.
        samples: the transfer set, where there is one: the teacher is checked against its ids, inputs and classes, and
            puts its classes in the set's order.
        views: what the student sees of the samples; the clean view where not given.
        label_smoothing: in [0, 1), of the loss of labels.
        class_weights: of the loss of labels, one for each class.
    Raises:
        TeacherError: no teacher where the objective needs one, or one that does not serve the samples.
        StoreError: a store of other samples, views or classes.
    Example:
        >>> import limbeck
        >>> loss = DistillationLoss(limbeck.Distillation(temperature=2.0), torch.tensor([[2.0, 0.0], [0.0, 2.0]]))
        >>> parts = loss(torch.zeros(1, 2), ids=torch.tensor([1]), labels=torch.tensor([1]))
        >>> {name: round(float(mean), 4) for name, mean in parts.means.items()}
        {'soft': 0.4438, 'hard': 0.6931}
    """

    def __init__(
        self,
        objective: Objective,
        teacher: object = None,
        *,
        samples: Samples | None = None,
        views: Views | None = None,
        label_smoothing: float = 0.0,
        class_weights: Sequence[float] | None = None,
    ) -> None:
        self.objective = objective
        self.teacher: Teacher | None = None
        if objective.needs_teacher:
            if teacher is None:
                raise TeacherError(
                    f"{type(objective).__name__} needs a teacher.", remedy="DistillationLoss(..., teacher)"
                )
            self.teacher = store_teacher(teacher) if isinstance(teacher, TargetStore) else as_teacher(teacher)
            if samples is not None:
                self.teacher.check_fits(samples, views or Views())
        self._label_smoothing = label_smoothing
        self._class_weights = None if class_weights is None else torch.tensor(class_weights)

    def __call__(
        self,
        outputs: Any,
        *,
        ids: Tensor,
        labels: Tensor | None = None,
        inputs: Inputs | None = None,
        view: int | None = None,
        weights: Tensor | None = None,
    ) -> LossParts:
        """Return the loss of a batch; ``total`` is what ``backward`` is called on.

        Args:
            outputs: logits (batch, classes) or (batch, time, classes) with their graph, or what the student returned
                them in.
            ids: of the samples, int64, shape (batch,).
            labels: as ``Samples`` has them: -1 where unknown; all are where not given.
            inputs: what the student was given, for a teacher that runs; a store needs none.
            view: which view of the samples the inputs show; None for the clean one.
            weights: of the samples, shape (batch,).
        Raises:
            TeacherError: a teacher that runs without inputs, or that was woken, trained or changed.
            StoreError: an id or view that the store does not hold.
            ShapeMismatch: ids, labels and outputs of different lengths, or other classes than the teacher's.
        """
        outputs = outputs_of(outputs)
        device = outputs.device if isinstance(outputs, Tensor) else ids.device
        if labels is None:
            labels = torch.full_like(ids, UNLABELLED)
        batch = Batch(ids=ids, inputs={}, labels=labels.to(device), view=view, weights=weights)
        if isinstance(outputs, Tensor) and not len(outputs) == len(ids) == len(labels):
            raise ShapeMismatch(
                "A batch has one id and one label for each row of its outputs.",
                received=f"{len(outputs)} rows, {len(ids)} ids, {len(labels)} labels",
                expected="the same number of each",
            )
        targets = self._targets(ids, outputs, inputs, view)
        class_weights = None if self._class_weights is None else self._class_weights.to(device)
        counts = self.objective.count(batch, label_smoothing=self._label_smoothing, class_weights=class_weights)
        outputs, targets, rows = valid_rows(outputs, targets, batch)
        return self.objective(outputs, targets, rows, counts=counts)

    def check_unchanged(self) -> None:
        """Raise TeacherError if a weight of the teacher differs from what it was at the beginning, to the byte."""
        if self.teacher is not None:
            self.teacher.check_unchanged()

    def _targets(self, ids: Tensor, outputs: Any, inputs: Inputs | None, view: int | None) -> SoftTargets | None:
        teacher = self.teacher
        if teacher is None:
            return None
        if inputs is None:
            if teacher.reads_inputs:
                raise TeacherError(
                    f"The teacher {teacher.name} runs on inputs, and none were given.",
                    remedy="pass inputs=, or collect its targets into a store: limbeck.collect",
                )
            return teacher(ids, outputs, view=view)  # which say where the targets go
        for module in teacher.modules:
            if teacher.device not in (None, outputs.device):
                module.to(outputs.device)
        return teacher(ids, inputs, view=view)
