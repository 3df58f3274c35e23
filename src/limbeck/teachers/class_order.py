"""A teacher's class names, and the order of its columns that is the data's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from limbeck.errors import TeacherError, shortened
from limbeck.targets import DenseTargets


class ClassOrder:
    """Puts the columns of a teacher that knows its classes by name in the data's order.

    Args:
        teacher: its name, for messages.
        class_names: in the order of its outputs; None where it does not know them.
    Example:
        >>> order = ClassOrder("net", ["dog", "cat"])
        >>> order.fit(["cat", "dog"])
        >>> order(DenseTargets(torch.tensor([[1.0, 2.0]]))).logits
        tensor([[2., 1.]])
    """

    def __init__(self, teacher: str, class_names: Sequence[str] | None) -> None:
        self._teacher = teacher
        self.class_names = None if class_names is None else tuple(class_names)
        self._columns: Tensor | None = None

    @property
    def identity(self) -> str:
        """What decides the columns; empty where it knows no names."""
        return "" if self.class_names is None else "classes " + "\n".join(self.class_names)

    def fit(self, class_names: Sequence[str]) -> None:
        """Learn the data's order.

        Raises:
            TeacherError: other classes than the teacher's, where both have names.
        """
        known = tuple(class_names)
        self._columns = None
        if self.class_names is None or not known or self.class_names == known:
            return
        if len(set(known)) != len(known) or sorted(self.class_names) != sorted(known):
            raise TeacherError(
                f"The teacher {self._teacher} knows other classes than the data.",
                received=shortened(self.class_names),
                expected=shortened(known),
                remedy="give a teacher of these classes, or the data's class names",
            )
        self._columns = torch.tensor([self.class_names.index(name) for name in known])

    def __call__(self, targets: DenseTargets) -> DenseTargets:
        """Return the soft targets with the columns in the data's order."""
        if self._columns is None:
            return targets
        return DenseTargets(targets.logits.index_select(-1, self._columns.to(targets.logits.device)))
