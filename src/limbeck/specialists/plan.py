"""The plan of a committee: which classes each specialist learns, and how that was decided."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from limbeck.errors import ConfigError, InvalidValue, LimbeckError, RecordError
from limbeck.pooling import class_set_numbers
from limbeck.records import decode_plain, write_text
from limbeck.settings.yaml_text import read_text, read_yaml
from limbeck.specialists.clustering import cluster_classes

FORMAT = "limbeck-specialist-plan"
VERSION = 1
MAX_PLAN_CHARACTERS, MAX_PLAN_VALUES = 64 << 20, 2_000_000  # a name for each of many classes


@dataclass(frozen=True)
class SpecialistPlan:
    """Class sets by name, with everything that decided them.

    Args:
        class_names: all classes, in the generalist's order, no name twice.
        class_sets: names of each specialist's classes, in the order of its logits; the dustbin follows.
        generalist_fingerprint: of the teacher whose predictions were clustered; "" where nobody's were.
        method: as :func:`cluster_classes` names it, or "by hand".
        settings: what the method was given; plain values.
    Raises:
        InvalidValue: a name that two classes have; a set that is empty, holds every class, or one twice.
        UnknownName: a set with a name that no class has; near ones are listed.
    Example:
        >>> plan = SpecialistPlan(["cat", "dog", "car"], [["cat", "dog"]])
        >>> plan.coverage()
        {'cat': 1, 'dog': 1, 'car': 0}
    """

    class_names: list[str]
    class_sets: list[list[str]]
    generalist_fingerprint: str = ""
    method: str = "by hand"
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        repeated = [name for name, count in Counter(self.class_names).items() if count > 1]
        if repeated:
            raise InvalidValue("Two classes have one name.", received=repeated[0], expected="different names")
        self.class_numbers()

    def class_numbers(self) -> list[list[int]]:
        """Return the class sets as numbers, in the order of the generalist's logits."""
        return class_set_numbers(self.class_sets, num_classes=len(self.class_names), class_names=self.class_names)

    def coverage(self) -> dict[str, int]:
        """Return by class how many specialists know it, in the order of the classes."""
        counts = dict.fromkeys(self.class_names, 0)
        for members in self.class_sets:
            for name in members:
                counts[name] += 1
        return counts

    def save(self, path: Path | str) -> None:
        """Write the plan as YAML, the whole file or nothing.

        Raises:
            OutputError: the folder cannot be written.
            RecordError: settings that YAML has no plain form for.
        """
        content = {"format": FORMAT, "version": VERSION, **dataclasses.asdict(self)}
        try:
            text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)
        except yaml.YAMLError as error:
            raise RecordError(
                "The plan's settings hold a value that YAML has no plain form for.",
                received=str(error),
                expected="text, numbers, true, false, null, lists and objects",
            ) from error
        write_text(Path(path), text)


def load_plan(path: Path | str) -> SpecialistPlan:
    """Read a plan that :meth:`SpecialistPlan.save` wrote, or that somebody wrote by hand.

    Raises:
        RecordError: no such file, no YAML, another format or version, a field that is missing, unknown or of the wrong
            type (a class name such as 3 needs quotes: '3'), or class sets that cannot be.
    """
    source = str(path)
    try:
        text = read_text(Path(path), what="plan", max_characters=MAX_PLAN_CHARACTERS)
        content, _ = read_yaml(text, source=source, max_characters=MAX_PLAN_CHARACTERS, max_values=MAX_PLAN_VALUES)
    except ConfigError as error:
        raise RecordError(error.fact, received=error.received, expected=error.expected, remedy=error.remedy) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise RecordError(f"{source} is no plan of specialists.", expected=f"YAML with format: {FORMAT}")
    if content.get("version") != VERSION:
        raise RecordError(
            f"{source} has another version.",
            received=content.get("version"),
            expected=VERSION,
            remedy="read it with the release of limbeck that wrote it",
        )
    fields = {name: value for name, value in content.items() if name not in ("format", "version")}
    try:
        return decode_plain(SpecialistPlan, fields, source)
    except RecordError:
        raise
    except LimbeckError as error:
        raise RecordError(
            f"{source}: {error.fact}", received=error.received, expected=error.expected, remedy=error.remedy
        ) from error


def plan_specialists(
    matrix: Tensor,
    *,
    class_names: list[str],
    num_specialists: int,
    size: int | None = None,
    max_size: int | None = None,
    overlap: int = 0,
    method: str = "kmeans",
    seed: int = 0,
    generalist_fingerprint: str = "",
) -> SpecialistPlan:
    """Cluster the classes (see :func:`cluster_classes`) and return the plan, settings included.

    Args:
        matrix: shape (classes, classes): :func:`prediction_covariance`, or confusion counts.
        class_names: one per class, in the order of the matrix.
        num_specialists: K.
        size: classes of every set, exactly.
        max_size: the most classes of a set.
        overlap: classes of other sets that each takes in.
        method: "kmeans", "spectral" or "confusion".
        seed: of K-means.
        generalist_fingerprint: of the teacher whose predictions these are.
    Raises:
        InvalidValue, ShapeMismatch, UnknownName: as :func:`cluster_classes`; or another number of names than classes.
    Example:
        >>> import torch
        >>> covariance = torch.tensor([[2.0, 1.5, 0.0], [1.5, 2.0, 0.0], [0.0, 0.0, 3.0]])
        >>> plan = plan_specialists(covariance, class_names=["cat", "dog", "car"], num_specialists=1, size=2)
        >>> plan.class_sets
        [['cat', 'dog']]
    """
    sets = cluster_classes(
        matrix,
        num_specialists=num_specialists,
        size=size,
        max_size=max_size,
        overlap=overlap,
        method=method,
        seed=seed,
    )
    if len(class_names) != len(matrix):
        raise InvalidValue(
            "There must be one name per class.",
            received=f"{len(class_names)} names",
            expected=f"{len(matrix)} names",
        )
    settings = {"num_specialists": num_specialists, "size": size, "max_size": max_size, "overlap": overlap}
    return SpecialistPlan(
        class_names=list(class_names),
        class_sets=[[class_names[number] for number in members] for members in sets],
        generalist_fingerprint=generalist_fingerprint,
        method=method,
        settings={**settings, "seed": seed},
    )
