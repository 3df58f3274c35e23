"""Divergences between distributions given by log-probabilities, and the cross-entropy with soft targets."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.losses._arguments import require_pair, widened
from limbeck.losses.softmax import tempered_log_softmax


def kl_divergence(log_probs_p: Tensor, log_probs_q: Tensor) -> Tensor:
    r"""Kullback-Leibler divergence of q from p; zero at agreement. Swap the arguments for the reverse divergence.

    .. math:: KL(p \| q) = \sum_c p_c (\log p_c - \log q_c), \qquad 0 \log 0 = 0

    Args:
        log_probs_p: log p, shape (..., classes), any float dtype; -inf is a class of probability 0. Detach it where p
            is a target.
        log_probs_q: log q, same shape. A class that q excludes and p does not makes the divergence infinite.
    Returns:
        Divergence in nats, shape (...), float32 (float64 where an argument is float64).
    Raises:
        InvalidValue: not floating-point, or on different devices.
        ShapeMismatch: no class axis, or the two shapes differ.
    Example:
        >>> from torch import tensor
        >>> kl_divergence(tensor([[0.75, 0.25]]).log(), tensor([[0.25, 0.75]]).log())
        tensor([0.5493])

    References:
        Kullback, Leibler 1951, "On information and sufficiency".
    """
    require_pair("log_probs_p", log_probs_p, "log_probs_q", log_probs_q)
    log_p, log_q = widened(log_probs_p), widened(log_probs_q)
    absent = log_p == -torch.inf
    difference = log_p.masked_fill(absent, 0.0) - log_q.masked_fill(absent, 0.0)
    return (log_p.exp() * difference).sum(dim=-1)


def js_divergence(log_probs_p: Tensor, log_probs_q: Tensor) -> Tensor:
    r"""Jensen-Shannon divergence: symmetric, zero at agreement, at most log 2.

    .. math:: JS(p, q) = \tfrac12 KL(p \| m) + \tfrac12 KL(q \| m), \qquad m = \tfrac12 (p + q)

    Args:
        log_probs_p: log p, shape (..., classes), any float dtype; -inf is a class of probability 0.
        log_probs_q: log q, same shape.
    Returns:
        Divergence in nats, shape (...), float32 (float64 where an argument is float64).
    Raises:
        InvalidValue: not floating-point, or on different devices.
        ShapeMismatch: no class axis, or the two shapes differ.
    Example:
        >>> from torch import tensor
        >>> js_divergence(tensor([[1.0, 0.0]]).log(), tensor([[0.0, 1.0]]).log())
        tensor([0.6931])

    References:
        Lin 1991, "Divergence measures based on the Shannon entropy".
    """
    require_pair("log_probs_p", log_probs_p, "log_probs_q", log_probs_q)
    log_p, log_q = widened(log_probs_p), widened(log_probs_q)
    return 0.5 * (_kl_from_midpoint(log_p, log_q) + _kl_from_midpoint(log_q, log_p))


def _kl_from_midpoint(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p || (p + q) / 2). log(p / m) = log 2 - log(1 + q / p), which is exactly 0 where q = p."""
    absent = log_p == -torch.inf
    log_ratio = log_q.masked_fill(absent, 0.0) - log_p.masked_fill(absent, 0.0)
    return (log_p.exp() * (math.log(2) - F.softplus(log_ratio, threshold=50.0))).sum(dim=-1)


def soft_cross_entropy(student_logits: Tensor, target_probs: Tensor, *, temperature: float | Tensor = 1.0) -> Tensor:
    r"""Cross-entropy of the student at temperature T with target probabilities; their entropy at agreement, not 0.

    .. math:: \ell = - \sum_c p_c \log q_c, \qquad q = \mathrm{softmax}(z / T), \qquad 0 \log 0 = 0

    There is no factor T². Its gradient in the student is that of ``soft_target_loss`` divided by T².

    Args:
        student_logits: z, shape (..., classes), any float dtype; float16 and bfloat16 are reduced in float32.
        target_probs: p, same shape, rows that sum to 1 (not checked); receives no gradient.
        temperature: T > 0 of the student, dimensionless: one number, or a tensor with one per example, shape (...).
    Returns:
        Loss in nats, shape (...), float32 (float64 where an argument is float64). The caller reduces.
    Raises:
        InvalidValue: a temperature that is not a finite number above 0, not floating-point, or on different devices.
        ShapeMismatch: no class axis, the two shapes differ, or a temperature that does not broadcast to (...).
    Example:
        >>> from torch import tensor
        >>> soft_cross_entropy(tensor([[0.0, 0.0]]), tensor([[0.75, 0.25]]))
        tensor([0.6931])

    References:
        Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 2.
    """
    require_pair("student_logits", student_logits, "target_probs", target_probs)
    probs = widened(target_probs.detach())
    log_q = tempered_log_softmax(student_logits, temperature=temperature)
    return -(probs * log_q.masked_fill(probs == 0, 0.0)).sum(dim=-1)
