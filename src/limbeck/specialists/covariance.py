"""The covariance of a network's predictions over unlabelled samples."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from limbeck.errors import InvalidValue, ShapeMismatch

_SUM_TOLERANCE = 1e-3  # of a row of probabilities in half precision


def prediction_covariance(probabilities: Tensor | Iterable[Tensor]) -> Tensor:
    r"""Covariance of the predicted probabilities of each two classes; needs no labels.

    .. math:: \Sigma_{cd} = \frac 1 n \sum_i (p_{ic} - \bar p_c)(p_{id} - \bar p_d)

    Classes that are predicted together have a covariance above 0. Batches are merged as they come, each about its own
    mean, so that a set of any size takes memory for one batch and two matrices, and the split into batches does not
    matter but for rounding.

    Args:
        probabilities: p, shape (samples, classes), any float dtype, rows of sum 1; or an iterable of such batches, read
            once.
    Returns:
        Sigma, shape (classes, classes), float64, symmetric, on the device of the probabilities (the CPU where it has no
        float64).
    Raises:
        InvalidValue: no samples, or rows that are no probabilities (logits, for example).
        ShapeMismatch: not a matrix, or batches of different classes.
    Example:
        >>> prediction_covariance(torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]))
        tensor([[ 0.0625,  0.0625, -0.1250],
                [ 0.0625,  0.0625, -0.1250],
                [-0.1250, -0.1250,  0.2500]], dtype=torch.float64)

    References:
        Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 5.3; Chan, Golub, LeVeque 1983 (merging covariances).
    """
    count, mean, scatter = 0, torch.empty(0), torch.empty(0)
    for given in [probabilities] if isinstance(probabilities, Tensor) else probabilities:
        batch = _checked(given)
        if not len(batch):
            continue
        own_mean = batch.mean(dim=0)
        centred = batch - own_mean
        own_scatter = centred.T @ centred
        if not count:
            count, mean, scatter = len(batch), own_mean, own_scatter
            continue
        if own_mean.shape != mean.shape:
            raise ShapeMismatch(
                "Two batches of probabilities have different classes.",
                received=f"{len(mean)} and {len(own_mean)} classes",
                expected="one number of classes",
            )
        total = count + len(batch)
        gap = own_mean - mean
        scatter = scatter + own_scatter + torch.outer(gap, gap) * (count * len(batch) / total)
        mean = mean + gap * (len(batch) / total)
        count = total
    if not count:
        raise InvalidValue("There are no predictions.", received="no samples", expected="at least one")
    covariance = scatter / count
    return (covariance + covariance.T) / 2


def _checked(given: Tensor) -> Tensor:
    if given.ndim != 2 or given.shape[1] == 0:
        raise ShapeMismatch(
            "Probabilities must be a matrix.", received=tuple(given.shape), expected="shape (samples, classes)"
        )
    if not given.is_floating_point():
        raise InvalidValue("Probabilities must be floating-point numbers.", received=given.dtype)
    batch = given.detach()
    batch = (batch.cpu() if batch.device.type == "mps" else batch).double()
    bad = ~(((batch.sum(dim=1) - 1).abs() <= _SUM_TOLERANCE) & (batch >= 0).all(dim=1))
    if bool(bad.any()):
        first = int(bad.nonzero()[0])
        raise InvalidValue(
            f"{int(bad.sum())} of {len(bad)} rows are no probabilities.",
            received=f"smallest {float(batch[first].min()):.4g}, sum {float(batch[first].sum()):.4g} in row {first}",
            expected="values >= 0, each row of sum 1",
            remedy="pass softmax(logits)",
        )
    return batch
