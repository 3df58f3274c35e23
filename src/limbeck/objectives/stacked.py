"""Objectives of many networks, computed in one call."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from limbeck.data import Batch
from limbeck.errors import InvalidValue, ShapeMismatch
from limbeck.losses import soft_target_loss
from limbeck.objectives.distillation import Distillation
from limbeck.objectives.hard_labels import HardLabels, mean_hard_label_loss
from limbeck.objectives.objective import Counts, LossParts, Objective


class StackedObjective:
    r"""The objectives of K networks, each a :class:`Distillation` or :class:`HardLabels`.

    Network k's total depends on its own outputs alone, so the sum of the totals has each network's own gradient.

    Args:
        objectives: one for each network; temperatures and weights may differ.
    Raises:
        InvalidValue: an objective of another kind.
    Example:
        >>> stacked = StackedObjective([Distillation(temperature=4.0), HardLabels()])
        >>> stacked.part_names, stacked.temperatures
        (('soft', 'hard'), [4.0])
    """

    def __init__(self, objectives: Sequence[Objective]) -> None:
        settings = [_settings(objective) for objective in objectives]
        soft = [k for k, (_, soft_weight, _) in enumerate(settings) if soft_weight > 0]
        hard = [k for k, (_, _, hard_weight) in enumerate(settings) if hard_weight > 0]
        self.num_networks = len(settings)
        self.part_names = tuple(name for name, networks in (("soft", soft), ("hard", hard)) if networks)
        self.temperatures = [settings[k][0] for k in soft]  # of the networks with a soft part, in order
        self.soft_networks, self.hard_networks = (
            torch.tensor(soft, dtype=torch.long),
            torch.tensor(hard, dtype=torch.long),
        )
        self._temperature = torch.tensor(self.temperatures).unsqueeze(1)  # (soft networks, 1)
        self._soft_weight = torch.tensor([settings[k][1] for k in soft])
        self._hard_weight = torch.tensor([settings[k][2] for k in hard])

    def to(self, device: torch.device) -> StackedObjective:
        """Move what depends on the network to the device; return self."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value.to(device))
        return self

    def __call__(self, outputs: Tensor, teacher_logits: Tensor | None, batch: Batch, *, counts: Counts) -> LossParts:
        """Return the losses of one step, each of shape (networks,); a part that a network does without is 0.

        Args:
            outputs: logits, shape (networks, batch, classes).
            teacher_logits: at the temperatures, shape (soft networks, batch, classes); None where there are none.
            batch: labels, and with mixup partner labels and weights, of shape (networks, batch).
            counts: of the whole step; ``labelled`` is a number, or of shape (networks,).
        Raises:
            ShapeMismatch: teacher and students have different classes.
        """
        weighted: list[Tensor] = []
        means: dict[str, Tensor] = {}
        if teacher_logits is not None:
            means["soft"] = self._soft_means(outputs, teacher_logits, counts)
            weighted.append(self._spread(self._soft_weight * means["soft"], self.soft_networks))
            means["soft"] = self._spread(means["soft"].detach(), self.soft_networks)
        if len(self.hard_networks):
            means["hard"] = self._hard_means(outputs, batch, counts)
            weighted.append(self._spread(self._hard_weight * means["hard"], self.hard_networks))
            means["hard"] = self._spread(means["hard"].detach(), self.hard_networks)
        total = weighted[0] if len(weighted) == 1 else weighted[0] + weighted[1]
        return LossParts(total=total, means=means)

    def _soft_means(self, outputs: Tensor, teacher_logits: Tensor, counts: Counts) -> Tensor:
        students = self._chosen(outputs, self.soft_networks)
        if teacher_logits.shape != students.shape:
            raise ShapeMismatch(
                "Teacher and students do not agree on the classes.",
                received=f"teacher {tuple(teacher_logits.shape)}, students {tuple(students.shape)}",
                expected="(networks, batch, classes), the same for both",
            )
        losses = soft_target_loss(students, teacher_logits, temperature=self._temperature)
        return losses.sum(dim=-1) / counts.examples

    def _hard_means(self, outputs: Tensor, batch: Batch, counts: Counts) -> Tensor:
        networks = self.hard_networks
        if len(networks) < self.num_networks:
            labelled = counts.labelled
            if isinstance(labelled, Tensor):
                labelled = labelled.index_select(0, networks)
            counts = dataclasses.replace(counts, labelled=labelled)
            batch = Batch(
                ids=batch.ids,
                inputs=batch.inputs,
                labels=batch.labels.index_select(0, networks),
                view=batch.view,
                partner_labels=_index(batch.partner_labels, networks),
                partner_weight=_index(batch.partner_weight, networks),
            )
        students = self._chosen(outputs, networks)
        return mean_hard_label_loss(students, batch, counts)

    def _chosen(self, values: Tensor, networks: Tensor) -> Tensor:
        return values if len(networks) == self.num_networks else values.index_select(0, networks)

    def _spread(self, values: Tensor, networks: Tensor) -> Tensor:
        """Return one value for each network, 0 for those that are not among ``networks``."""
        if len(networks) == self.num_networks:
            return values
        return values.new_zeros(self.num_networks).index_copy(0, networks, values)


def _settings(objective: Objective) -> tuple[float, float, float]:
    """Return temperature, soft weight and hard weight."""
    if type(objective) is Distillation:
        return objective.temperature, objective.soft_weight, objective.hard_weight
    if type(objective) is HardLabels:
        return 1.0, 0.0, 1.0
    raise InvalidValue(
        "This objective cannot be computed for many networks at once.",
        received=type(objective).__name__,
        expected="Distillation or HardLabels",
        remedy="train each network with fit",
    )


def _index(values: Tensor | None, networks: Tensor) -> Tensor | None:
    return None if values is None else values.index_select(0, networks)
