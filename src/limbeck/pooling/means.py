"""Means of distributions: arithmetic and geometric, with a weight per teacher."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.errors import InvalidValue, ShapeMismatch


def arithmetic_mean(log_probs: Sequence[Tensor] | Tensor, *, weights: Sequence[float] | Tensor | None = None) -> Tensor:
    r"""Log of the weighted arithmetic mean of distributions, computed in log space.

    .. math:: \log q_c = \log \frac{\sum_k \mu_k q_{kc}}{\sum_k \mu_k}

    Pool at the temperature at which the result is used: the mean of tempered distributions is not the tempered mean.

    Args:
        log_probs: log q_k of each member at that temperature: a sequence of tensors (..., classes), or one tensor
            (members, ..., classes); any float dtype; -inf is a class of probability 0.
        weights: mu_k, one per member, not negative, not all 0, on any scale; equal by default. A member of weight 0
            takes no part, whatever it holds.
    Returns:
        log q in nats, shape (..., classes), float32 (float64 where a member is float64).
    Raises:
        InvalidValue: no members; members that are not floating-point or lie on different devices; weights that are
            negative, not finite, all 0, or not one per member.
        ShapeMismatch: two members of different shapes.
    Example:
        >>> from torch import tensor
        >>> first, second = tensor([[0.9, 0.1]]).log(), tensor([[0.5, 0.5]]).log()
        >>> arithmetic_mean([first, second], weights=[3.0, 1.0]).exp()
        tensor([[0.8000, 0.2000]])

    References:
        Wu, Chiu, Wu 2019, "Multi-teacher knowledge distillation for compressed video action recognition", ICASSP;
        Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 2.
    """
    members, shares = _members_and_shares(log_probs, weights, "log_probs")
    weighted = torch.stack([member + math.log(share) for member, share in zip(members, shares, strict=True)])
    excluded = (weighted == -torch.inf).all(dim=0)  # by all members: logsumexp would give it a NaN gradient
    return torch.logsumexp(weighted.masked_fill(excluded, 0.0), dim=0).masked_fill(excluded, -torch.inf)


def geometric_mean(logits: Sequence[Tensor] | Tensor, *, weights: Sequence[float] | Tensor | None = None) -> Tensor:
    r"""Logits of the normalised weighted geometric mean of distributions: the weighted mean of their logits.

    .. math:: \log q_c = \frac{\sum_k \mu_k \log q_{kc}}{\sum_k \mu_k} - \log Z, \qquad q_k = \mathrm{softmax}(z_k)

    The result depends on the members' distributions alone: a constant added to one member's logits changes nothing. It
    serves at any temperature, since softmax(log q / T) is the geometric mean of softmax(z_k / T).

    Args:
        logits: z_k of each member at temperature 1: a sequence of tensors (..., classes), or one tensor
            (members, ..., classes); any float dtype. A class at -inf in a member of positive weight is excluded.
        weights: mu_k, one per member, not negative, not all 0, on any scale; equal by default. A member of weight 0
            takes no part, whatever it holds.
    Returns:
        Logits that are also log q in nats (their softmax sums to 1 as it stands), shape (..., classes), float32
        (float64 where a member is float64).
    Raises:
        InvalidValue: no members; members that are not floating-point or lie on different devices; weights that are
            negative, not finite, all 0, or not one per member.
        ShapeMismatch: two members of different shapes.
    Example:
        >>> from torch import tensor
        >>> geometric_mean([tensor([[2.0, 0.0]]), tensor([[4.0, 4.0]])]).exp()
        tensor([[0.7311, 0.2689]])

    References:
        Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 2; Hinton 2002, "Training products of experts".
    """
    members, shares = _members_and_shares(logits, weights, "logits")
    mean = torch.zeros_like(members[0])
    for member, share in zip(members, shares, strict=True):
        mean = mean + share * torch.log_softmax(member, dim=-1)
    return torch.log_softmax(mean, dim=-1)


def mean_of_labels(logits: Sequence[Tensor] | Tensor, *, weights: Sequence[float] | Tensor | None = None) -> Tensor:
    r"""Logits of the weighted arithmetic mean of independent labels' probabilities, computed in log space.

    .. math:: z = \log \frac{p}{1 - p}, \qquad p = \frac{\sum_k \mu_k \, \sigma(z_k)}{\sum_k \mu_k}

    Args:
        logits: z_k of each member, over the temperature at which the result is used: a sequence of tensors
            (..., labels), or one tensor (members, ..., labels).
        weights: mu_k, as :func:`arithmetic_mean` takes them.
    Returns:
        z, shape (..., labels), float32 (float64 where a member is float64).
    Raises:
        InvalidValue, ShapeMismatch: as :func:`arithmetic_mean`.
    Example:
        >>> from torch import tensor
        >>> mean_of_labels([tensor([0.9]).logit(), tensor([0.5]).logit()]).sigmoid()
        tensor([0.7000])
    """
    members, shares = _members_and_shares(logits, weights, "logits")
    parts = [
        torch.stack(
            [F.logsigmoid(sign * member) + math.log(share) for member, share in zip(members, shares, strict=True)]
        )
        for sign in (1, -1)
    ]
    return torch.logsumexp(parts[0], dim=0) - torch.logsumexp(parts[1], dim=0)


def _members_and_shares(
    given: Sequence[Tensor] | Tensor, weights: Sequence[float] | Tensor | None, name: str
) -> tuple[list[Tensor], list[float]]:
    """Return the members of positive weight in one dtype, and their weights scaled to sum to 1."""
    members = list(given.unbind(0)) if isinstance(given, Tensor) and given.ndim > 0 else list(given)
    _require_alike(members, name)
    values = [1.0] * len(members) if weights is None else [float(weight) for weight in weights]
    _require_weights(values, len(members))
    dtype = torch.float64 if any(member.dtype == torch.float64 for member in members) else torch.float32
    total = math.fsum(values)
    kept = [(member.to(dtype), value / total) for member, value in zip(members, values, strict=True) if value > 0]
    return [member for member, _ in kept], [share for _, share in kept]


def _require_alike(members: list[Tensor], name: str) -> None:
    if not members:
        raise InvalidValue(f"{name} holds no members.", received="none", expected="at least one")
    first = members[0]
    for index, member in enumerate(members):
        if member.shape != first.shape or member.ndim == 0:
            raise ShapeMismatch(
                f"Members 0 and {index} of {name} have different shapes."
                if index
                else f"{name} needs a last axis of classes.",
                received=f"{tuple(first.shape)} and {tuple(member.shape)}" if index else tuple(first.shape),
                expected="one shape (..., classes)",
                remedy="pool teachers of the same classes only",
            )
        if not member.is_floating_point():
            raise InvalidValue(f"Member {index} of {name} must hold floating-point numbers.", received=member.dtype)
        if member.device != first.device:
            raise InvalidValue(
                f"Members 0 and {index} of {name} are on different devices.",
                received=f"{first.device} and {member.device}",
                expected="one device",
            )


def _require_weights(values: list[float], count: int) -> None:
    if len(values) != count:
        raise InvalidValue(
            "There must be one weight per member.", received=f"{len(values)} weights", expected=f"{count} weights"
        )
    if not all(math.isfinite(value) and value >= 0 for value in values) or not any(values):
        raise InvalidValue(
            "weights must be finite, not negative and not all 0.",
            received=values,
            expected=f"{count} numbers >= 0, at least one of them above 0",
        )
