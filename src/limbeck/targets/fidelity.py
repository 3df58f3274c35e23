"""How close what is stored comes to what the teacher said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.losses import kl_divergence, tempered_log_softmax
from limbeck.targets.codec import Codec, encode

TEMPERATURES = (1.0, 2.0, 4.0, 8.0, 20.0)
_CHUNK_BYTES = 32 << 20  # of logits that are compared at once


@dataclass(frozen=True)
class Divergence:
    """KL(teacher || stored) in nats at one temperature, over the measured samples."""

    temperature: float
    mean: float
    percentile99: float
    largest: float


@dataclass(frozen=True)
class Fidelity:
    """What a codec was measured to keep."""

    num_samples: int
    top1_agreement: float  # share of samples whose largest logit is the same class
    bytes_per_sample: int
    divergences: list[Divergence]

    def largest_mean(self, temperatures: Sequence[float]) -> float:
        """Return the largest of the mean divergences at ``temperatures``, in nats."""
        means = {divergence.temperature: divergence.mean for divergence in self.divergences}
        return max(means[float(temperature)] for temperature in temperatures)


def measure_fidelity(codec: Codec, logits: Tensor, *, temperatures: Sequence[float] = TEMPERATURES) -> Fidelity:
    r"""Encode, decode and compare.

    .. math:: KL_T = \sum_c p_c \log(p_c / q_c), \qquad p = softmax(z / T), \; q = softmax(\hat z(T) / T)

    Args:
        codec: what is measured.
        logits: of the teacher, shape (n, classes), n >= 1.
        temperatures: each > 0.
    Example:
        >>> from limbeck.targets import Dense16
        >>> fidelity = measure_fidelity(Dense16(3), torch.tensor([[1.0, 2.0, 4.0]]))
        >>> fidelity.top1_agreement, fidelity.largest_mean([1, 4]) < 1e-6
        (1.0, True)
    """
    size = max(1, _CHUNK_BYTES // (4 * logits.shape[1]))
    parts: list[Tensor] = []
    agreed = 0
    for rows in torch.split(logits, size):
        targets = codec.decode(encode(codec, rows))
        agreed += int((targets.logits_at(1.0).argmax(dim=1) == rows.argmax(dim=1)).sum())
        parts.append(torch.stack([_kl(rows, targets.logits_at(t), t) for t in temperatures]).double().cpu())
    measured = torch.cat(parts, dim=1)  # (temperatures, n)
    return Fidelity(
        num_samples=len(logits),
        top1_agreement=agreed / len(logits),
        bytes_per_sample=codec.record_bytes,
        divergences=[
            Divergence(float(t), float(row.mean()), float(row.quantile(0.99)), float(row.max()))
            for t, row in zip(temperatures, measured, strict=True)
        ],
    )


def _kl(teacher: Tensor, stored: Tensor, temperature: float) -> Tensor:
    log_p = tempered_log_softmax(teacher.to(stored.device), temperature=temperature)
    return kl_divergence(log_p, tempered_log_softmax(stored, temperature=temperature)).clamp(min=0.0)
