"""The adapter to the ``Trainer`` of transformers. Nothing of transformers is imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from limbeck.data import IGNORE_INDEX
from limbeck.errors import DataError, InvalidValue
from limbeck.integrations.distillation_loss import DistillationLoss
from limbeck.models.calling import call_network
from limbeck.objectives import objective_of_labels


def trainer_compute_loss(loss: DistillationLoss, *, ids: str = "ids", labels: str = "labels") -> Callable[..., Any]:
    """Return a ``compute_loss`` method for a subclass of transformers' ``Trainer``.

    ``class DistillingTrainer(Trainer): compute_loss = trainer_compute_loss(loss)``, with
    ``TrainingArguments(remove_unused_columns=False)``, since no model takes ids.

    The student gets the batch without ids and labels, the teacher the same. With gradient accumulation the mean runs
    over all examples of the step, as the Trainer counts them. Evaluation measures the loss of the labels alone: a store
    has no targets there.

    Args:
        loss: objective and teacher.
        ids: the column of sample ids.
        labels: the column of labels.
    """
    measured = DistillationLoss(objective_of_labels("multi_label" if loss.objective.takes_independent_labels else ""))

    def compute_loss(
        self: Any,
        model: Any,
        inputs: Mapping[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        given = {name: value for name, value in inputs.items() if name not in (ids, labels)}
        known = inputs.get(labels)
        outputs = call_network(model, given)
        if not model.training:
            number = inputs.get(ids, known)
            total = measured(outputs, ids=number, labels=known).total
        else:
            _check(self, inputs, ids)
            total = loss(outputs, ids=inputs[ids], labels=known, inputs=given).total
            if num_items_in_batch is not None:  # the Trainer then adds the parts up, and divides by nothing
                total = total * _share_of_step(self, known, num_items_in_batch)
        if not return_outputs:
            return total
        return total, {"logits": outputs} if isinstance(outputs, Tensor) else outputs

    return compute_loss


def _check(trainer: Any, inputs: Mapping[str, Any], ids: str) -> None:
    if ids not in inputs:
        raise DataError(
            "The batch has no sample ids.",
            received="the columns " + ", ".join(inputs),
            expected=f"a column {ids!r}",
            remedy="TrainingArguments(remove_unused_columns=False), and a data set with that column",
        )
    if trainer.args.n_gpu > 1:
        raise InvalidValue(
            "The Trainer would split batches over several GPUs of one process.",
            received=f"n_gpu {trainer.args.n_gpu}",
            expected="one process for each GPU",
            remedy="accelerate launch, or torchrun",
        )


def _share_of_step(trainer: Any, labels: Tensor | None, num_items: Tensor | int) -> Tensor | float:
    """Return the share of the step's examples that a batch has, times the ranks whose gradients are averaged."""
    assert labels is not None, "the Trainer counts labels"
    share = labels.ne(IGNORE_INDEX).sum() / num_items
    return share * trainer.accelerator.num_processes if trainer.args.average_tokens_across_devices else share
