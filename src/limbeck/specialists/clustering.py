"""Clusters of classes that are taken for each other, brought to the sizes asked for."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from torch import Tensor

from limbeck.errors import InvalidValue, ShapeMismatch, unknown_name

METHODS = ("kmeans", "spectral", "confusion")
_NUM_STARTS = 10
Floats = npt.NDArray[np.float64]


def cluster_classes(
    matrix: Tensor,
    *,
    num_specialists: int,
    size: int | None = None,
    max_size: int | None = None,
    overlap: int = 0,
    method: str = "kmeans",
    seed: int = 0,
) -> list[list[int]]:
    r"""Sets of classes for the specialists: clusters of the columns of a covariance matrix, or of a confusion matrix.

    Each class becomes a point, and online K-means (scikit-learn's ``MiniBatchKMeans``, the best of ten starts) finds a
    centre for each specialist:

    - "kmeans": the points are the columns of the covariance of predictions, as in the paper. Where classes are seldom
      taken for each other, a column is little but its own variance: expect one large cluster and many small ones.
    - "spectral": rows of the leading eigenvectors of :math:`D^{-1/2} W D^{-1/2}`, scaled to length 1, with W the
      correlations of the predictions where these are above 0 and D its row sums. Sees chains of likeness; frequent and
      rare classes weigh the same.
    - "confusion": the columns of :math:`(R + R^T) / 2`, R the confusion counts, each row as shares. Needs labels.

    Then, by distance d of a class's point to a centre:

    1. All pairs (class, centre) are gone through, nearest first, equal ones by class number, then by centre. A class
       joins the first centre that has room. Room is ``size``, or ``max_size - overlap``, or without either all classes
       but one. Classes that find none stay without a specialist.
    2. A set that is still empty takes the class nearest to its centre whose own set has another.
    3. Each set takes in the nearest classes that it lacks: ``overlap`` of them, or as many as ``size`` asks for. At
       least one class always stays outside, for the dustbin.

    Args:
        matrix: shape (classes, classes): :func:`prediction_covariance`; for "confusion" counts by [true][predicted].
        num_specialists: K, from 1 to classes - 1.
        size: classes of every set, exactly, below the number of classes (300 in the paper).
        max_size: the most classes of a set, those of the overlap included.
        overlap: how many classes of other sets each set takes in; not beside ``size``, which decides it.
        method: "kmeans", "spectral" or "confusion".
        seed: of K-means; the same matrix and seed give the same sets.
    Returns:
        Class numbers in rising order for each set; sets by their lowest own class (before step 3).
    Raises:
        InvalidValue: a matrix that is not finite or not symmetric (negative counts for "confusion"); sizes that do not
            go together.
        ShapeMismatch: a matrix that is not square.
        UnknownName: another method.
    Example:
        >>> import torch
        >>> covariance = torch.tensor([[2.0, 1.5, 0, 0], [1.5, 2, 0, 0], [0, 0, 3, 2.5], [0, 0, 2.5, 3]])
        >>> cluster_classes(covariance, num_specialists=2)
        [[0, 1], [2, 3]]
        >>> cluster_classes(covariance, num_specialists=2, size=3)
        [[0, 1, 2], [0, 2, 3]]

    References:
        Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 5.3; Sculley 2010, "Web-scale k-means clustering"; Ng,
        Jordan, Weiss 2002, "On spectral clustering".
    """
    if method not in METHODS:
        raise unknown_name("way to cluster classes", method, METHODS)
    values = _checked_matrix(matrix, method)
    num_classes = len(values)
    require_set_sizes(num_classes, num_specialists, size=size, max_size=max_size, overlap=overlap)
    points = {"kmeans": _columns, "spectral": _eigenvectors, "confusion": _confusions}[method](values, num_specialists)
    distances = _distances(points, num_specialists, seed)
    room = size or (num_classes - 1 if max_size is None else min(max_size - overlap, num_classes - 1))
    own = _fill_empty(_assign(distances, room), distances)
    by_lowest = sorted(range(num_specialists), key=lambda cluster: min(own[cluster]))
    return [sorted(_widen(own[cluster], distances[:, cluster], size, overlap)) for cluster in by_lowest]


def _columns(covariance: Floats, num_clusters: int) -> Floats:
    return covariance.T


def _eigenvectors(covariance: Floats, num_clusters: int) -> Floats:
    spread = np.sqrt(np.maximum(np.diag(covariance), np.finfo(np.float64).tiny))
    likeness = np.maximum(covariance / np.outer(spread, spread), 0.0)
    np.fill_diagonal(likeness, 1.0)
    degrees = np.sqrt(likeness.sum(axis=1))
    _, vectors = np.linalg.eigh(likeness / np.outer(degrees, degrees))
    leading: Floats = vectors[:, -num_clusters:]
    lengths: Floats = np.linalg.norm(leading, axis=1, keepdims=True)
    return leading / np.maximum(lengths, np.finfo(np.float64).tiny)


def _confusions(counts: Floats, num_clusters: int) -> Floats:
    shares: Floats = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    return (shares + shares.T) / 2


def _distances(points: Floats, num_clusters: int, seed: int) -> Floats:
    """Return the distance of each class to each centre, shape (classes, clusters)."""
    import warnings

    from sklearn.cluster import MiniBatchKMeans

    scale = float(np.abs(points).max()) or 1.0  # covariances may be so small that K-means takes them for equal
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer different classes than clusters: empty sets are filled afterwards
        kmeans = MiniBatchKMeans(num_clusters, random_state=seed, n_init=_NUM_STARTS, batch_size=max(1024, len(points)))
        kmeans.fit(points / scale)
    gaps = [np.linalg.norm(points / scale - centre, axis=1) for centre in kmeans.cluster_centers_]
    return np.stack(gaps, axis=1).round(12)  # so that rounding does not decide between equal ones


def _assign(distances: Floats, room: int) -> list[list[int]]:
    """Give each class to the nearest centre with room, the nearest pairs first."""
    num_classes, num_clusters = distances.shape
    sets: list[list[int]] = [[] for _ in range(num_clusters)]
    placed = np.zeros(num_classes, dtype=bool)
    for pair in np.argsort(distances, axis=None, kind="stable").tolist():
        number, cluster = divmod(pair, num_clusters)
        if not placed[number] and len(sets[cluster]) < room:
            sets[cluster].append(number)
            placed[number] = True
    return sets


def _fill_empty(sets: list[list[int]], distances: Floats) -> list[list[int]]:
    for cluster, members in enumerate(sets):
        if members:
            continue
        for number in np.argsort(distances[:, cluster], kind="stable").tolist():
            owner = next((other for other in sets if number in other), None)
            if owner is None or len(owner) > 1:
                if owner is not None:
                    owner.remove(number)
                members.append(number)
                break
    return sets


def _widen(members: list[int], distances: Floats, size: int | None, overlap: int) -> list[int]:
    """Take in the nearest other classes; ``distances`` are those to this set's centre."""
    wanted = min(size or len(members) + overlap, len(distances) - 1)
    own = set(members)
    others = [number for number in np.argsort(distances, kind="stable").tolist() if number not in own]
    return members + others[: max(0, wanted - len(members))]


def _checked_matrix(matrix: Tensor, method: str) -> Floats:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) < 2:
        raise ShapeMismatch(
            "Classes are clustered by a square matrix.",
            received=tuple(matrix.shape),
            expected="(classes, classes), at least two of them",
        )
    values: Floats = matrix.detach().cpu().double().numpy()
    if not np.isfinite(values).all():
        raise InvalidValue("The matrix holds NaN or infinity.", expected="finite numbers")
    if method == "confusion":
        if (values < 0).any():
            raise InvalidValue("A confusion matrix counts.", received=float(values.min()), expected="counts >= 0")
    elif not np.allclose(values, values.T, rtol=1e-6, atol=1e-6 * np.abs(values).max()):
        raise InvalidValue(
            "A covariance matrix is symmetric.",
            received=f"entries that differ by {np.abs(values - values.T).max():.3g}",
            expected="the result of prediction_covariance",
            remedy='give method="confusion" for counts by [true][predicted]',
        )
    return values


def require_set_sizes(
    num_classes: int, num_specialists: int, *, size: int | None, max_size: int | None, overlap: int
) -> None:
    """Raise InvalidValue unless so many sets of such sizes can be made of the classes; see :func:`cluster_classes`.

    Args:
        num_classes: of all.
        num_specialists: sets to make.
        size: exact size of every set.
        max_size: largest size of a set.
        overlap: classes of other sets that each takes in.
    Example:
        >>> require_set_sizes(10, 4, size=3, max_size=None, overlap=0)
    """
    if not 1 <= num_specialists < num_classes:
        raise InvalidValue(
            "num_specialists is out of range.",
            received=num_specialists,
            expected=f"1 to {num_classes - 1}, less than the {num_classes} classes",
        )
    if size is not None and (max_size is not None or overlap):
        raise InvalidValue(
            "size is the exact size of every set; max_size and overlap do not go with it.",
            received=f"size {size}, max_size {max_size}, overlap {overlap}",
            expected="size alone, or max_size and overlap",
        )
    if overlap < 0:
        raise InvalidValue("overlap must not be negative.", received=overlap, expected="a number of classes >= 0")
    for name, value, least in (("size", size, 1), ("max_size", max_size, overlap + 1)):
        if value is not None and not least <= value < num_classes:
            raise InvalidValue(
                f"{name} is out of range.",
                received=value,
                expected=f"{least} to {num_classes - 1}" + (" with that overlap" if least > 1 else ""),
            )
