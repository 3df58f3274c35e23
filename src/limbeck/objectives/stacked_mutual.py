"""Mutual learning of many networks of one shape, computed in one call."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from limbeck.data import Batch
from limbeck.errors import InvalidValue
from limbeck.losses import soft_target_loss
from limbeck.objectives.hard_labels import mean_hard_label_loss
from limbeck.objectives.mutual import MutualLearning
from limbeck.objectives.objective import Counts, LossParts, Objective


class StackedMutual:
    r"""The objectives of cohorts of K networks each, one cohort after the other; all learn at once ("simultaneous").

    Peers are constants to each other, so the sum of the totals has each network's own gradient.

    Args:
        objectives: one for each network, all the same :class:`MutualLearning`.
        cohort_size: K, networks that see the same batches.
    Raises:
        InvalidValue: objectives that differ, a teacher beside the peers, or a cohort of one.
    References:
        Zhang, Xiang, Hospedales, Lu 2018, arXiv:1706.00384, equations 4 to 8.
    """

    def __init__(self, objectives: Sequence[Objective], *, cohort_size: int) -> None:
        objective = objectives[0]
        if not isinstance(objective, MutualLearning) or any(other != objective for other in objectives):
            raise InvalidValue(
                "Cohorts that train in one pass share one objective.",
                received=", ".join(dict.fromkeys(map(str, objectives))),
                expected="the same MutualLearning for all",
            )
        if objective.teacher_weight > 0:
            raise InvalidValue(
                "A stack of cohorts has no teacher beside the peers.",
                received=f"teacher_weight {objective.teacher_weight:g}",
                expected="0",
                remedy="train one cohort with fit_cohort",
            )
        if cohort_size < 2:
            raise InvalidValue(
                "A cohort is at least two networks.",
                received="a network that shares its seed and views with no other, or with fewer than the others do",
                expected="each seed for the same number of networks, 2 or more: those of a seed are peers",
            )
        self.objective = objective
        self.cohort_size = cohort_size
        self.part_names = objective.part_names
        self.temperatures: list[float] = []  # of soft targets from a teacher
        self.soft_networks = torch.zeros(0, dtype=torch.long)  # which have any

    def to(self, device: torch.device) -> StackedMutual:
        """Move what depends on the network to the device; return self."""
        self.soft_networks = self.soft_networks.to(device)
        return self

    def __call__(self, outputs: Tensor, teacher_logits: Tensor | None, batch: Batch, *, counts: Counts) -> LossParts:
        """Return the losses of one step, each of shape (networks,).

        Args:
            outputs: logits, shape (networks, batch, classes).
            teacher_logits: None.
            batch: labels, and with mixup partner labels and weights, of shape (networks, batch).
            counts: of the whole step; ``labelled`` is a number, or of shape (networks,).
        """
        peers = self._peer_losses(outputs).sum(dim=-1) / counts.examples
        means, total = {"peers": peers.detach()}, self.objective.soft_weight * peers
        if self.objective.hard_weight > 0:
            hard = mean_hard_label_loss(outputs, batch, counts)
            means["hard"], total = hard.detach(), total + self.objective.hard_weight * hard
        return LossParts(total=total, means=means)

    def _peer_losses(self, outputs: Tensor) -> Tensor:
        """Return T² KL from the peers, mean over them or from their mean, shape (networks, batch)."""
        temperature, size = self.objective.temperature, self.cohort_size
        cohorts = outputs.detach().view(-1, size, *outputs.shape[1:])
        if self.objective.targets == "mean" and size > 2:
            return soft_target_loss(outputs, _mean_of_others(cohorts, temperature), temperature=temperature)
        losses = [
            soft_target_loss(outputs, cohorts.roll(shift, dims=1).flatten(0, 1), temperature=temperature)
            for shift in range(1, size)
        ]
        return losses[0] if len(losses) == 1 else torch.stack(losses).mean(dim=0)


def _mean_of_others(cohorts: Tensor, temperature: float) -> Tensor:
    """Return logits whose softmax at T is the mean of the other networks' distributions at T.

    Args:
        cohorts: logits, shape (cohorts, K, batch, classes).
        temperature: T.
    """
    size = cohorts.shape[1]
    log_probs = torch.log_softmax(cohorts.float() / temperature, dim=-1)
    others = torch.stack([log_probs.roll(shift, dims=1) for shift in range(1, size)])
    return temperature * torch.logsumexp(others, dim=0).flatten(0, 1)
