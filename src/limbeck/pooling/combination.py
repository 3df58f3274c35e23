r"""Minimising the sum of divergences of a generalist and its active specialists, for many images at once.

With a_c = p^g_c plus what the active specialists that know class c say of it, d_k what specialist k says of its
dustbin, D_k the classes outside its set and s_k = q(D_k), the sum is, up to a constant,

.. math:: F(q) = -\sum_c a_c \log q_c - \sum_k d_k \log s_k, \qquad \sum_c a_c + \sum_k d_k = 1 + |A|

which is convex in q. At the minimum the derivative of F by each q_c is that of (1 + |A|) times the sum of q:

.. math:: (1 + |A|) \, q_c = a_c + q_c T_c, \qquad T_c = \sum_{k:\, c \in D_k} d_k / s_k

Read as an update this is the fixed point: each specialist's dustbin mass goes to the classes outside its set in
proportion to q. It never raises F: by Jensen's inequality :math:`\log s'_k \ge \sum_{c \in D_k} (q_c / s_k)
\log (q'_c s_k / q_c)`, with equality at q' = q, and the update minimises the bound of F that this gives (it is an
expectation maximisation). The gradient of F in z, q = softmax(z), is :math:`(1 + |A|) q_c - a_c - q_c T_c`: it vanishes
at the same points.

How far F is above its minimum is known without knowing the minimum. The dual problem, whose t_k stand for d_k / s_k,
bounds it from below; so that for any factor r <= 1 with r T_c < 1 + |A|

.. math:: F(q) - F^* \le \sum_c a_c \log \frac{a_c}{q_c \, (1 + |A| - r T_c)} - \log r \sum_k d_k
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_BARRIER = 1e-13  # kept between r T and 1 + |A|, relative


@dataclass(frozen=True, eq=False)
class Combination:
    """One minimisation per row, all in float64.

    Args:
        said: a, shape (rows, classes), above 0.
        dustbins: d, shape (rows, specialists); 0 where a specialist is not active.
        total: 1 + abs(A), shape (rows, 1).
        outside: shape (specialists, classes), 1 where the class is in the specialist's dustbin, else 0.
    """

    said: Tensor
    dustbins: Tensor
    total: Tensor
    outside: Tensor

    def rows(self, chosen: Tensor) -> Combination:
        """Return the minimisations of some rows."""
        return Combination(self.said[chosen], self.dustbins[chosen], self.total[chosen], self.outside)

    def pulls(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Return s, shape (rows, specialists), and T, shape (rows, classes)."""
        shares = q @ self.outside.T
        return shares, (self.dustbins / shares) @ self.outside

    def step(self, q: Tensor, pulls: Tensor | None = None) -> Tensor:
        """Return the fixed point's update of q, which sums to 1 whatever q sums to."""
        pulls = self.pulls(q)[1] if pulls is None else pulls
        return torch.addcmul(self.said, q, pulls).div_(self.total)

    def objective(self, log_q: Tensor, shares: Tensor) -> Tensor:
        """Return F(q) in nats, shape (rows,)."""
        return -(self.said * log_q).sum(dim=1) - torch.xlogy(self.dustbins, shares).sum(dim=1)

    def excess(self, q: Tensor, pulls: Tensor) -> Tensor:
        """Return a bound of F(q) - F* in nats, shape (rows,)."""
        strongest = pulls.amax(dim=1, keepdim=True).clamp_(min=torch.finfo(pulls.dtype).tiny)
        factor = (self.total * (1 - _BARRIER) / strongest).clamp_(max=1.0)
        slack = torch.addcmul(self.total, factor, pulls, value=-1)  # 1 + |A| - r T
        ratio = self.said / slack.mul_(q)
        return (self.said * ratio.log_()).sum(dim=1) - factor.log().squeeze(1) * self.dustbins.sum(dim=1)
