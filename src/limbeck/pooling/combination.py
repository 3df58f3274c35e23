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

_PLAIN_ROUNDS = 10  # of the fixed point, before its steps are extrapolated: most images need fewer
_BARRIER = 1e-13  # kept between r T and 1 + |A|, relative
_FLOOR = -690.0  # of log q, relative to the largest: exp() of it is still a normal number
_LONGEST = 20.0  # nats that one step moves a logit
_ROUNDING = 1e-13  # relative, by which F may seem to rise


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


def find_fixed_point(problem: Combination, *, tolerance: float, max_iterations: int) -> tuple[Tensor, Tensor]:
    """Repeat the update until F is within the tolerance; extrapolate (SQUAREM) where that takes long.

    Starts at a over its sum. Classes of the same specialists then keep their proportions, which are the minimum's; so
    one active specialist takes one step, and what is left to find are the masses between sets.

    Returns:
        q, shape (rows, classes), and the bound of its excess, shape (rows,): above the tolerance where it was missed.
    """
    found = torch.empty_like(problem.said)
    excess = problem.said.new_empty(len(found))
    where = torch.arange(len(found), device=found.device)
    q = problem.step(problem.said)
    for iteration in range(1, max_iterations + 1):
        pulls = problem.pulls(q)[1]
        bound = problem.excess(q, pulls)
        is_open = bound > tolerance
        if iteration == max_iterations or not bool(is_open.all()):
            found[where], excess[where] = q, bound
            if not bool(is_open.any()):
                break
            problem, where, q, pulls = problem.rows(is_open), where[is_open], q[is_open], pulls[is_open]
        first = problem.step(q, pulls)
        q = first if iteration <= _PLAIN_ROUNDS else _extrapolated(problem, q, first)
    return found, excess


def _extrapolated(problem: Combination, q: Tensor, first: Tensor) -> Tensor:
    """Continue two steps along their curve in log q, then step once; the second step itself where that lowers F more.

    SQUAREM's third scheme: Varadhan, Roland 2008.
    """
    second = problem.step(first)
    log_q, log_first, log_second = q.log(), first.log(), second.log()
    change = log_first - log_q
    bend = log_second - log_first - change
    length = change.norm(dim=1, keepdim=True) / bend.norm(dim=1, keepdim=True).clamp_(min=1e-300)
    length.clamp_(1.0, 1e12)
    reached = log_q + 2 * length * change + length.square() * bend
    reached = (reached - reached.amax(dim=1, keepdim=True)).clamp_(min=_FLOOR)
    third = problem.step(reached.exp())
    before = problem.objective(log_second, problem.pulls(second)[0])
    after = problem.objective(third.log(), problem.pulls(third)[0])
    return torch.where((after <= before).unsqueeze(1), third, second)


def descend(problem: Combination, *, tolerance: float, max_iterations: int) -> tuple[Tensor, Tensor]:
    """Descend the gradient of F in z, q = softmax(z), until F is within the tolerance.

    Each logit is scaled by the root of the q that one fixed-point step gives its class, since a logit's curvature is
    about its q. Steps are Barzilai and Borwein's, the long and the short in turns; one that would raise F is not taken
    and tried again at a quarter of its length. Starts at a over its sum.

    Returns:
        As :func:`find_fixed_point`.
    """
    found = torch.empty_like(problem.said)
    excess = problem.said.new_empty(len(found))
    where = torch.arange(len(found), device=found.device)
    scale = problem.step(problem.said)
    z = problem.said.log()
    gradient, height, bound = _look(problem, z)
    length = torch.ones_like(problem.total)
    for iteration in range(1, max_iterations + 1):
        is_open = bound > tolerance
        if iteration == max_iterations or not bool(is_open.all()):
            found[where], excess[where] = torch.softmax(z, dim=1), bound
            if not bool(is_open.any()):
                break
            problem, where, scale, z = problem.rows(is_open), where[is_open], scale[is_open], z[is_open]
            gradient, height, bound, length = (x[is_open] for x in (gradient, height, bound, length))
        step = (length * gradient / scale).clamp_(-_LONGEST, _LONGEST)
        tried = z - step
        tried = (tried - tried.amax(dim=1, keepdim=True)).clamp_(min=_FLOOR)
        tried_gradient, tried_height, tried_bound = _look(problem, tried)
        rises = (tried_height > height + _ROUNDING * problem.total.squeeze(1)).unsqueeze(1)
        moved, turned = tried - z, tried_gradient - gradient
        along = (moved * turned).sum(dim=1, keepdim=True)
        if iteration % 2:
            fitting = (moved.square() * scale).sum(dim=1, keepdim=True) / along
        else:
            fitting = along / (turned.square() / scale).sum(dim=1, keepdim=True)
        fitting = torch.where(along > 0, fitting, 4 * length).clamp_(1e-3, 1e4)
        length = torch.where(rises, length / 4, fitting)
        z, gradient = torch.where(rises, z, tried), torch.where(rises, gradient, tried_gradient)
        kept = rises.squeeze(1)
        height, bound = torch.where(kept, height, tried_height), torch.where(kept, bound, tried_bound)
    return found, excess


def _look(problem: Combination, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradient of F in z, F, and the bound of its excess."""
    log_q = torch.log_softmax(z, dim=1)
    q = log_q.exp()
    shares, pulls = problem.pulls(q)
    gradient = (problem.total - pulls).mul_(q).sub_(problem.said)
    return gradient, problem.objective(log_q, shares), problem.excess(q, pulls)
