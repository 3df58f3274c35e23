"""The minimum of a combination: by its fixed point, or by descending the gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.pooling.combination import Combination
from limbeck.pooling.newton import solve_dual

_PLAIN_ROUNDS = 10  # of the fixed point, before its steps are extrapolated: most images need fewer
_PATIENCE = 40  # rounds of the fixed point, after which Newton's method is asked once
_FLOOR = -690.0  # of log q, relative to the largest: exp() of it is still a normal number
_LONGEST = 20.0  # nats that one step moves a logit
_ROUNDING = 1e-13  # relative, by which F may seem to rise


def find_fixed_point(problem: Combination, *, tolerance: float, max_iterations: int) -> tuple[Tensor, Tensor]:
    """Repeat the update until F is within the tolerance; extrapolate (SQUAREM) where that takes long.

    The few images that take very long go on from where Newton's method finds the minimum of the dual, if that is
    nearer.

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
        if iteration == _PATIENCE:
            q = _nearer(problem, q, solve_dual(problem))
            pulls = problem.pulls(q)[1]
        first = problem.step(q, pulls)
        q = first if iteration <= _PLAIN_ROUNDS else _extrapolated(problem, q, first)
    return found, excess


def _nearer(problem: Combination, q: Tensor, other: Tensor) -> Tensor:
    """Return of each row the q with the lower bound of its excess; NaN is never lower."""
    stepped = problem.step(other)
    bounds = [problem.excess(given, problem.pulls(given)[1]) for given in (q, stepped)]
    return torch.where((bounds[1] < bounds[0]).unsqueeze(1), stepped, q)


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
