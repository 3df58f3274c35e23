"""A generalist and its specialists as one distribution: equation 5 of arXiv:1503.02531."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from limbeck.errors import InvalidValue, NotConverged, ShapeMismatch, require_positive, unknown_name
from limbeck.pooling.class_sets import ClassSets, class_set_numbers
from limbeck.pooling.combination import Combination
from limbeck.pooling.solving import descend, find_fixed_point

METHODS = ("fixed_point", "gradient")
LEAST_TOLERANCE = 1e-12  # nats; float64 tells no smaller excess
_LOWEST = -650.0  # of the generalist's log p: exp() of it leaves float64 room for products
_CHUNK = 2**18  # probabilities treated at once: 2 MiB, which stay in the cache


def combine_specialists(
    generalist_logits: Tensor,
    specialist_logits: Sequence[Tensor],
    class_sets: ClassSets,
    *,
    class_names: Sequence[str] | None = None,
    num_top_classes: int = 1,
    temperature: float = 1.0,
    method: Literal["fixed_point", "gradient"] = "fixed_point",
    tolerance: float = 1e-9,
    max_iterations: int = 1000,
) -> Tensor:
    r"""Log of the distribution that is nearest to a generalist and to those of its specialists that an image concerns.

    .. math:: q = \arg\min_q \; KL(p^g \| q) + \sum_{k \in A} KL(p^k \| q),
        \qquad q(\text{dustbin of } k) = \sum_{c \notin S_k} q_c

    A: the specialists whose set S_k holds one of the generalist's n most probable classes, for each image its own. With
    none, q is p^g exactly. With one, q shares (p^g(D) + p^k(dustbin)) / 2 among the classes D outside the set in the
    generalist's proportions, and is (p^g_c + p^k_c) / 2 inside. With several it is found by iteration:

    - "fixed_point": at the minimum :math:`q_c = (p^g_c + \sum_k p^k_{S(c)} \, q_c / q_{S(c)}) / (1 + |A|)`, where S(c)
      is what specialist k calls class c: itself, or the dustbin. Repeated, with each specialist's dustbin mass spread
      over the classes outside in proportion to q, this lowers the sum in every step (it is an expectation
      maximisation); steps are extrapolated where they become short, and the few images that take long go on from
      what Newton's method makes of the dual problem.
    - "gradient": gradient descent on z with q = softmax(z), as the paper writes. Slower; the check on the other.

    The minimum is one; but where generalist and specialists contradict each other with near certainty, the sum may be
    so flat that different q come within the tolerance of it.

    Args:
        generalist_logits: shape (batch, classes), any float dtype, treated in float64. Where a specialist is active,
            probabilities of the generalist below e^-650 (-inf among the logits, too) are raised to that.
        specialist_logits: of each specialist, shape (batch, len(S_k) + 1): its classes in the order of its set, the
            dustbin last. A specialist trained on balanced batches is corrected first:
            :func:`limbeck.calibration.correct_dustbin`.
        class_sets: S_k of each specialist: class numbers, or names where ``class_names`` is given. Sets may overlap,
            and classes may be in none.
        class_names: of all classes, in the generalist's order.
        num_top_classes: n, from 1 to classes; of equal logits the lower class number comes first.
        temperature: T > 0 of p^g, p^k and thereby q; the paper combines at 1. A does not depend on it.
        method: "fixed_point" or "gradient".
        tolerance: by how many nats the sum may be above its minimum, at least 1e-12. That it is not more is proved for
            each image, by a bound from the dual problem.
        max_iterations: rounds after which an image above the tolerance is an error.
    Returns:
        log q in nats, shape (batch, classes), float32 (float64 where an input is): logits whose softmax at 1 is q.
    Raises:
        NotConverged: images that are above the tolerance after ``max_iterations``; says how many, and by how much.
        InvalidValue: a set that is empty, holds every class, an unknown one, or one twice; n, T, tolerance or
            iterations out of range; logits that are not floating-point, or rows without a softmax.
        ShapeMismatch: logits of other shapes than the sets ask for, or not one set per specialist.
        UnknownName: a class name or method that is not known; near ones are listed.
    Example:
        >>> generalist = torch.tensor([[0.5, 0.3, 0.1, 0.1]]).log()
        >>> specialist = torch.tensor([[0.2, 0.6, 0.2]]).log()  # cat, dog, neither
        >>> combine_specialists(generalist, [specialist], [[0, 1]]).exp()
        tensor([[0.3500, 0.4500, 0.1000, 0.1000]])

    References:
        Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 5.5, equation 5; Dempster, Laird, Rubin 1977 (expectation
        maximisation); Varadhan, Roland 2008, "Simple and globally convergent methods for accelerating the convergence
        of any EM algorithm"; Barzilai, Borwein 1988, "Two-point step size gradient methods".
    """
    require_positive("temperature", temperature)
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    if not (LEAST_TOLERANCE <= tolerance < math.inf) or max_iterations < 1:
        raise InvalidValue(
            "There is no such stopping rule.",
            received=f"tolerance {tolerance:g}, max_iterations {max_iterations}",
            expected=f"a tolerance of at least {LEAST_TOLERANCE:g} nats, and at least 1 iteration",
        )
    numbers = _checked_sets(generalist_logits, specialist_logits, class_sets, class_names)
    active = active_specialists(generalist_logits, numbers, num_top_classes=num_top_classes)
    wide = any(logits.dtype == torch.float64 for logits in (generalist_logits, *specialist_logits))
    dtype, device = torch.float64 if wide else torch.float32, generalist_logits.device
    work_dir = torch.device("cpu") if device.type == "mps" else device  # which has no float64
    outside = torch.ones(len(numbers), generalist_logits.shape[1], dtype=torch.float64, device=work_dir)
    for k, members in enumerate(numbers):
        outside[k, members] = 0.0
    solve = find_fixed_point if method == "fixed_point" else descend
    log_q = torch.empty(generalist_logits.shape, dtype=dtype, device=device)
    excess = torch.zeros(len(log_q), dtype=torch.float64, device=work_dir)
    for rows in _chunks(generalist_logits):
        log_p = _log_probs(generalist_logits[rows], temperature, work_dir)
        parts = [_log_probs(logits[rows], temperature, work_dir) for logits in specialist_logits]
        concerned = active[rows].any(dim=1).to(work_dir)
        problem = _pose(log_p, parts, numbers, active[rows].to(work_dir), outside).rows(concerned)
        if len(problem.said):
            q, bounds = solve(problem, tolerance=tolerance, max_iterations=max_iterations)
            log_p[concerned], excess[rows][concerned] = q.log(), bounds
        log_q[rows] = log_p.to(device, dtype)
    _require_converged(excess, tolerance, max_iterations)
    return log_q


def active_specialists(generalist_logits: Tensor, class_sets: ClassSets, *, num_top_classes: int = 1) -> Tensor:
    """Tell which specialists each image concerns: those that know one of the generalist's most probable classes.

    Args:
        generalist_logits: shape (batch, classes).
        class_sets: class numbers of each specialist.
        num_top_classes: n, from 1 to classes; of equal logits the lower class number comes first.
    Returns:
        bool, shape (batch, specialists), on the device of the logits.
    Raises:
        InvalidValue: n out of range, or a set that cannot be.
        ShapeMismatch: logits that are not (batch, classes).
    Example:
        >>> active_specialists(torch.tensor([[3.0, 2.0, 0.0]]), [[0, 1], [1, 2]])
        tensor([[ True, False]])
        >>> active_specialists(torch.tensor([[3.0, 2.0, 0.0]]), [[0, 1], [1, 2]], num_top_classes=2)
        tensor([[True, True]])
    """
    _require_matrix("generalist_logits", generalist_logits)
    num_classes = generalist_logits.shape[1]
    require_num_top_classes(num_top_classes, num_classes=num_classes)
    numbers = class_set_numbers(class_sets, num_classes=num_classes)
    inside = torch.zeros(num_classes, len(numbers), dtype=torch.bool, device=generalist_logits.device)
    for k, members in enumerate(numbers):
        inside[members, k] = True
    if num_top_classes == 1:
        return inside[generalist_logits.argmax(dim=1)]
    top = generalist_logits.sort(dim=1, descending=True, stable=True).indices[:, :num_top_classes]
    return inside[top].any(dim=1)


def require_num_top_classes(num_top_classes: int, *, num_classes: int) -> None:
    """Raise InvalidValue unless n, the number of top classes that wake specialists, is from 1 to that of classes."""
    if not 1 <= num_top_classes <= num_classes:
        raise InvalidValue(
            "num_top_classes is out of range.",
            received=num_top_classes,
            expected=f"1 to {num_classes}, the number of classes",
        )


def _pose(log_p: Tensor, parts: list[Tensor], numbers: list[list[int]], active: Tensor, outside: Tensor) -> Combination:
    """Add up what the generalist and the active specialists say of each class."""
    said = log_p.clamp(min=_LOWEST).exp()
    dustbins = torch.zeros(active.shape, dtype=said.dtype, device=said.device)
    for k, (part, members) in enumerate(zip(parts, numbers, strict=True)):
        probs = part.exp() * active[:, k : k + 1]
        said[:, members] += probs[:, :-1]
        dustbins[:, k] = probs[:, -1]
    return Combination(said, dustbins, 1.0 + active.sum(dim=1, keepdim=True).double(), outside)


def _log_probs(logits: Tensor, temperature: float, device: torch.device) -> Tensor:
    return torch.log_softmax(logits.detach().to(device, torch.float64) / temperature, dim=1)


def _chunks(logits: Tensor) -> Iterator[slice]:
    step = max(1, _CHUNK // logits.shape[1])
    for start in range(0, len(logits), step):
        yield slice(start, start + step)


def _checked_sets(
    generalist: Tensor, specialists: Sequence[Tensor], class_sets: ClassSets, class_names: Sequence[str] | None
) -> list[list[int]]:
    _require_matrix("generalist_logits", generalist)
    numbers = class_set_numbers(class_sets, num_classes=generalist.shape[1], class_names=class_names)
    if len(numbers) != len(specialists):
        raise ShapeMismatch(
            "There must be one class set per specialist.",
            received=f"{len(numbers)} sets for {len(specialists)} specialists",
            expected=f"{len(specialists)} sets",
        )
    for k, (logits, members) in enumerate(zip(specialists, numbers, strict=True)):
        expected = (len(generalist), len(members) + 1)
        if logits.shape != expected:
            raise ShapeMismatch(
                f"The logits of specialist {k} do not fit its classes.",
                received=tuple(logits.shape),
                expected=f"{expected}: one row per image, {len(members)} classes and the dustbin, last",
            )
        if logits.device != generalist.device:
            raise InvalidValue(
                f"Generalist and specialist {k} are on different devices.",
                received=f"{generalist.device} and {logits.device}",
                expected="one device",
            )
        _require_matrix(f"specialist_logits[{k}]", logits)
    return numbers


def _require_matrix(name: str, logits: Tensor) -> None:
    if logits.ndim != 2 or logits.shape[1] == 0:
        raise ShapeMismatch(
            f"{name} must be a matrix.", received=tuple(logits.shape), expected="(batch, classes), at least one class"
        )
    if not logits.is_floating_point():
        raise InvalidValue(f"{name} must hold floating-point numbers.", received=logits.dtype)
    bad = ~logits.amax(dim=1).isfinite()
    if bool(bad.any()):
        raise InvalidValue(
            f"{int(bad.sum())} of {len(bad)} rows of {name} have no softmax.",
            received=f"NaN, +inf or nothing but -inf; the first is row {int(bad.nonzero()[0])}",
            expected="finite logits; -inf for a class of probability 0",
        )


def _require_converged(excess: Tensor, tolerance: float, max_iterations: int) -> None:
    missed = ~(excess <= tolerance)
    if bool(missed.any()):
        raise NotConverged(
            f"{int(missed.sum())} of {len(missed)} combinations did not converge in {max_iterations} iterations.",
            received=f"up to {float(excess[missed].max()):.1e} nats above the minimum; the first is row "
            f"{int(missed.nonzero()[0])}",
            expected=f"at most {tolerance:g} nats (tolerance)",
            remedy="allow more iterations or a larger tolerance; generalist and specialists that are sure of opposite "
            "things make the sum flat",
        )
