"""Soft targets that keep less than all logits, and give dense ones when asked."""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.errors import require_positive
from limbeck.targets.soft_targets import SoftTargets


@dataclass(frozen=True, eq=False)
class TailMass:
    r"""The log-mass of all classes that are not among the top ones, at any temperature.

    .. math:: t(\beta) = \log \sum_{c \notin top} \exp(\beta z_c), \qquad \beta = 1 / T

    Kept with its slope at a few nodes; a cubic between them (Hermite), a straight line beyond the last. t is smooth
    and convex in beta, exact at the nodes.

    Args:
        nodes: values of beta, ascending from 0.
        values: t at the nodes, float32, shape (batch, nodes).
        slopes: dt/dbeta, the tail's mean logit at the nodes, float32, shape (batch, nodes).
    """

    nodes: tuple[float, ...]
    values: Tensor
    slopes: Tensor

    def at(self, temperature: float) -> Tensor:
        """Return t(1 / temperature) in nats, float32, shape (batch,)."""
        beta = 1.0 / temperature
        if beta >= self.nodes[-1]:
            return self.values[:, -1] + self.slopes[:, -1] * (beta - self.nodes[-1])
        right = bisect.bisect_right(self.nodes, beta)
        width = self.nodes[right] - self.nodes[right - 1]
        x = (beta - self.nodes[right - 1]) / width
        left_value, right_value = (1 + 2 * x) * (1 - x) ** 2, x * x * (3 - 2 * x)
        left_slope, right_slope = width * x * (1 - x) ** 2, width * x * x * (x - 1)
        return (
            left_value * self.values[:, right - 1]
            + right_value * self.values[:, right]
            + left_slope * self.slopes[:, right - 1]
            + right_slope * self.slopes[:, right]
        )


@dataclass(frozen=True, eq=False)
class SparseTargets(SoftTargets):
    r"""The top classes' logits, and the mass of the others, which share it equally.

    .. math:: z_c(T) = T (t(1/T) - \log(C - k)) \quad\text{outside the top k}

    Args:
        ids: the top classes, int64, shape (batch, k), k < num_classes.
        logits: theirs, less the row's largest, float32, shape (batch, k).
        tail: of the other classes, from the same zero.
        num_classes: C.
    """

    ids: Tensor
    logits: Tensor
    tail: TailMass
    num_classes: int

    def logits_at(self, temperature: float) -> Tensor:
        """Return float32 logits (batch, classes); they differ from one temperature to the next."""
        require_positive("temperature", temperature)
        others = self.num_classes - self.ids.shape[1]
        shared = temperature * (self.tail.at(temperature) - math.log(others))
        return shared[:, None].repeat(1, self.num_classes).scatter_(1, self.ids, self.logits)

    def log_prob_parts(self, temperature: float) -> tuple[Tensor, Tensor]:
        """Return the log-probabilities of the top classes (batch, k), and of all the others together (batch,), at T."""
        require_positive("temperature", temperature)
        top, tail = self.logits / temperature, self.tail.at(temperature)
        total = torch.logaddexp(top.logsumexp(dim=1), tail)
        return top - total[:, None], tail - total


@dataclass(frozen=True, eq=False)
class LowRankTargets(SoftTargets):
    r"""Logits as an affine image of a few coefficients, and exact corrections for a few classes.

    .. math:: z = mean + a\,B + \sum_j r_j e_{c_j}

    Args:
        coefficients: a, float32, shape (batch, r).
        basis: B, float32, shape (r, classes), shared by the whole store.
        mean: float32, shape (classes,), shared.
        ids: c_j, the classes that are corrected, int64, shape (batch, m); m may be 0. No class twice.
        residuals: r_j, float32, shape (batch, m).
    """

    coefficients: Tensor
    basis: Tensor
    mean: Tensor
    ids: Tensor
    residuals: Tensor

    def logits_at(self, temperature: float) -> Tensor:
        """Return float32 logits (batch, classes), the same at every temperature."""
        logits = torch.addmm(self.mean, self.coefficients, self.basis)
        return logits.scatter_add_(1, self.ids, self.residuals) if self.ids.shape[1] else logits
