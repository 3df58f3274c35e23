"""A partition of the classes into groups whose members share one offset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.calibration.arguments import usable_classes
from limbeck.errors import InvalidValue
from limbeck.metrics.rows import row_chunks


@dataclass(frozen=True)
class Groups:
    """Classes by group; with a rest, group 0 is the classes whose offset stays 0."""

    members: tuple[tuple[int, ...], ...]  # each sorted
    has_rest: bool

    def log_masses(self, logits: Tensor) -> Tensor:
        """Return log of the sum of exp(logit) over each group, float64, shape (rows, groups).

        Where every class is a group of its own: the logits as they are, uncopied.
        """
        if self._is_identity:
            return logits
        parts = [
            torch.stack([logits[rows][:, group].double().logsumexp(dim=1) for group in self.members], dim=1)
            for rows in row_chunks(logits)
        ]
        return torch.cat(parts)

    def peaks(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return each group's largest logit and its class (of equal ones the lowest), both (rows, groups)."""
        if self._is_identity:
            return logits, torch.arange(logits.shape[1], device=logits.device).expand(logits.shape)
        values, classes = [], []
        for group in self.members:
            chosen = logits[:, group]
            best = chosen.argmax(dim=1)
            values.append(chosen.gather(1, best.unsqueeze(1)).squeeze(1))
            classes.append(torch.tensor(group, device=logits.device)[best])
        return torch.stack(values, dim=1), torch.stack(classes, dim=1)

    def totals(self, shares: Tensor) -> Tensor:
        """Sum a share per class to a share per group."""
        return torch.stack([shares[list(group)].sum() for group in self.members])

    def spread(self, offsets: Tensor) -> Tensor:
        """Return an offset per class from one per group: 0 for the rest, or a mean of 0 where there is no rest."""
        offsets = offsets - (offsets[0] if self.has_rest else offsets.mean())
        spread = offsets.new_zeros(sum(len(group) for group in self.members))
        for group, offset in zip(self.members, offsets, strict=True):
            spread[list(group)] = offset
        return spread

    def name(self, index: int) -> str:
        """Return how an error speaks of a group."""
        if self.has_rest and index == 0:
            return "the other classes together"
        group = self.members[index]
        return f"class {group[0]}" if len(group) == 1 else f"classes {', '.join(map(str, group))} together"

    @property
    def _is_identity(self) -> bool:
        return self.members == tuple((number,) for number in range(len(self.members)))


def make_groups(classes: Sequence[int] | Tensor | None, *, num_classes: int, shared: bool) -> Groups:
    """Return the groups for offsets of the chosen classes (all by default), one each or one ``shared`` by all.

    Raises:
        InvalidValue: classes that are unknown, repeated or none, or one offset shared by all classes.
    """
    chosen = list(range(num_classes)) if classes is None else sorted(usable_classes(classes, num_classes))
    own = ((*chosen,),) if shared else tuple((number,) for number in chosen)
    rest = tuple(number for number in range(num_classes) if number not in set(chosen))
    if rest:
        return Groups((rest, *own), has_rest=True)
    if shared:
        raise InvalidValue(
            "One offset shared by all classes changes nothing.",
            received=f"shared=True for all {num_classes} classes",
            expected="fewer classes than there are",
            remedy="name the classes that share the offset in classes, or leave shared=False",
        )
    return Groups(own, has_rest=False)
