"""A frozen network that also tells what its hidden modules give out."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from limbeck.errors import TeacherError
from limbeck.models import tapped
from limbeck.models.taps import modules_at
from limbeck.targets import DenseTargets, FeatureTargets
from limbeck.teachers.module import ModuleTeacher


class FeatureTeacher(ModuleTeacher):
    """A trained module, frozen, tapped at some of its modules; it runs in every step, since features are not stored.

    Args:
        module: maps inputs (batch, ...) to logits (batch, classes).
        paths: of the modules whose outputs are wanted, as ``named_modules`` calls them.
        name: shown in records; the class's name where not given.
    Raises:
        TeacherError: a parameter or buffer is not finite.
        UnknownName: no module at a path; near ones are listed.
    Example:
        >>> import torch
        >>> teacher = FeatureTeacher(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), ["1"])
        >>> teacher(torch.arange(5), torch.zeros(5, 4)).features[0].shape
        torch.Size([5, 8])
    """

    def __init__(self, module: nn.Module, paths: Sequence[str], *, name: str | None = None) -> None:
        modules_at(module, paths)
        super().__init__(module, name=name)
        self._paths = tuple(paths)

    def __call__(self, ids: Tensor, inputs: Tensor, *, view: int | None = None) -> FeatureTargets:
        with tapped(self.modules[0], self._paths) as outputs:
            targets = super().__call__(ids, inputs, view=view)
        assert isinstance(targets, DenseTargets)
        if missing := [path for path in self._paths if path not in outputs]:
            raise TeacherError(f"The module {missing[0]} of the teacher {self.name} does not run.")
        return FeatureTargets(targets.logits, tuple(outputs[path] for path in self._paths))
