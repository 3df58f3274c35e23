"""Fitting the codec ``lowrank`` to a sample of a teacher's logits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.errors import InvalidValue
from limbeck.targets.codec import max_shifted
from limbeck.targets.lowrank_codec import LowRank, importance, weighted_centred
from limbeck.targets.packing import MAX_FIELD_BITS, id_bytes

MAX_RANK = 384  # a coefficient takes a bit at least
WEIGHT_FLOOR = 0.02  # of the mean class weight, so that no class is given up
RANGE_MARGIN = (1.25, 8.0)  # a + b / sqrt(n) times the largest coefficient of n samples: others lie further out
_EXACT_LIMIT = 1024  # of the smaller side of the sample: above, a randomised decomposition
_POWER_ITERATIONS = 2


@dataclass(frozen=True, eq=False)
class LowRankFit:
    """Principal axes of a sample of logits, from which codecs of any size are cut.

    Args:
        basis: rows in order of importance, shape (rank, classes).
        mean: shape (classes,).
        class_weights: shape (classes,).
        reach: largest size that each coefficient is kept for, beyond that of the sample, shape (rank,).
    """

    basis: Tensor
    mean: Tensor
    class_weights: Tensor
    reach: Tensor

    def codec(self, *, record_bytes: int, corrections: int = 0) -> LowRank:
        """Return the codec whose records are at most ``record_bytes``, with the finest step that fits.

        One step for all coefficients, as many bits for each as its range asks for, is what minimises the squared error
        for a number of bits (reverse water-filling).

        Raises:
            InvalidValue: no room for a coefficient.
        """
        room = 8 * (record_bytes - corrections * (id_bytes(len(self.mean)) + 2))
        if room < 1:
            raise InvalidValue(
                "There is no room for coefficients.",
                received=f"{record_bytes} bytes, {corrections} corrections",
                expected="more bytes or fewer corrections",
            )
        low, high = float(self.reach.max()) * 2.0**-MAX_FIELD_BITS * 2, 4 * float(self.reach.max())
        low, high = max(low, 1e-30), max(high, 1e-29)
        if int(self._bits(low).sum()) <= room:
            return self._with_step(low, corrections)
        for _ in range(40):
            middle = (low * high) ** 0.5
            low, high = (low, middle) if int(self._bits(middle).sum()) <= room else (middle, high)
        return self._with_step(high, corrections)

    def _bits(self, step: float) -> Tensor:
        """Bits for integers from -reach / step to reach / step; none for what stays below half a step."""
        needed = torch.ceil(torch.log2(2 * self.reach / step + 1)).to(torch.int64)
        return torch.where(self.reach > step / 2, needed.clamp(1, MAX_FIELD_BITS), torch.zeros_like(needed))

    def _with_step(self, step: float, corrections: int) -> LowRank:
        bits = self._bits(step)
        kept = bits.nonzero()[:, 0]
        if not len(kept):
            kept, bits = torch.zeros(1, dtype=torch.int64), bits.clamp(min=1)
        return LowRank(
            basis=self.basis[kept],
            mean=self.mean,
            class_weights=self.class_weights,
            bits=bits[kept].tolist(),
            step=step,
            corrections=corrections,
        )


def fit_lowrank(logits: Tensor, *, max_rank: int = MAX_RANK, seed: int = 0) -> LowRankFit:
    """Find the axes along which a teacher's logits vary most, each class weighed by what its errors cost.

    Args:
        logits: a sample, shape (n, classes), n >= 2; several thousand rows for a wide teacher.
        max_rank: axes to find.
        seed: of the randomised decomposition of large samples.
    Example:
        >>> hidden, layer = torch.randn(200, 8), torch.nn.Linear(8, 50)
        >>> fit_lowrank(layer(hidden).detach()).basis.shape
        torch.Size([8, 50])
    """
    if logits.ndim != 2 or len(logits) < 2:
        raise InvalidValue(
            "A fit needs a sample of logits.", received=tuple(logits.shape), expected="(n >= 2, classes)"
        )
    shifted = max_shifted(logits, num_classes=logits.shape[1], codec="lowrank")
    weights = torch.zeros_like(shifted[0])
    for rows in torch.split(shifted, 512):
        weights += importance(rows).sum(dim=0)
    weights = weights / weights.mean() + WEIGHT_FLOOR
    centred = weighted_centred(shifted, weights)
    mean = centred.mean(dim=0)
    scaled = (centred - mean) * weights.sqrt()
    axes, sizes = _principal_axes(scaled, min(max_rank, *scaled.shape), seed)
    real = sizes > sizes[:1] * 1e-5  # what lies below is rounding
    real[0] = True
    axes = axes[:, real]
    margin = RANGE_MARGIN[0] + RANGE_MARGIN[1] / len(scaled) ** 0.5
    reach = margin * (scaled @ axes).abs().amax(dim=0)
    return LowRankFit((axes / weights.sqrt()[:, None]).T.contiguous(), mean, weights, reach)


def _principal_axes(rows: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return orthonormal columns (classes, count) and the singular values (count,), largest first."""
    if min(rows.shape) <= _EXACT_LIMIT:
        _, sizes, axes = torch.linalg.svd(rows, full_matrices=False)
        return axes[:count].T, sizes[:count]
    devices = [rows.device] if rows.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        _, sizes, axes = torch.svd_lowrank(rows, q=count, niter=_POWER_ITERATIONS)
    return axes, sizes
