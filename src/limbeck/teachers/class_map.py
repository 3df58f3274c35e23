"""Teachers of other classes than the student's: a map by names, probabilities added up or renormalised."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from limbeck.errors import InvalidValue, TeacherError, near_names, shortened
from limbeck.settings import TeacherSettings


@dataclass(frozen=True)
class ClassMap:
    """Which of a teacher's classes each class of the student is.

    Args:
        teacher_names: in the order of the teacher's outputs.
        student_names: in the order of the labels.
        columns: for each class of the student the teacher's columns that add up to it; none for one that is missing.
    """

    teacher_names: tuple[str, ...]
    student_names: tuple[str, ...]
    columns: tuple[tuple[int, ...], ...]

    @staticmethod
    def between(
        teacher_names: Sequence[str],
        student_names: Sequence[str],
        *,
        class_map: Mapping[str, str] | None = None,
        allow_missing: bool = False,
    ) -> ClassMap:
        """Return the map by names.

        Args:
            teacher_names: unique, in the order of the teacher's outputs.
            student_names: in the order of the labels.
            class_map: a teacher's class to the student's, for names that differ; several may go to one.
            allow_missing: whether a class of the student may be none of the teacher's: it then has probability 0.
        Raises:
            InvalidValue: a name twice, or a name in ``class_map`` that is nobody's.
            TeacherError: a class of the student that is none of the teacher's, unless allowed, or no class in common.
        Example:
            >>> found = ClassMap.between(["tabby", "tiger cat", "beagle"], ["cat", "beagle"],
            ...                          class_map={"tabby": "cat", "tiger cat": "cat"})
            >>> found.columns
            ((0, 1), (2,))
        """
        for whose, names in (("teacher", teacher_names), ("student", student_names)):
            repeated = [name for name, count in Counter(names).items() if count > 1]
            if repeated:
                raise InvalidValue(
                    f"The class names of the {whose} are not told apart.", received=f"{repeated[0]!r} more than once"
                )
        given = dict(class_map or {})
        _require_known("teacher", given, teacher_names)
        _require_known("student", given.values(), student_names)
        goes_to = {name: given.get(name, name) for name in teacher_names}
        columns = tuple(
            tuple(number for number, name in enumerate(teacher_names) if goes_to[name] == own) for own in student_names
        )
        found = ClassMap(tuple(teacher_names), tuple(student_names), columns)
        missing = found.missing
        if missing and (not allow_missing or len(missing) == len(student_names)):
            near = (near_names(missing[0], teacher_names) or ["its name"])[0]
            raise TeacherError(
                "The teacher does not know every class of the data.",
                received=f"no class of the teacher for {shortened(missing)}",
                expected="each class of the data among the teacher's, by name or by class_map",
                remedy=f"class_map={{{near!r}: {missing[0]!r}}}, or allow_missing_classes=True",
            )
        return found

    @property
    def missing(self) -> tuple[str, ...]:
        """Classes of the student that are none of the teacher's."""
        return tuple(name for name, own in zip(self.student_names, self.columns, strict=True) if not own)

    @property
    def merges(self) -> bool:
        """Whether several of the teacher's classes add up to one: its logits then depend on the temperature."""
        return any(len(own) > 1 for own in self.columns)

    @property
    def note(self) -> str:
        """What a reader of the record must know."""
        merged = sum(len(own) for own in self.columns if len(own) > 1)
        used = sum(map(len, self.columns))
        parts = [f"{len(self.student_names) - len(self.missing)} of the data's {len(self.student_names)} classes are"]
        parts.append(f"among the teacher's {len(self.teacher_names)}")
        text = " ".join(parts)
        if merged:
            text += f"; {merged} of these add up to {sum(len(own) > 1 for own in self.columns)}"
        if used < len(self.teacher_names):
            text += f"; {len(self.teacher_names) - used} are left out and the rest renormalised"
        if self.missing:
            text += f"; missing, with probability 0: {shortened(self.missing)}"
        return text + "."

    def logits(self, teacher_logits: Tensor, *, temperature: float) -> Tensor:
        r"""Return logits over the student's classes whose softmax at T is the mapped distribution at T.

        .. math:: z_c = T \log \sum_{k \in c} e^{v_k / T}

        Probabilities add up at T, and are renormalised over the classes that are mapped. A missing class has -inf.

        Args:
            teacher_logits: v, shape (..., teacher's classes).
            temperature: T > 0.
        Returns:
            z, shape (..., student's classes).
        """
        if teacher_logits.shape[-1] != len(self.teacher_names):
            raise TeacherError(
                "The teacher has another number of classes than names.",
                received=f"{teacher_logits.shape[-1]} outputs, {len(self.teacher_names)} names",
                expected="one name for each output, in their order",
            )
        mapped = []
        for own in self.columns:
            if not own:
                mapped.append(torch.full_like(teacher_logits[..., 0], -math.inf))
            elif len(own) == 1:
                mapped.append(teacher_logits[..., own[0]])
            else:
                chosen = teacher_logits[..., list(own)] / temperature
                mapped.append(temperature * torch.logsumexp(chosen, dim=-1))
        return torch.stack(mapped, dim=-1)


def class_map_for(
    teacher_names: Sequence[str] | None, class_names: Sequence[str], settings: TeacherSettings
) -> ClassMap:
    """Return the map that the settings describe; they may give the teacher's names, too.

    Args:
        teacher_names: as the teacher or a store says; None for what the settings give.
        class_names: of the data.
        settings: names, pairs, and whether classes may be missing.
    """
    given = settings.teacher_class_names
    return ClassMap.between(
        (teacher_names or ()) if given is None else names_from(given),
        class_names,
        class_map=settings.class_pairs,
        allow_missing=settings.allow_missing_classes,
    )


def names_from(given: Sequence[str]) -> tuple[str, ...]:
    """Return class names: those given, or where it is one alone, the lines of that text file.

    Raises:
        InvalidValue: one text that is no file's name; a classifier has at least two classes.
    """
    if len(given) != 1:
        return tuple(given)
    try:
        lines = Path(given[0]).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise InvalidValue(
            "teacher_class_names has a wrong value.",
            received=given[0],
            expected="two names or more, or a text file of one a line",
        ) from error
    return tuple(name for line in lines if (name := line.strip()))


def _require_known(whose: str, names: object, known: Sequence[str]) -> None:
    for name in names:  # type: ignore[attr-defined]
        if name not in known:
            near = near_names(str(name), known)
            raise InvalidValue(
                f"class_map names a class of the {whose} that is not there.",
                received=name,
                expected=shortened(known),
                remedy=f"did you mean {' or '.join(near)}?" if near else None,
            )
