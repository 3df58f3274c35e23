"""What every job takes beside its networks: data, how it is shown, and what is written down of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from limbeck.data import Normalise, Transform, Views
from limbeck.settings import Doc, TrainSettings
from limbeck.training import Progress

TransformSource = Transform | Callable[..., Any] | None


@dataclass(frozen=True, kw_only=True)
class JobArguments(TrainSettings):
    """Settings of a job with what Python passes as objects, and what is written down of the run."""

    test: Annotated[Any, Doc("Test set, as train; a fifth of train is held out where it is missing.")] = None
    validation: Annotated[
        Any, Doc("Validation set, as train; it chooses the epoch; held out of train where it is missing.")
    ] = None
    class_names: Annotated[Sequence[str] | None, Doc("Names of the classes, in the order of the labels.")] = None
    normalise: Annotated[
        Normalise | None, Doc("Normalisation of the inputs; integer images are scaled to [0, 1] first.")
    ] = None
    transform: Annotated[
        TransformSource,
        Doc(
            "Your own random transform of one sample, in place of ``augmentations``: a Transform, or a callable "
            "(torchvision v2, albumentations, timm), replayed for every view; a teacher sees the same view."
        ),
    ] = None
    teacher_transform: Annotated[
        TransformSource, Doc("What a teacher's inputs are made by from the same view: another size or normalisation.")
    ] = None
    student_transform: Annotated[
        TransformSource, Doc("What the students' inputs are made by from the view, where it is too large for them.")
    ] = None
    progress: Annotated[Progress | str, Doc('"auto", "bar", "plain", "silent", or a Progress.')] = "auto"
    command: Annotated[str | None, Doc("Kept in the record; the function's name where not given.")] = None
    config: Annotated[
        dict[str, Any] | None, Doc("Kept in record and ``config.yaml``; made from the arguments where not given.")
    ] = None

    @property
    def has_augmentation(self) -> bool:
        """Whether one view of a sample differs from the next."""
        return bool(self.augmentations) or self.transform is not None

    def shown(self) -> Views:
        """Return the views of the job's inputs, without the augmentations of a network."""
        return Views(
            normalise=self.normalise,
            transform=_transform(self.transform),
            teacher_transform=_transform(self.teacher_transform),
            student_transform=_transform(self.student_transform),
        )

    def description(self, names: dict[str, Any]) -> dict[str, Any]:
        """Return what is written down of a job: ``names`` of data and networks, and every setting, JSON-able."""
        normalise = asdict(self.normalise) if self.normalise else None
        own = (("transform", self.transform), ("teacher_transform", self.teacher_transform))
        given = {name: _transform(one) for name, one in (*own, ("student_transform", self.student_transform)) if one}
        identities = {name: one.identity for name, one in given.items() if one is not None}
        return self.config or {**names, **self.describe(), "normalise": normalise, **identities}


def _transform(source: TransformSource) -> Transform | None:
    """Return a callable as a transform of the sample as its source has it."""
    return source if source is None or isinstance(source, Transform) else Transform(source)
