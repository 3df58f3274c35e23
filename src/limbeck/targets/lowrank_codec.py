"""The codec that keeps coefficients on one shared basis, and corrects the few classes that matter most."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from limbeck.errors import InvalidValue, ShapeMismatch
from limbeck.targets.codec import Codec, max_shifted
from limbeck.targets.compact_targets import LowRankTargets
from limbeck.targets.dense_codecs import FLOAT16_MIN
from limbeck.targets.packing import MAX_FIELD_BITS, BitFields, from_bytes, id_bytes, pack_ids, to_bytes, unpack_ids

FIT_TEMPERATURES = (8.0, 4.0, 2.0, 1.0)  # at which errors are weighed; each half the one before


class LowRank(Codec):
    r"""Coefficients of the logits on a shared basis, in fields of a few bits, and the m errors that matter most.

    .. math:: z = mean + \sum_j \Delta\, u_j B_j + \sum_i r_i e_{c_i}

    A classifier's logits are an affine image of its last hidden layer, so as many coefficients as that layer has units
    say everything, and far fewer nearly everything. The coefficients, in one unit Delta, are integers u_j of their own
    widths. A record: the fields, one behind the other, lowest bit first; m class ids of just enough whole bytes; m
    float16 corrections. It holds at every temperature.

    Args:
        basis: B, float32, shape (r, classes); orthonormal rows once column c is scaled by
            sqrt(class_weights[c]).
        mean: float32, shape (classes,).
        class_weights: w > 0, float32, shape (classes,): how much an error of each class counts.
        bits: of each coefficient, r integers in 1 .. 16.
        step: Delta > 0.
        corrections: m >= 0.
    Raises:
        InvalidValue: a setting out of range.
        ShapeMismatch: arrays that do not go together.
    """

    name: ClassVar[str] = "lowrank"
    keeps_top1: ClassVar[bool] = False
    is_dense: ClassVar[bool] = False

    def __init__(
        self,
        *,
        basis: Tensor,
        mean: Tensor,
        class_weights: Tensor,
        bits: Sequence[int],
        step: float,
        corrections: int = 0,
    ) -> None:
        rank, self.num_classes = basis.shape
        self._check(rank, mean, class_weights, bits, step, corrections)
        self._bits = tuple(int(width) for width in bits)
        self._step = float(step)
        self._corrections = int(corrections)
        self._fields = BitFields(self._bits)
        self._basis, self._mean, self._weights = basis.float(), mean.float(), class_weights.float()
        self._analysis = (self._basis * self._weights).T.contiguous()  # (classes, r)
        self._scaled_basis = self._basis * self._step
        self._half = torch.tensor([1 << (width - 1) for width in self._bits], dtype=torch.float32)

    @property
    def rank(self) -> int:
        """r: how many coefficients are kept."""
        return len(self._bits)

    @property
    def record_bytes(self) -> int:
        return self._fields.num_bytes + self._corrections * (id_bytes(self.num_classes) + 2)

    def parameters(self) -> dict[str, Any]:
        return {"bits": list(self._bits), "step": self._step, "corrections": self._corrections}

    def arrays(self) -> dict[str, Tensor]:
        return {"basis": self._basis, "mean": self._mean, "class_weights": self._weights}

    def encode(self, logits: Tensor) -> Tensor:
        shifted = max_shifted(logits, num_classes=self.num_classes, codec=self.name)
        self._follow(shifted.device)
        centred = weighted_centred(shifted, self._weights)
        codes = ((centred - self._mean) @ self._analysis).div_(self._step).round_()
        codes = torch.minimum(torch.maximum(codes, -self._half), self._half - 1)
        fields = self._fields.pack((codes + self._half).to(torch.int32))
        if not self._corrections:
            return fields
        errors = centred - torch.addmm(self._mean, codes, self._scaled_basis)
        chosen = (importance(shifted) * errors.square()).topk(self._corrections, dim=1).indices.sort(dim=1).values
        values = errors.gather(1, chosen).clamp_(FLOAT16_MIN, -FLOAT16_MIN).to(torch.float16)
        ids = pack_ids(chosen, num_bytes=id_bytes(self.num_classes))
        return torch.cat([fields, ids, to_bytes(values)], dim=1)

    def decode(self, records: Tensor) -> LowRankTargets:
        self._follow(records.device)
        num_bytes = id_bytes(self.num_classes)
        sizes = [self._fields.num_bytes, self._corrections * num_bytes, 2 * self._corrections]
        fields, ids, values = torch.split(records, sizes, dim=1)
        return LowRankTargets(
            coefficients=self._fields.unpack(fields).to(torch.float32) - self._half,
            basis=self._scaled_basis,
            mean=self._mean,
            ids=unpack_ids(ids, num_bytes=num_bytes) if self._corrections else ids.to(torch.int64),
            residuals=from_bytes(values, torch.float16).to(torch.float32) if self._corrections else values.float(),
        )

    def _follow(self, device: torch.device) -> None:
        if self._mean.device != device:
            for name in ("_basis", "_mean", "_weights", "_analysis", "_scaled_basis", "_half"):
                setattr(self, name, getattr(self, name).to(device))

    @staticmethod
    def _check(rank: int, mean: Tensor, weights: Tensor, bits: Sequence[int], step: float, corrections: int) -> None:
        if not rank or len(bits) != rank or any(not 1 <= int(width) <= MAX_FIELD_BITS for width in bits):
            raise InvalidValue(
                "Each coefficient takes some bits.",
                received=f"{len(bits)} widths for {rank} coefficients: {sorted(set(bits))}",
                expected=f"at least one coefficient, each of 1 to {MAX_FIELD_BITS} bits",
            )
        if mean.shape != weights.shape or mean.ndim != 1:
            raise ShapeMismatch("A basis, a mean and class weights of one number of classes are needed.",
                                received=f"{tuple(mean.shape)} and {tuple(weights.shape)}")  # fmt: skip
        if not (math.isfinite(step) and step > 0) or not 0 <= corrections < len(mean):
            raise InvalidValue(
                "A setting of the codec lowrank is out of range.",
                received=f"step {step}, corrections {corrections}",
                expected=f"step > 0, 0 <= corrections < {len(mean)}",
            )


def weighted_centred(logits: Tensor, weights: Tensor) -> Tensor:
    """Return logits less each row's weighted mean over the classes: a constant per row says nothing."""
    return logits - (logits @ weights / weights.sum())[:, None]


def importance(shifted: Tensor) -> Tensor:
    r"""Return how much a squared error of each logit adds to the divergence, summed over the fitting temperatures.

    .. math:: \sum_T p_c(T) / T^2

    which is twice the second-order term of KL(p || q) where one logit is off by one.
    """
    weights = torch.exp(shifted / FIT_TEMPERATURES[0])
    total = torch.zeros_like(shifted)
    for temperature in FIT_TEMPERATURES:
        total.addcmul_(weights, 1 / (temperature**2 * weights.sum(dim=1, keepdim=True)))
        weights.square_()  # at half the temperature
    return total
