"""Offsets that bring the mean of predicted probabilities to given shares: a convex problem, by Newton's method."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from limbeck.metrics.rows import row_chunks

_LINE_POINTS = 80  # halvings and doublings on one line
_CG_STEPS = 100
_HELD_PROBS = 2**24  # 128 MiB; more are computed anew for each product


def match_shares(
    scores: Tensor,
    shares: Tensor,
    *,
    temperature: float = 1.0,
    start: Tensor | None = None,
    tolerance: float = 1e-9,
    max_rounds: int = 100,
) -> tuple[Tensor, float]:
    r"""Find b such that the mean of softmax((s + b) / T) over the rows is ``shares``.

    .. math:: F(b) = \frac T n \sum_i \log \sum_g e^{(s_{ig} + b_g) / T} - \sum_g \pi_g b_g

    is convex and least there. Each round takes a step b += T log(share / mean), which is Sinkhorn's and never
    overshoots, then one of Newton's with a search on its line, which crosses the plateaus of confident networks where
    the first one creeps.

    Args:
        scores: s, shape (rows, groups), any float dtype; reduced in float64; -inf is a group ruled out.
        shares: pi, float64, shape (groups,), above 0, of sum 1.
        temperature: T > 0.
        start: b to begin with; 0 by default.
        tolerance: largest relative gap between a mean and its share.
        max_rounds: rounds after which the best so far must do.
    Returns:
        b, float64, shape (groups,), up to a constant, and the largest |log(mean / share)| that it leaves: above the
        tolerance where no b does better.
    """
    offsets = torch.zeros_like(shares) if start is None else start
    goal = shares.log()
    log_mean = log_mean_probs(scores, offsets, temperature)
    for _ in range(max_rounds):
        if _gap(goal, log_mean) <= tolerance:
            break
        offsets = offsets + temperature * (goal - log_mean)
        log_mean = log_mean_probs(scores, offsets, temperature)
        gap = _gap(goal, log_mean)
        if not tolerance < gap < math.inf:
            break
        direction = _newton_direction(scores, offsets, shares - log_mean.exp(), temperature, accuracy=min(0.1, gap))
        offsets, log_mean = _search_line(scores, offsets, direction, shares, log_mean, temperature)
    return offsets, _gap(goal, log_mean)


def log_mean_probs(scores: Tensor, offsets: Tensor, temperature: float) -> Tensor:
    """Return the log of the mean of softmax((s + b) / T) over the rows, float64, shape (groups,)."""
    parts = [_log_probs(scores[rows], offsets, temperature).logsumexp(dim=0) for rows in row_chunks(scores)]
    return torch.stack(parts).logsumexp(dim=0) - math.log(len(scores))


def _log_probs(scores: Tensor, offsets: Tensor, temperature: float) -> Tensor:
    return torch.log_softmax((scores.double() + offsets) / temperature, dim=1)


def _gap(goal: Tensor, log_mean: Tensor) -> float:
    return float((goal - log_mean).abs().max())


def _search_line(
    scores: Tensor, offsets: Tensor, direction: Tensor, shares: Tensor, log_mean: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Return the point on the line where F's slope has fallen to a tenth, and the log mean there.

    F is convex, so that the slope only grows along the line, and its zero can be bracketed.
    """
    slope_here = float(((log_mean.exp() - shares) * direction).sum())
    if not slope_here < 0:
        return offsets, log_mean
    low, high, length = 0.0, math.inf, 1.0
    for _ in range(_LINE_POINTS):
        there = offsets + length * direction
        log_mean_there = log_mean_probs(scores, there, temperature)
        slope = float(((log_mean_there.exp() - shares) * direction).sum())
        if abs(slope) <= 0.1 * abs(slope_here):
            return there, log_mean_there
        if slope < 0:
            low = length
        else:
            high = length
        length = 2 * length if high == math.inf else (low + high) / 2
    return offsets, log_mean


def _newton_direction(
    scores: Tensor, offsets: Tensor, descent: Tensor, temperature: float, *, accuracy: float
) -> Tensor:
    """Solve H x = -gradient by conjugate gradients with H's diagonal as preconditioner; H itself is never held."""
    held = list(_probs(scores, offsets, temperature)) if scores.numel() <= _HELD_PROBS else None
    scale = 1 / (len(scores) * temperature)

    def chunks() -> Iterable[Tensor]:
        return _probs(scores, offsets, temperature) if held is None else held

    totals = torch.stack([probs.sum(dim=0) for probs in chunks()]).sum(dim=0)
    squares = torch.stack([probs.square().sum(dim=0) for probs in chunks()]).sum(dim=0)
    curvature = scale * (totals - squares)
    # A group that no row is unsure of has no curvature in floating point; a step across all scores is long enough.
    curvature = curvature.clamp(min=float(descent.abs().max()) / _span(scores, offsets, temperature))
    solution, residual = torch.zeros_like(descent), descent
    scaled = residual / curvature
    direction, size = scaled, float((residual * scaled).sum())
    target = accuracy**2 * size
    for _ in range(min(_CG_STEPS, len(descent))):
        image = totals * direction  # H v is the mean over rows of (diag(p) - p p') v / T
        for probs in chunks():
            image = image - probs.T @ (probs @ direction)
        image = scale * image
        bend = float((direction * image).sum())
        if not 0 < bend < math.inf:  # flat in floating point
            break
        solution = solution + (size / bend) * direction
        residual = residual - (size / bend) * image
        scaled = residual / curvature
        before, size = size, float((residual * scaled).sum())
        if size <= target:
            break
        direction = scaled + (size / before) * direction
    return solution if solution.any() else descent


def _span(scores: Tensor, offsets: Tensor, temperature: float) -> float:
    """Return a length that no plateau of the softmax exceeds: from the least score to the largest."""
    finite = scores[torch.isfinite(scores)]
    return float(finite.max()) - float(finite.min()) + float(offsets.max() - offsets.min()) + temperature


def _probs(scores: Tensor, offsets: Tensor, temperature: float) -> Iterator[Tensor]:
    """Yield softmax((s + b) / T), float64, (some rows, groups) at a time."""
    for rows in row_chunks(scores):
        yield _log_probs(scores[rows], offsets, temperature).exp()
