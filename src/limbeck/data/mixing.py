"""Who is mixed with whom, and how much."""

from __future__ import annotations

from torch import Tensor

from limbeck.data.augmentations import Mixup
from limbeck.data.counter import counter_integers, counter_uniform
from limbeck.data.samples import Samples
from limbeck.errors import DataError


def mixing_partners(
    mixup: Mixup, samples: Samples, positions: Tensor, ids: Tensor, *, seed: int, view: int
) -> tuple[Tensor, Tensor]:
    """Draw each sample's partner, uniform over the other samples of the set, and the partner's weight.

    Both depend on (seed, id, view) and on which samples the set has.

    Args:
        mixup: gives the weights' distribution.
        samples: the set, of at least two.
        positions: of the samples to mix, int64, shape (n,).
        ids: theirs, int64, shape (n,).
        seed: of the views.
        view: number of the view.
    Returns:
        The partners' positions, int64, shape (n,), and their weights, float32, shape (n,).
    Raises:
        DataError: fewer than two samples.
    """
    if len(samples) < 2:
        raise DataError("Mixup needs at least two samples.", received=f"{len(samples)} of {samples.name}")
    last = len(samples) - 1
    drawn = counter_integers(ids, low=0, high=last, seed=seed, stream="mixup partner", view=view)[:, 0]
    ranks = drawn + (drawn >= samples.ranks[positions])  # any sample but itself, in order of id
    weight = mixup.weights(counter_uniform(ids, seed=seed, stream="mixup weight", view=view)[:, 0])
    return samples.positions_by_id[ranks], weight
