r"""Newton's method for the images whose fixed point is reached slowly: those of near certain contradictions.

The dual of the minimisation has one unknown t_k for each active specialist:

.. math:: \max_t \sum_P a_P \log y_P + \sum_k d_k \log t_k, \qquad y_P = 1 + |A| - \sum_{k:\, P \subset D_k} t_k

where P are groups of classes that the same active specialists know, a_P what was said of them together, and
:math:`q_P = a_P / y_P` at the maximum. It is concave, a barrier that keeps t and y above 0. Weights a and d of very
different sizes make it steep in corners; so it is solved for weights raised by a constant, which falls in stages.
"""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.pooling.combination import Combination

_SHRINK = 0.2  # of the constant, from stage to stage
_LAST = 1e-13  # raises F by about as much, times the logarithms of q
_STEPS = 4  # in a stage
_REACH = 0.9  # of the way to where t or y would be 0
_TINY = 1e-300


def solve_dual(problem: Combination) -> Tensor:
    """Return q, shape (rows, classes), near the minimum of F; rows that fail hold NaN or are off.

    There must be a row and a specialist.
    """
    active = (problem.dustbins > 0).to(problem.said.dtype)
    group, said, members = _group(problem, active)
    is_group = said > 0
    even = is_group / is_group.sum(dim=1, keepdim=True)
    multipliers = active * problem.total / (2 * active.sum(dim=1, keepdim=True).clamp(min=1))
    raised = 1.0
    while True:
        weights, dustbins = said + raised * even, (problem.dustbins + raised) * active
        for _ in range(_STEPS):
            multipliers = _step(problem.total, weights, dustbins, active, members, multipliers)
        if raised <= _LAST:
            break
        raised *= _SHRINK
    masses = weights / _slack(problem.total, members, multipliers)
    return masses.gather(1, group) * (problem.said / said.gather(1, group))


def _group(problem: Combination, active: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Group the classes of each row by the active specialists that do not know them.

    Returns:
        The group of each class, shape (rows, classes); a by group, (rows, groups), 0 where a row has fewer groups; and
        1 where a group is in the dustbin of an active specialist, (rows, groups, specialists).
    """
    num_rows, num_classes = problem.said.shape
    generator = torch.Generator().manual_seed(0)
    marks = torch.rand(active.shape[1], generator=generator, dtype=torch.float64).to(active)  # sums tell sets apart
    keys, order = ((active * marks) @ problem.outside).sort(dim=1, stable=True)
    is_next = torch.zeros_like(order)
    is_next[:, 1:] = (keys[:, 1:] - keys[:, :-1]) > 1e-12
    group = torch.empty_like(order).scatter_(1, order, is_next.cumsum(dim=1))
    num_groups = int(group.max()) + 1
    said = problem.said.new_zeros(num_rows, num_groups).scatter_add_(1, group, problem.said)
    classes = torch.arange(num_classes, device=order.device).expand(num_rows, num_classes)
    example = torch.zeros_like(said, dtype=torch.int64).scatter_(1, group, classes)  # any class of the group
    members = problem.outside.T[example] * active.unsqueeze(1) * (said > 0).unsqueeze(2)
    return group, said, members


def _slack(total: Tensor, members: Tensor, multipliers: Tensor) -> Tensor:
    return total - (members @ multipliers.unsqueeze(2)).squeeze(2)


def _step(
    total: Tensor, weights: Tensor, dustbins: Tensor, active: Tensor, members: Tensor, multipliers: Tensor
) -> Tensor:
    """Return t after one step of Newton's, cut short before t or y reaches 0."""
    slack = _slack(total, members, multipliers)
    pulls = dustbins / multipliers.clamp(min=_TINY)
    gradient = pulls - ((weights / slack).unsqueeze(1) @ members).squeeze(1)
    curvature = members.transpose(1, 2) @ ((weights / slack.square()).unsqueeze(2) * members)
    own = torch.where(active > 0, pulls / multipliers.clamp(min=_TINY), 1.0)
    curvature = curvature + torch.diag_embed(own)
    scale = curvature.diagonal(dim1=1, dim2=2).rsqrt()
    scaled = curvature * scale.unsqueeze(2) * scale.unsqueeze(1)
    solution: Tensor = torch.linalg.solve_ex(scaled, (gradient * scale).unsqueeze(2))[0]
    step = solution.squeeze(2) * scale
    fall = (members @ step.unsqueeze(2)).squeeze(2)
    reach = torch.minimum(
        torch.where(step < 0, -multipliers / step, torch.inf).amin(dim=1),
        torch.where(fall > 0, slack / fall, torch.inf).amin(dim=1),
    )
    return multipliers + (_REACH * reach).clamp(max=1.0).unsqueeze(1) * step
