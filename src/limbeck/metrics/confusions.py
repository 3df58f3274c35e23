"""Which classes are taken for which: a matrix where classes are few, the cells that occur where they are many."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from limbeck.errors import ShapeMismatch
from limbeck.metrics.rows import checked_labels, checked_logits


def confusion_matrix(logits: Tensor, labels: Tensor) -> Tensor:
    """Count samples by true class and predicted class.

    Returns:
        int64 on the CPU, shape (classes, classes), indexed [true][predicted].
    Example:
        >>> confusion_matrix(torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([0, 0])).tolist()
        [[1, 1], [0, 0]]
    """
    return matrix_of(confusion_cells(logits, labels), num_classes=logits.shape[1])


def matrix_of(cells: Tensor, *, num_classes: int) -> Tensor:
    """Return the matrix, shape (classes, classes), of the cells that :func:`confusion_cells` gives."""
    matrix = torch.zeros(num_classes, num_classes, dtype=torch.int64)
    matrix[cells[:, 0], cells[:, 1]] = cells[:, 2]
    return matrix


def most_confused(confusion: Tensor, class_names: Sequence[str], count: int = 10) -> list[tuple[str, str, int]]:
    """List the mistakes made most often.

    Args:
        confusion: counts of shape (classes, classes), indexed [true][predicted].
        class_names: one per class.
        count: at most so many are returned; pairs that never occur are not.
    Returns:
        (true, predicted, count), most first; equal counts by true, then predicted class number.
    Raises:
        ShapeMismatch: the matrix is not square, or there is another number of names.
    Example:
        >>> most_confused(torch.tensor([[5, 2], [3, 5]]), ["cat", "dog"])
        [('dog', 'cat', 3), ('cat', 'dog', 2)]
    """
    if confusion.shape != (len(class_names), len(class_names)):
        raise ShapeMismatch(
            "The confusion matrix and the class names do not go together.",
            received=f"matrix {tuple(confusion.shape)}, {len(class_names)} names",
            expected=f"a matrix of shape ({len(class_names)}, {len(class_names)})",
        )
    places = confusion.cpu().nonzero()  # (cells, 2), by true, then predicted class
    counts = confusion.cpu()[places[:, 0], places[:, 1]]
    cells = torch.cat((places, counts[:, None]), dim=1)[counts.argsort(descending=True, stable=True)]
    return most_confused_cells(cells, class_names, count)


def confusion_cells(logits: Tensor, labels: Tensor) -> Tensor:
    """Count samples by true class and predicted class, in the cells of the matrix that are not 0.

    There are no more cells than samples, however many classes there are.

    Args:
        logits: shape (samples, classes).
        labels: shape (samples,).
    Returns:
        int64 on the CPU, shape (cells, 3): true class, predicted class, count; most first, then by class numbers.
    Example:
        >>> confusion_cells(torch.tensor([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0]]), torch.tensor([0, 0, 0])).tolist()
        [[0, 0, 2], [0, 1, 1]]
    """
    logits = checked_logits(logits)
    labels = checked_labels(labels, logits)
    return cells_of(labels.cpu(), logits.argmax(dim=1).cpu(), num_classes=logits.shape[1])


def cells_of(labels: Tensor, predicted: Tensor, *, num_classes: int) -> Tensor:
    """Return the cells of :func:`confusion_cells` from true and predicted class numbers, each of shape (samples,)."""
    cells, counts = torch.unique(labels * num_classes + predicted, return_counts=True)
    order = counts.argsort(descending=True, stable=True)
    found = torch.stack((cells // num_classes, cells % num_classes, counts), dim=1)
    return found[order]


def most_confused_cells(cells: Tensor, class_names: Sequence[str], count: int = 10) -> list[tuple[str, str, int]]:
    """List the mistakes made most often, from the cells of :func:`confusion_cells`; see :func:`most_confused`.

    Args:
        cells: int64, shape (cells, 3): true class, predicted class, count; most first.
        class_names: one per class.
        count: at most so many are returned.
    Example:
        >>> most_confused_cells(torch.tensor([[0, 0, 9], [1, 0, 3], [0, 1, 2]]), ["cat", "dog"])
        [('dog', 'cat', 3), ('cat', 'dog', 2)]
    """
    mistakes = cells[cells[:, 0] != cells[:, 1]][: max(0, count)].tolist()
    return [(class_names[true], class_names[predicted], number) for true, predicted, number in mistakes]
