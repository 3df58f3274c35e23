"""Tempered log-softmax and entropy."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.losses._arguments import divisor, require_classes, widened


def tempered_log_softmax(logits: Tensor, *, temperature: float | Tensor = 1.0) -> Tensor:
    r"""Log-probabilities of logits at temperature T.

    .. math:: \log q_c = z_c / T - \log \sum_j \exp(z_j / T)

    Args:
        logits: z, shape (..., classes), any float dtype; float16 and bfloat16 are reduced in float32. A class at -inf
            has probability 0.
        temperature: T > 0, dimensionless: one number, or a tensor with one per example, shape (...). A tensor's values
            are checked on the CPU alone, since reading them stalls an accelerator.
    Returns:
        log q in nats, shape (..., classes), float32 (float64 for float64 logits). Differentiable in both arguments.
    Raises:
        InvalidValue: a temperature that is not a finite number above 0, or logits that are not floating-point.
        ShapeMismatch: no class axis, or a temperature that does not broadcast to (...).
    Example:
        >>> from torch import tensor
        >>> tempered_log_softmax(tensor([[2.0, 0.0]]), temperature=2.0).exp()
        tensor([[0.7311, 0.2689]])

    References:
        Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 2, eq. 1.
    """
    require_classes("logits", logits)
    return torch.log_softmax(widened(logits) / divisor(temperature, logits), dim=-1)


def entropy(log_probs: Tensor) -> Tensor:
    r"""Entropy of a distribution given by its log-probabilities.

    .. math:: H(p) = - \sum_c p_c \log p_c, \qquad 0 \log 0 = 0

    Args:
        log_probs: log p, shape (..., classes), any float dtype; -inf is a class of probability 0.
    Returns:
        Entropy in nats, between 0 and log(classes), shape (...), float32 (float64 for float64).
    Raises:
        InvalidValue: not floating-point.
        ShapeMismatch: no class axis.
    Example:
        >>> from torch import tensor
        >>> entropy(tensor([[0.5, 0.5], [0.9, 0.1]]).log())
        tensor([0.6931, 0.3251])
    """
    require_classes("log_probs", log_probs)
    log_p = widened(log_probs)
    absent = log_p == -torch.inf
    return -(log_p.exp() * log_p.masked_fill(absent, 0.0)).sum(dim=-1)
