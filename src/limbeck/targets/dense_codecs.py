"""Codecs that keep every class: two bytes or one for each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from limbeck.errors import InvalidValue
from limbeck.targets.codec import Codec, max_shifted
from limbeck.targets.packing import from_bytes, to_bytes
from limbeck.targets.soft_targets import DenseTargets

FLOAT16_MIN = -65504.0
SMALLEST_GAP = 2.0**-24  # of float16, above 0
NUM_STEPS = 255


def half_gaps(shifted: Tensor) -> Tensor:
    """Return max-shifted logits in float16, the largest alone at 0.

    Gaps beyond 65504, which no temperature below some 600 sees, become 65504; gaps too small for float16, 2^-24, so
    that the largest logit stays the only largest. -inf stays.
    """
    limited = shifted.clamp(min=FLOAT16_MIN, max=-SMALLEST_GAP).masked_fill_(shifted == 0, 0.0)
    if bool((shifted.amin() == -torch.inf) if shifted.numel() else False):
        limited.masked_fill_(shifted == -torch.inf, -torch.inf)
    return limited.to(torch.float16)


@dataclass(frozen=True)
class Dense16(Codec):
    """Every logit less the row's largest, as float16: 2 bytes a class, relative error at most 2^-11.

    Args:
        num_classes: C.
    Example:
        >>> codec = Dense16(3)
        >>> codec.record_bytes
        6
        >>> codec.decode(codec.encode(torch.tensor([[7.0, 5.0, -1.0]]))).logits_at(2.0)
        tensor([[ 0., -2., -8.]])
    """

    num_classes: int
    name: ClassVar[str] = "dense16"
    keeps_top1: ClassVar[bool] = True
    is_dense: ClassVar[bool] = True

    @property
    def record_bytes(self) -> int:
        return 2 * self.num_classes

    def parameters(self) -> dict[str, Any]:
        return {}

    def arrays(self) -> dict[str, Tensor]:
        return {}

    def encode(self, logits: Tensor) -> Tensor:
        shifted = max_shifted(logits, num_classes=self.num_classes, codec=self.name, allow_minus_infinity=True)
        return to_bytes(half_gaps(shifted))

    def decode(self, records: Tensor) -> DenseTargets:
        return DenseTargets(from_bytes(records, torch.float16).to(torch.float32))


@dataclass(frozen=True)
class Dense8(Codec):
    r"""Every logit in one byte, in steps that widen with the distance from the row's largest.

    .. math:: z_c - z_{max} = -D (u_c / 255)^p, \qquad u_c \in \{0, ..., 255\}

    D, the row's range, is kept as float32 before the codes. p = 1 are equal steps. With p > 1 the probable classes are
    told apart more finely, which is where the divergence at low temperatures comes from.

    Args:
        num_classes: C.
        power: p >= 1.
    Example:
        >>> codec = Dense8(3)
        >>> codec.record_bytes
        7
        >>> codec.decode(codec.encode(torch.tensor([[7.0, 5.0, -1.0]]))).logits_at(1.0).round(decimals=1)
        tensor([[-0., -2., -8.]])
    """

    num_classes: int
    power: float = 1.5
    name: ClassVar[str] = "dense8"
    keeps_top1: ClassVar[bool] = True
    is_dense: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.power) and self.power >= 1):
            raise InvalidValue("power must be at least 1.", received=self.power, expected="a finite number >= 1")

    @property
    def record_bytes(self) -> int:
        return 4 + self.num_classes

    def parameters(self) -> dict[str, Any]:
        return {"power": self.power}

    def arrays(self) -> dict[str, Tensor]:
        return {}

    def encode(self, logits: Tensor) -> Tensor:
        gaps = max_shifted(logits, num_classes=self.num_classes, codec=self.name).neg_()
        reach = gaps.amax(dim=1, keepdim=True)
        least = (gaps > 0).to(torch.float32)  # the largest logit stays the only largest
        shares = gaps.div_(reach.clamp(min=torch.finfo(torch.float32).tiny))
        steps = shares.pow_(1 / self.power).mul_(NUM_STEPS).round_()
        return torch.cat([to_bytes(reach), torch.maximum(steps, least).to(torch.uint8)], dim=1)

    def decode(self, records: Tensor) -> DenseTargets:
        reach = from_bytes(records[:, :4], torch.float32)
        shares = (torch.arange(NUM_STEPS + 1, device=records.device) / NUM_STEPS) ** self.power
        return DenseTargets(-reach * shares[records[:, 4:].to(torch.int64)])
