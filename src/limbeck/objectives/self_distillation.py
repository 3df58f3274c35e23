"""Be Your Own Teacher: early exits that learn from the labels, from the deepest exit and from its features."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.data import Batch
from limbeck.errors import ModelError, require_not_negative, require_positive
from limbeck.losses import hint_loss, soft_target_loss
from limbeck.models import ExitOutputs
from limbeck.objectives.hard_labels import mean_hard_label_loss
from limbeck.objectives.objective import Counts, LossParts, Objective, count_valid, example_sum, names_of
from limbeck.targets import SoftTargets


@dataclass(frozen=True)
class SelfDistillation(Objective):
    r"""What a network with exits minimises (see ``limbeck.models.add_exits``).

    .. math:: L = \overline{CE(y, q^C)} + \sum_{i < C} \left( w_{hard}\, \overline{CE(y, q^i)} +
        w_{soft}\, T^2\, \overline{KL(q^C \| q^i)} + w_{hint}\, \overline{\| F_i - F_C \|^2 / D} \right)

    Exit C is the network's own head, which learns from the labels alone: its outputs and its D features are constants
    to the others. The hint is a *mean* over the elements of an example; published code sums them, so that a weight from
    there is to be multiplied by D. With ``soft_weight=0, hint_weight=0, hard_weight=1`` this is deep supervision, the
    ablation that belongs beside it.

    Args:
        temperature: T > 0 (the paper's code: 3).
        hard_weight: >= 0, of the labels at each exit but the last (the paper: 1 - alpha = 0.7).
        soft_weight: >= 0, of the divergence from the last exit (alpha = 0.3).
        hint_weight: >= 0, of the features (lambda = 0.03 on sums).
    Raises:
        InvalidValue: a number outside its range.
    Example:
        >>> SelfDistillation().part_names
        ('hard', 'exits_hard', 'exits_soft', 'exits_hint')

    References:
        Zhang et al. 2019, "Be Your Own Teacher", arXiv:1905.08094, equations 2 to 5.
    """

    temperature: float = 3.0
    hard_weight: float = 0.7
    soft_weight: float = 0.3
    hint_weight: float = 0.03

    def __post_init__(self) -> None:
        require_positive("temperature", self.temperature)
        for name in ("hard_weight", "soft_weight", "hint_weight"):
            require_not_negative(name, getattr(self, name))

    @property
    def needs_teacher(self) -> bool:
        return False

    @property
    def takes_positions(self) -> bool:
        return False

    @property
    def part_names(self) -> tuple[str, ...]:
        return (
            "hard",
            *names_of(exits_hard=self.hard_weight, exits_soft=self.soft_weight, exits_hint=self.hint_weight),
        )

    def __call__(
        self, outputs: Tensor | ExitOutputs, targets: SoftTargets | None, batch: Batch, *, counts: Counts | None = None
    ) -> LossParts:
        if not isinstance(outputs, ExitOutputs):
            raise ModelError(
                "SelfDistillation needs a network with exits.",
                received=f"outputs of type {type(outputs).__name__}",
                remedy="make one with limbeck.models.add_exits",
            )
        counts = counts or count_valid(batch)
        *shallow, deep = outputs.logits
        *hidden, deepest = outputs.features
        terms = {"hard": (1.0, mean_hard_label_loss(deep, batch, counts))}
        if self.hard_weight > 0:
            losses = [mean_hard_label_loss(logits, batch, counts) for logits in shallow]
            terms["exits_hard"] = (self.hard_weight, torch.stack(losses).sum())
        if self.soft_weight > 0:
            temperature = self.temperature
            losses = [soft_target_loss(logits, deep, temperature=temperature) for logits in shallow]
            soft = [example_sum(loss, batch) for loss in losses]
            terms["exits_soft"] = (self.soft_weight, torch.stack(soft).sum() / counts.examples)
        if self.hint_weight > 0:
            hints = [example_sum(hint_loss(features, deepest), batch) for features in hidden]
            terms["exits_hint"] = (self.hint_weight, torch.stack(hints).sum() / counts.examples)
        return LossParts.weighted(terms)
