"""The contract of soft targets, and the dense ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from limbeck.errors import InvalidValue, ShapeMismatch


class SoftTargets(ABC):
    """A teacher's outputs for a batch, valid at any temperature.

    Logits are the common currency: whatever a teacher keeps, it can give logits whose softmax at T is its
    distribution at T. So one loss serves a single network, pooled experts and a black box alike.
    """

    @abstractmethod
    def logits_at(self, temperature: float) -> Tensor:
        r"""Return z, shape (batch, classes), with softmax(z / T) = the teacher's distribution at T; without gradient.

        Args:
            temperature: T > 0, dimensionless.
        """

    def members(self) -> tuple[tuple[float, SoftTargets], ...]:
        """Return what each of several teachers says, with its share; the shares sum to 1. One teacher has all of it."""
        return ((1.0, self),)


@dataclass(frozen=True, eq=False)
class DenseTargets(SoftTargets):
    """All logits of one teacher.

    Args:
        logits: shape (batch, classes), or (batch, time, classes) of positions, any float dtype. They are the same at
            every temperature.
    Example:
        >>> import torch
        >>> DenseTargets(torch.tensor([[0.0, 2.0]])).logits_at(4.0)
        tensor([[0., 2.]])
    """

    logits: Tensor

    def __post_init__(self) -> None:
        if self.logits.ndim not in (2, 3):
            raise ShapeMismatch(
                "Soft targets are a matrix of logits.",
                received=tuple(self.logits.shape),
                expected="(batch, classes), or (batch, time, classes)",
            )

    def logits_at(self, temperature: float) -> Tensor:
        """Return the logits themselves."""
        return self.logits

    @staticmethod
    def from_probs(probs: Tensor) -> DenseTargets:
        r"""Return the targets of a black box that gives probabilities at T = 1.

        .. math:: z = \log p

        which are the logits up to a constant per row, so every temperature is reached. A probability of 0 is kept as
        -inf.

        Args:
            probs: shape (batch, classes), each row sums to 1 within 1e-3.
        Raises:
            InvalidValue: a negative probability, or a row that does not sum to 1.
        Example:
            >>> import torch
            >>> DenseTargets.from_probs(torch.tensor([[0.5, 0.5]])).logits_at(1.0)
            tensor([[-0.6931, -0.6931]])
        """
        sums = probs.sum(dim=-1)
        if bool((probs < 0).any()) or bool(((sums - 1).abs() > 1e-3).any()):
            low, high = float(sums.min()), float(sums.max())
            raise InvalidValue(
                "These are not probabilities.",
                received=f"smallest {float(probs.min()):.4g}, row sums {low:.4g} to {high:.4g}",
                expected="values >= 0, each row with sum 1",
                remedy="pass logits to DenseTargets itself",
            )
        return DenseTargets(probs.log())
