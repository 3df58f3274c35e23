"""The codec that keeps the top classes, and the mass of the others at several temperatures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from limbeck.errors import InvalidValue
from limbeck.targets.codec import Codec, max_shifted
from limbeck.targets.compact_targets import SparseTargets, TailMass
from limbeck.targets.dense_codecs import half_gaps
from limbeck.targets.packing import from_bytes, id_bytes, pack_ids, to_bytes, unpack_ids

NODES = (0.0, 0.05, 0.125, 0.25, 0.5, 1.0, 2.0)  # beta = 1 / T: T = infinity, 20, 8, 4, 2, 1, 1/2


@dataclass(frozen=True)
class Sparse(Codec):
    r"""The k largest logits with their class ids, and the tail's log-mass at seven temperatures.

    The temperatures are infinity, 20, 8, 4, 2, 1 and 1/2. A record: k ids of just enough whole bytes, largest logit
    first; k float16 logits less the largest; 7 float32 log-masses; 7 float32 slopes. The tail's mass is exact at these
    temperatures and interpolated in 1/T between them, for every T >= 1/2; below, it is a straight line, which is too
    little at most. The tail's classes share it equally: what the teacher says of them is lost, and with it most of a
    teacher of many classes. See the measured fidelity.

    Args:
        num_classes: C.
        top: k, 1 <= k < C.
    Raises:
        InvalidValue: k out of range.
    Example:
        >>> codec = Sparse(14_000, top=64)
        >>> codec.record_bytes
        312
    """

    num_classes: int
    top: int
    name: ClassVar[str] = "sparse"
    keeps_top1: ClassVar[bool] = True
    is_dense: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 1 <= self.top < self.num_classes:
            raise InvalidValue(
                "The codec sparse keeps some of the classes.",
                received=f"top {self.top} of {self.num_classes}",
                expected=f"1 <= top < {self.num_classes}",
            )

    @property
    def record_bytes(self) -> int:
        return self.top * (id_bytes(self.num_classes) + 2) + 8 * len(NODES)

    def parameters(self) -> dict[str, Any]:
        return {"top": self.top}

    def arrays(self) -> dict[str, Tensor]:
        return {}

    def encode(self, logits: Tensor) -> Tensor:
        shifted = max_shifted(logits, num_classes=self.num_classes, codec=self.name)
        top = shifted.topk(self.top, dim=1)
        tail = shifted.scatter(1, top.indices, -torch.inf)
        largest = tail.amax(dim=1, keepdim=True)
        tail -= largest
        values, slopes = [], []
        for weights, beta in zip(_weights_at_nodes(tail, top.indices), NODES, strict=True):
            mass = weights.sum(dim=1)
            values.append(mass.log() + beta * largest[:, 0])
            slopes.append(torch.linalg.vecdot(weights, shifted) / mass)
        return torch.cat(
            [
                pack_ids(top.indices, num_bytes=id_bytes(self.num_classes)),
                to_bytes(half_gaps(top.values)),
                to_bytes(torch.stack(values, dim=1)),
                to_bytes(torch.stack(slopes, dim=1)),
            ],
            dim=1,
        )

    def decode(self, records: Tensor) -> SparseTargets:
        num_bytes = id_bytes(self.num_classes)
        sizes = [self.top * num_bytes, 2 * self.top, 4 * len(NODES), 4 * len(NODES)]
        ids, logits, values, slopes = torch.split(records, sizes, dim=1)
        tail = TailMass(NODES, from_bytes(values, torch.float32), from_bytes(slopes, torch.float32))
        return SparseTargets(
            unpack_ids(ids, num_bytes=num_bytes),
            from_bytes(logits, torch.float16).to(torch.float32),
            tail,
            self.num_classes,
        )


def _weights_at_nodes(tail: Tensor, top: Tensor) -> Iterator[Tensor]:
    """Yield exp(beta x tail) for each node in turn, 0 for the top classes; good until the next is asked for."""
    yield torch.ones_like(tail).scatter_(1, top, 0.0)
    yield torch.exp(tail * NODES[1])
    weights = torch.exp(tail * NODES[2])
    yield weights
    for _ in NODES[3:]:  # each is twice the one before
        yield weights.square_()
