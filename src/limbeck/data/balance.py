"""Batches with a fixed share of some classes, such as half for a specialist's own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.data.counter import counter_bits
from limbeck.data.samples import Samples
from limbeck.errors import DataError, InvalidValue


@dataclass(frozen=True)
class BalancedOrder:
    r"""An order of passes in which every batch holds a share of the samples of some classes.

    A batch of B begins with :math:`k = \mathrm{round}(s B)` samples of the special classes, from 1 to B - 1; the rest
    are of the other classes, those without a label among them. Both are dealt from shuffles of their own that run on
    from pass to pass: every sample of a kind comes before any comes again. A pass is the fewest batches that deal as
    many special samples as there are. As in every order here, the sequence of ids is a function of (seed, pass, ids).

    Args:
        classes: numbers of the special classes.
        share: s, in (0, 1).
    Raises:
        InvalidValue: no classes, or a share that is not between 0 and 1.
    Example:
        >>> labels = torch.tensor([0, 1, 2, 2, 2, 2])
        >>> samples = Samples("toy", torch.arange(6), torch.zeros(6, 1), labels, ("a", "b", "c"))
        >>> order = BalancedOrder(classes=(0, 1)).positions(samples, seed=0, epoch=0, batch_size=4)
        >>> (labels[order] < 2).tolist()
        [True, True, False, False]

    References:
        Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 5.2 (half of a specialist's examples are of its classes).
    """

    classes: tuple[int, ...]
    share: float = 0.5

    def __post_init__(self) -> None:
        if not self.classes or not 0 < self.share < 1:
            raise InvalidValue(
                "Balanced batches need special classes, and a share for them.",
                received=f"{len(self.classes)} classes, share {self.share:g}",
                expected="at least one class, 0 < share < 1",
            )

    def num_batches(self, samples: Samples, batch_size: int) -> int:
        """Return how many batches one pass has.

        Raises:
            DataError: no sample of the special classes, or none of another.
            InvalidValue: a batch that has no room for both.
        """
        special, _ = self._kinds(samples)
        return math.ceil(len(special) / self.num_special(batch_size))

    def positions(self, samples: Samples, *, seed: int, epoch: int, batch_size: int) -> Tensor:
        """Return positions of the samples in the order of one pass: whole batches, int64, on the CPU.

        Args:
            samples: their labels say which are special.
            seed: of the shuffles.
            epoch: which pass.
            batch_size: B, at least 2.
        Raises:
            DataError, InvalidValue: see :meth:`num_batches`.
        """
        num_special = self.num_special(batch_size)
        num_batches = self.num_batches(samples, batch_size)
        parts = [
            _dealt(kind, samples.ids, stream, start=epoch * num_batches * size, count=num_batches * size, seed=seed)
            for kind, stream, size in zip(
                self._kinds(samples),
                ("special samples", "other samples"),
                (num_special, batch_size - num_special),
                strict=True,
            )
        ]
        return torch.cat([part.view(num_batches, -1) for part in parts], dim=1).flatten()

    def _kinds(self, samples: Samples) -> tuple[Tensor, Tensor]:
        is_special = torch.isin(samples.labels.cpu(), torch.tensor(self.classes))
        special, others = is_special.nonzero()[:, 0], (~is_special).nonzero()[:, 0]
        if not len(special) or not len(others):
            raise DataError(
                "Balanced batches need samples of both kinds.",
                received=f"{len(special)} of the special classes, {len(others)} others, in {samples.name}",
                expected="at least one of each",
            )
        return special, others

    def num_special(self, batch_size: int) -> int:
        """Return k, how many samples of a batch are special.

        Raises:
            InvalidValue: a batch that has no room for both kinds.
        """
        if batch_size < 2:
            raise InvalidValue("A balanced batch has room for both kinds.", received=batch_size, expected=">= 2")
        return min(max(round(self.share * batch_size), 1), batch_size - 1)


def _dealt(positions: Tensor, ids: Tensor, stream: str, *, start: int, count: int, seed: int) -> Tensor:
    """Return those dealt from ``start`` on, where all are dealt, shuffled anew, dealt again, and so on."""
    own = ids.cpu()[positions]
    first, last = start // len(own), (start + count - 1) // len(own)
    rounds = [
        positions[torch.argsort(counter_bits(own, seed=seed, stream=stream, view=number)[:, 0])]
        for number in range(first, last + 1)
    ]
    return torch.cat(rounds)[start - first * len(own) :][:count]
