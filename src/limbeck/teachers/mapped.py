"""Teachers of other classes than the student's, seen through a class map."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from limbeck.data import Samples, Views
from limbeck.errors import TeacherError, shortened
from limbeck.inputs import Inputs
from limbeck.settings import TeacherSettings
from limbeck.targets import DenseTargets, SoftTargets
from limbeck.teachers.class_map import ClassMap, class_map_for
from limbeck.teachers.teacher import Teacher


@dataclass(frozen=True, eq=False)
class MappedTargets(SoftTargets):
    """Soft targets over the student's classes, mapped at each temperature anew."""

    targets: SoftTargets
    class_map: ClassMap

    def logits_at(self, temperature: float) -> Tensor:
        """Return the mapped logits."""
        return self.class_map.logits(self.targets.logits_at(temperature), temperature=temperature)

    def members(self) -> tuple[tuple[float, SoftTargets], ...]:
        """Return what each of several teachers says, mapped, with its share."""
        return tuple((share, MappedTargets(member, self.class_map)) for share, member in self.targets.members())


class MappedTeacher(Teacher):
    """A teacher as it looks over the student's classes.

    Args:
        teacher: of other classes, or of the same in another order.
        class_map: from its classes to the student's.
    """

    def __init__(self, teacher: Teacher, class_map: ClassMap) -> None:
        self.teacher, self.class_map = teacher, class_map

    @property
    def name(self) -> str:
        return self.teacher.name

    @property
    def fingerprint(self) -> str:
        text = repr((self.class_map.teacher_names, self.class_map.student_names, self.class_map.columns))
        return hashlib.sha256(f"class map\n{text}\n{self.teacher.fingerprint}".encode()).hexdigest()

    @property
    def parts(self) -> tuple[Teacher, ...]:
        return (self.teacher,)

    @property
    def members(self) -> tuple[Teacher, ...]:
        """Itself where no classes add up, so that its logits hold at every temperature; else the teacher's members."""
        return self.teacher.members if self.class_map.merges or len(self.teacher.members) > 1 else (self,)

    def pooled(self, members: Sequence[Teacher]) -> Teacher:
        if self.members == (self,):
            (member,) = members
            return member
        return MappedTeacher(self.teacher.pooled(members), self.class_map)

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.class_map.student_names

    @property
    def num_classes(self) -> int | None:
        return len(self.class_map.student_names)

    @property
    def notes(self) -> tuple[str, ...]:
        return (*self.teacher.notes, self.class_map.note)

    def __call__(self, ids: Tensor, inputs: Inputs, *, view: int | None = None) -> SoftTargets:
        targets = self.teacher(ids, inputs, view=view)
        if isinstance(targets, DenseTargets) and not self.class_map.merges:
            return DenseTargets(self.class_map.logits(targets.logits, temperature=1.0))
        return MappedTargets(targets, self.class_map)

    def check_fits(self, samples: Samples, views: Views) -> None:
        """Raise TeacherError where the data have other classes than the map, or labels whose shares do not add up."""
        if samples.task == "multi_label" and self.class_map.merges:
            raise TeacherError(
                "Probabilities of independent labels do not add up.",
                received="a class map of several of the teacher's labels to one",
                expected="at most one of the teacher's labels for each of the data's",
            )
        if samples.class_names and tuple(samples.class_names) != self.class_map.student_names:
            raise TeacherError(
                "The class map is for other classes than the data's.",
                received=shortened(self.class_map.student_names),
                expected=shortened(samples.class_names),
            )


def over_classes(teacher: Teacher, class_names: Sequence[str], settings: TeacherSettings) -> Teacher:
    """Return a trained teacher as it looks over the data's classes, where the settings say that it knows others.

    Args:
        teacher: trained.
        class_names: of the data.
        settings: the teacher's class names, the class map, and whether classes may be missing.
    Raises:
        TeacherError: a class map, and a teacher whose class names nobody knows; or as :meth:`ClassMap.between`.
        InvalidValue: as :meth:`ClassMap.between`, or a file of names that cannot be read.
    """
    if not settings.maps_classes:
        return teacher
    if teacher.class_names is None and settings.teacher_class_names is None:
        raise TeacherError(
            "A class map needs the teacher's class names.",
            received=f"class_map, and {teacher.name}, which does not say how its classes are called",
            expected="teacher_class_names, in the order of the teacher's outputs",
        )
    return MappedTeacher(teacher, class_map_for(teacher.class_names, class_names, settings))


def classes_of_members(teacher: Teacher, class_names: Sequence[str]) -> tuple[str, ...] | None:
    """Return the classes that the logits of a teacher's members are over; None where they are not the same for all.

    They are the data's, but of a teacher whose classes add up: its members keep its own.

    Args:
        teacher: whose members are collected.
        class_names: of the data.
    """
    found = _classes_of_members(teacher, tuple(class_names))
    return found.pop() if len(found) == 1 else None


def _classes_of_members(teacher: Teacher, class_names: tuple[str, ...]) -> set[tuple[str, ...]]:
    if isinstance(teacher, MappedTeacher):
        return {class_names if teacher.members == (teacher,) else teacher.class_map.teacher_names}
    if not teacher.parts:
        return {class_names}
    return {names for part in teacher.parts for names in _classes_of_members(part, class_names)}
