"""One specialist: all that decides it, its training as a job of its own, and its folder."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from limbeck.data import BalancedOrder, Samples, Views
from limbeck.distillation.run_directory import plain
from limbeck.errors import ModelError
from limbeck.models import FullSoftmaxSpecialist, ModelFactory, SavedModel, fingerprint, load_model, save_model
from limbeck.objectives import Objective
from limbeck.pooling import class_set_numbers
from limbeck.records import EpochRecord, decode_plain
from limbeck.teachers import Teacher, as_teacher
from limbeck.training import EventLog, Progress, Recipe, Runtime, environment_facts, fit, training_identity

VARIANTS = ("dustbin", "full_softmax")


@dataclass(frozen=True, eq=False)
class TrainedSpecialist:
    """One specialist after its training: what a committee needs, and how the training went."""

    module: nn.Module
    class_set: list[str]
    dustbin_offset: float
    selected_epoch: int
    history: list[EpochRecord]
    elapsed_seconds: float
    environment: dict[str, Any]  # of its training
    folder: Path | None
    was_there: bool


@dataclass(frozen=True, eq=False, kw_only=True)
class Specialty:
    """One specialist to be trained: all that decides it, picklable.

    ``samples`` and ``validation`` are of the specialist's classes and the dustbin; ``class_names`` are those of the
    network that is saved. ``guide`` gives soft targets where the objective needs them: the frozen generalist, or its
    answers.
    """

    start: nn.Module
    spec: str
    generalist: str  # fingerprint
    guide: nn.Module | Teacher | None
    objective: Objective
    class_names: tuple[str, ...]
    samples: Samples
    validation: Samples | None
    order: BalancedOrder
    dustbin_offset: float
    recipe: Recipe
    views: Views
    seed: int
    runtime: Runtime

    def identity(self) -> dict[str, str]:
        """Return everything that decides the specialist, as text."""
        num_batches = self.order.num_batches(self.samples, self.recipe.batch_size)
        decided = training_identity(
            self.start,
            self.samples,
            self.objective,
            recipe=self.recipe,
            teacher=as_teacher(self.guide) if self.guide is not None else None,
            validation=self.validation,
            views=self.views,
            num_views=None,
            seed=self.seed,
            num_steps=self.recipe.num_epochs * num_batches,
            precision=self.runtime.precision,
            order=self.order,
        )
        own = {"start": fingerprint(self.start), "classes": json.dumps(self.samples.class_names)}
        return {**own, "dustbin offset": repr(self.dustbin_offset), **decided}

    def taken(self, folder: Path, *, is_kept: bool, was_there: bool) -> TrainedSpecialist:
        """Return what ``train_specialist`` wrote."""
        start = _kept(self.start)
        saved = load_specialist(folder, factory=ModelFactory(self.spec, lambda: copy.deepcopy(start)))
        class_set = list(self.samples.class_names[:-1])
        return TrainedSpecialist(
            module=as_specialist(saved.module, saved, class_set=class_set),
            class_set=class_set,
            dustbin_offset=self.dustbin_offset,
            selected_epoch=saved.extra["selected_epoch"],
            history=[decode_plain(EpochRecord, one, f"{folder}, history") for one in saved.extra["history"]],
            elapsed_seconds=saved.extra["elapsed_seconds"],
            environment=saved.extra.get("environment", {}),  # not kept by earlier versions
            folder=folder if is_kept else None,
            was_there=was_there,
        )


def train_specialist(folder: Path, specialty: Specialty, progress: Progress | None) -> None:
    """Train one specialist into a folder, from where an attempt before stopped: the work of a job."""
    checkpoint = folder / "checkpoint.pt"
    fitted = fit(
        copy.deepcopy(specialty.start),
        specialty.samples,
        specialty.objective,
        recipe=specialty.recipe,
        teacher=as_teacher(specialty.guide) if specialty.guide is not None else None,
        validation=specialty.validation,
        views=specialty.views,
        seed=specialty.seed,
        order=specialty.order,
        runtime=specialty.runtime,
        name=folder.name.partition(".")[0].rpartition("-")[0],
        checkpoint=checkpoint,
        events=EventLog(folder / "events.jsonl"),
        progress=progress,
    )
    save_model(
        folder,
        _kept(fitted.student),
        spec=specialty.spec,
        input_shape=specialty.samples.input_shape,
        class_names=specialty.class_names,
        normalise=asdict(specialty.views.normalise) if specialty.views.normalise else None,
        role="specialist",
        extra={
            "generalist": specialty.generalist,
            "variant": "full_softmax" if isinstance(specialty.start, FullSoftmaxSpecialist) else "dustbin",
            "dustbin_offset": specialty.dustbin_offset,
            "identity": specialty.identity(),
            "selected_epoch": fitted.selected_epoch,
            "elapsed_seconds": fitted.elapsed_seconds,
            "environment": plain(environment_facts(specialty.runtime)),
            "history": [asdict(record) for record in fitted.history],
        },
    )
    checkpoint.unlink(missing_ok=True)


def load_specialist(folder: Path, *, factory: ModelFactory | None = None) -> SavedModel:
    """Load a specialist that ``train_specialists`` saved.

    Args:
        folder: of its own.
        factory: of a network that is not of the zoo.
    Raises:
        ModelError: another kind of network, or a damaged one.
    """
    saved = load_model(folder, factory=factory)
    if "generalist" not in saved.extra:
        raise ModelError(f"{folder} holds no specialist.", expected="a folder that train_specialists wrote")
    return saved


def as_specialist(module: nn.Module, saved: SavedModel, *, class_set: Sequence[str]) -> nn.Module:
    """Return a module that gives the logits of a class set and a dustbin, in eval mode, of whatever variant it is.

    Args:
        module: the saved network, or what adapts its inputs.
        saved: as it was loaded.
        class_set: names, in the order of the logits.
    Raises:
        ModelError: an unknown variant.
        InvalidValue, UnknownName: a set that is none of the network's classes.
    """
    variant = saved.extra.get("variant", "dustbin")
    if variant not in VARIANTS:
        raise ModelError("This specialist is of an unknown variant.", received=variant, expected=" or ".join(VARIANTS))
    if variant == "dustbin":
        return module
    (numbers,) = class_set_numbers([list(class_set)], num_classes=len(saved.class_names), class_names=saved.class_names)
    return FullSoftmaxSpecialist(module, numbers).eval()


def _kept(network: nn.Module) -> nn.Module:
    """Return what is saved of a specialist: the network of all classes where it keeps the full softmax."""
    return network.network if isinstance(network, FullSoftmaxSpecialist) else network
