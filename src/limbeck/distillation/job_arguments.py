"""What every job takes beside its networks: data, how it is shown, and what is written down of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from limbeck.data import Normalise
from limbeck.settings import Doc, TrainSettings
from limbeck.training import Progress


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
    progress: Annotated[Progress | str, Doc('"auto", "bar", "plain", "silent", or a Progress.')] = "auto"
    command: Annotated[str | None, Doc("Kept in the record; the function's name where not given.")] = None
    config: Annotated[
        dict[str, Any] | None, Doc("Kept in record and ``config.yaml``; made from the arguments where not given.")
    ] = None

    def description(self, names: dict[str, Any]) -> dict[str, Any]:
        """Return what is written down of a job: ``names`` of data and networks, and every setting, JSON-able."""
        normalise = asdict(self.normalise) if self.normalise else None
        return self.config or {**names, **self.describe(), "normalise": normalise}
