"""Losses on hidden features: hints, attention transfer, relations between the examples of a batch."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.errors import ShapeMismatch, require_positive
from limbeck.losses._arguments import require_floating, require_same_device, widened

_LEAST_NORM = 1e-12
_POOLS: list[Callable[..., Tensor]] = [F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d]


def hint_loss(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    r"""Squared hint: mean squared difference of two feature tensors of one shape.

    .. math:: \ell_b = \frac1D \sum_d (f_{bd} - g_{bd})^2

    A mean over the D elements of an example, so that neither its size nor the batch's changes the loss's scale. Bring
    the student's features to the teacher's shape with a learned projection first.

    Args:
        student_features: f, shape (batch, ...), any float dtype; float16 and bfloat16 are reduced in float32.
        teacher_features: g, same shape; receives no gradient.
    Returns:
        Loss in squared features, shape (batch,), float32 (float64 where an argument is). The caller reduces.
    Raises:
        InvalidValue: not floating-point, or on different devices.
        ShapeMismatch: no features, or the two shapes differ.
    Example:
        >>> from torch import tensor
        >>> hint_loss(tensor([[1.0, 3.0]]), tensor([[1.0, 1.0]]))
        tensor([2.])

    References:
        Romero et al. 2015, "FitNets", arXiv:1412.6550, equation 3 (there half the sum).
    """
    _require_features(student_features, teacher_features)
    if student_features.shape != teacher_features.shape:
        raise ShapeMismatch(
            "Features of different shapes cannot be compared element by element.",
            received=f"{tuple(student_features.shape)} and {tuple(teacher_features.shape)}",
            expected="the same shape",
            remedy="bring the student's features to the teacher's shape with a learned projection",
        )
    difference = widened(student_features) - widened(teacher_features.detach())
    return difference.flatten(1).square().mean(dim=1)


def attention_transfer_loss(student_maps: Tensor, teacher_maps: Tensor, *, power: float = 2.0) -> Tensor:
    r"""Attention transfer: where in an image the features are large, whatever their channels.

    .. math:: \ell_b = \left\| \frac{a(f_b)}{\|a(f_b)\|_2} - \frac{a(g_b)}{\|a(g_b)\|_2} \right\|_2^2, \qquad
        a(f)_s = \sum_k |f_{ks}|^p

    Args:
        student_maps: f, shape (batch, channels, *positions) with at least one axis of positions, any float dtype;
            float16 and bfloat16 are reduced in float32.
        teacher_maps: g, with as many axes; channels may differ in number. Where positions do, the finer attention is
            averaged down to the coarser one's. Receives no gradient.
        power: p > 0.
    Returns:
        Loss, dimensionless, in [0, 2], shape (batch,), float32 (float64 where an argument is); 0 where the two look at
        the same places. The caller reduces. (The paper writes the norm, its code the mean of the squares.)
    Raises:
        InvalidValue: not floating-point, on different devices, or a power that is not above 0.
        ShapeMismatch: no positions, other batches, other numbers of axes, or positions of which neither is finer.
    Example:
        >>> from torch import tensor
        >>> attention_transfer_loss(tensor([[[3.0, 0.0]]]), tensor([[[0.0, 1.0], [0.0, 2.0]]]))
        tensor([2.])

    References:
        Zagoruyko, Komodakis 2017, "Paying More Attention to Attention", arXiv:1612.03928, equation 2.
    """
    _require_features(student_maps, teacher_maps)
    require_positive("power", power)
    if student_maps.ndim < 3 or student_maps.ndim != teacher_maps.ndim:
        raise ShapeMismatch(
            "Attention is over positions.",
            received=f"{tuple(student_maps.shape)} and {tuple(teacher_maps.shape)}",
            expected="two tensors (batch, channels, positions, ...) with as many axes",
        )
    own, other = (widened(maps).abs().pow(power).sum(dim=1) for maps in (student_maps, teacher_maps.detach()))
    own, other = _coarser(own, other.shape[1:]), _coarser(other, own.shape[1:])
    if own.shape != other.shape:
        raise ShapeMismatch(
            "Neither of two maps is finer than the other.",
            received=f"positions {tuple(student_maps.shape[2:])} and {tuple(teacher_maps.shape[2:])}",
            expected="positions of which one is at least as fine along every axis",
        )
    own, other = (F.normalize(attention.flatten(1), dim=1, eps=_LEAST_NORM) for attention in (own, other))
    return (own - other).square().sum(dim=1)


def relational_distance_loss(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    r"""Distance-wise relations (RKD-D): which examples of the batch lie how far from each other.

    .. math:: \ell_i = \frac{1}{n - 1} \sum_{j \ne i} h\!\left( \frac{\|f_i - f_j\|}{\mu_f} -
        \frac{\|g_i - g_j\|}{\mu_g} \right), \qquad \mu = \frac{1}{n (n - 1)} \sum_{i \ne j} \|f_i - f_j\|

    with Huber's h(x) = x²/2 up to 1, |x| - 1/2 beyond. The two need not have the same number of features: no projection
    is learned.

    Args:
        student_features: f, shape (batch, ...), flattened; at least two examples; any float dtype; float16 and bfloat16
            are reduced in float32.
        teacher_features: g, shape (batch, ...); receives no gradient.
    Returns:
        Loss, dimensionless, one value for each example against all others, shape (batch,), float32 (float64 where an
        argument is); 0 where all distances are in proportion. The caller reduces.
    Raises:
        InvalidValue: not floating-point, or on different devices.
        ShapeMismatch: fewer than two examples, or batches of different sizes.
    Example:
        >>> from torch import tensor
        >>> relational_distance_loss(tensor([[0.0], [1.0], [2.0]]), tensor([[0.0, 0.0], [0.0, 3.0], [4.0, 3.0]]))
        tensor([0.0156, 0.0156, 0.0312])

    References:
        Park et al. 2019, "Relational Knowledge Distillation", arXiv:1904.05068, equations 5 to 8 (there a sum over
        pairs; weight 25).
    """
    _require_relations(student_features, teacher_features, least=2)
    others = len(student_features) - 1
    own, other = (_relative_distances(f) for f in (student_features, teacher_features.detach()))
    return F.huber_loss(own, other, reduction="none").sum(dim=1) / others


def relational_angle_loss(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    r"""Angle-wise relations (RKD-A): under which angle an example sees two others.

    .. math:: \ell_j = \frac{1}{(n - 1)(n - 2)} \sum_{i \ne k \ne j} h\!\left( \cos \angle f_i f_j f_k -
        \cos \angle g_i g_j g_k \right)

    with Huber's h, and j the vertex. Takes memory for batch³ cosines, twice (0.5 GiB at 400 examples).

    Args:
        student_features: f, shape (batch, ...), flattened; at least three examples; any float dtype; float16 and
            bfloat16 are reduced in float32.
        teacher_features: g, shape (batch, ...); receives no gradient.
    Returns:
        Loss, dimensionless, one value for each vertex, shape (batch,), float32 (float64 where an argument is). The
        caller reduces.
    Raises:
        InvalidValue: not floating-point, or on different devices.
        ShapeMismatch: fewer than three examples, or batches of different sizes.
    Example:
        >>> from torch import tensor
        >>> corner = tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> line = tensor([[0.0], [1.0], [2.0]])
        >>> relational_angle_loss(corner, line)  # cosines 0, 0.71, 0.71 against 1, -1, 1
        tensor([0.5000, 1.2071, 0.0429])

    References:
        Park et al. 2019, "Relational Knowledge Distillation", arXiv:1904.05068, equations 9 to 11 (weight 50).
    """
    _require_relations(student_features, teacher_features, least=3)
    count = len(student_features)
    own, other = (_cosines(f) for f in (student_features, teacher_features.detach()))
    is_triplet = ~torch.eye(count, dtype=torch.bool, device=own.device)  # of i and k; a vertex's own rows are 0 in both
    gaps = F.huber_loss(own, other, reduction="none") * is_triplet
    return gaps.sum(dim=(1, 2)) / ((count - 1) * (count - 2))


def _relative_distances(features: Tensor) -> Tensor:
    rows = widened(features).flatten(1)
    distances = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    mean = distances.sum() / (len(rows) * (len(rows) - 1))
    return distances / mean.clamp(min=_LEAST_NORM)


def _cosines(features: Tensor) -> Tensor:
    """Return cos of the angle at j between i and k, at [j, i, k]."""
    rows = widened(features).flatten(1)
    sights = F.normalize(rows.unsqueeze(0) - rows.unsqueeze(1), dim=-1, eps=_LEAST_NORM)  # [j, i]: from j to i
    return sights @ sights.transpose(1, 2)


def _coarser(attention: Tensor, positions: torch.Size) -> Tensor:
    """Average an attention (batch, *own) down to other positions, where these are at most as fine along every axis."""
    own = attention.shape[1:]
    if own == positions or any(size < other for size, other in zip(own, positions, strict=True)):
        return attention
    if len(positions) > len(_POOLS):
        return attention
    pooled: Tensor = _POOLS[len(positions) - 1](attention.unsqueeze(1), tuple(positions))
    return pooled.squeeze(1)


def _require_features(student: Tensor, teacher: Tensor) -> None:
    for name, features in (("student_features", student), ("teacher_features", teacher)):
        require_floating(name, features)
        if features.ndim < 2 or math.prod(features.shape[1:]) == 0:
            raise ShapeMismatch(f"{name} holds no features.", received=tuple(features.shape), expected="(batch, ...)")
    if len(student) != len(teacher):
        raise ShapeMismatch(
            "Student and teacher have features of different batches.",
            received=f"{len(student)} and {len(teacher)} examples",
            expected="the same examples, in the same order",
        )
    require_same_device("student_features", student, "teacher_features", teacher)


def _require_relations(student: Tensor, teacher: Tensor, *, least: int) -> None:
    _require_features(student, teacher)
    if len(student) < least:
        raise ShapeMismatch(
            "There are too few examples to relate.", received=f"{len(student)}", expected=f"at least {least} in a batch"
        )
