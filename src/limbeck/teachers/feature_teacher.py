"""A frozen network that also tells what its hidden modules give out."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from limbeck.errors import TeacherError
from limbeck.inputs import Inputs
from limbeck.models import tapped
from limbeck.models.taps import modules_at
from limbeck.targets import FeatureTargets
from limbeck.teachers.module import ModuleTeacher
from limbeck.teachers.teacher import Teacher


class FeatureTeacher(Teacher):
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
        self._teacher = ModuleTeacher(module, name=name)
        self._paths = tuple(paths)

    @property
    def name(self) -> str:
        return self._teacher.name

    @property
    def fingerprint(self) -> str:
        return self._teacher.fingerprint

    @property
    def parts(self) -> tuple[Teacher, ...]:
        return (self._teacher,)

    @property
    def gives_features(self) -> bool:
        return True

    def __call__(self, ids: Tensor, inputs: Inputs, *, view: int | None = None) -> FeatureTargets:
        with tapped(self.modules[0], self._paths) as outputs:
            logits = self._teacher(ids, inputs, view=view).logits
        if missing := [path for path in self._paths if path not in outputs]:
            raise TeacherError(f"The module {missing[0]} of the teacher {self.name} does not run.")
        return FeatureTargets(logits, tuple(outputs[path] for path in self._paths))
