"""The teachers of a job: given ones are frozen, named ones are trained on the labels first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from limbeck.data import Normalise, Views
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.sources import Network, NetworkSource, network_from
from limbeck.distillation.splits import JobData
from limbeck.distillation.trained import PooledNetwork, TrainedNetwork
from limbeck.distillation.weighting import require_choosable, weights_on, weights_text
from limbeck.errors import TeacherError
from limbeck.objectives import objective_of_labels
from limbeck.settings import TeacherSettings
from limbeck.teachers import (
    EnsembleTeacher,
    LogitsTeacher,
    ModuleTeacher,
    Teacher,
    as_teacher,
    check_weights,
    is_teacher,
    over_classes,
)
from limbeck.teachers.trial import try_out

TeacherSource = Teacher | Tensor | NetworkSource | Any
"""What ``as_teacher`` takes without options, or a network that is trained here first."""


@dataclass(frozen=True, eq=False)
class PreparedTeachers:
    """The teachers of a job.

    ``teacher`` is the one that the student sees: the only one, or the ensemble. ``members`` is what can be measured of
    them: the teacher, and behind an ensemble its members; nothing of a teacher that only has stored logits.
    """

    teacher: Teacher
    members: list[TrainedNetwork]
    notes: list[str]
    device: torch.device

    @property
    def networks(self) -> list[TrainedNetwork]:
        """The members, on the job's device, from which they were taken once their soft targets were collected."""
        for network in self.members:
            network.module.to(self.device)
        return self.members


def teacher_sources(
    teachers: TeacherSource | Sequence[TeacherSource],
    *,
    data: JobData,
    settings: TeacherSettings,
    normalise: Normalise | None,
    has_store: bool = False,
) -> list[Teacher | Network]:
    """Return ready teachers and networks still to be trained, checked as far as they can be before anything is trained.

    Raises:
        TeacherError: none at all, weights that do not fit, or a ready teacher whose classes are not the data's, or that
            cannot see augmented views.
    """
    given = (
        list(teachers) if isinstance(teachers, Sequence) and not isinstance(teachers, (str, nn.Module)) else [teachers]
    )
    if has_store and not all(isinstance(_source(item), Teacher) for item in given):
        raise TeacherError(
            "A store of soft targets belongs to teachers that are trained already.",
            received="a teacher that is still to be trained",
            expected="the teachers that the store was made of, or none",
        )
    if not given and not has_store:
        raise TeacherError("A distillation needs a teacher.", received="none", expected="at least one")
    if settings.teacher_weights is not None and given:
        check_weights(settings.teacher_weights, num_teachers=len(given))
    sources = [_source(item) for item in given]
    if settings.maps_classes and not has_store and not any(isinstance(source, Teacher) for source in sources):
        raise TeacherError(
            "Class names and a class map belong to trained teachers.",
            received="teachers that are trained here, on the data's own classes",
            expected="a trained teacher, or no class map",
        )
    ready = [
        over_classes(source, data.train.class_names, settings) if isinstance(source, Teacher) else source
        for source in sources
    ]
    for source in ready:
        if isinstance(source, Teacher):
            _check_ready(source, data, settings, normalise=normalise)
    _check_weighting(ready, data, settings, has_store=has_store)
    return ready


def _source(item: TeacherSource) -> Teacher | Network:
    return as_teacher(item) if is_teacher(item) else network_from(cast(NetworkSource, item))


def _check_ready(teacher: Teacher, data: JobData, settings: TeacherSettings, *, normalise: Normalise | None) -> None:
    _check_rows(teacher, data)
    if teacher.reads_inputs and teacher.runs:
        try_out(teacher, data.train, Views(normalise=normalise))
    if teacher.num_classes not in (None, data.train.num_classes):
        raise TeacherError(
            f"The teacher {teacher.name} knows other classes than the data.",
            received=f"{teacher.num_classes} classes",
            expected=f"{data.train.num_classes} classes, in the data's order",
        )
    if settings.augmentations and not teacher.reads_inputs and teacher.num_views is None:
        raise TeacherError(
            f"The teacher {teacher.name} has outputs for the clean view only.",
            received="augmentations " + ", ".join(settings.augmentations),
            expected="targets of the very pixels that the student sees",
            remedy="leave the augmentations out, or give the teacher's network",
        )

    if not teacher.reads_inputs and teacher.num_views != settings.num_views:
        raise TeacherError(
            f"The teacher {teacher.name} has outputs for another number of views.",
            received=f"num_views {settings.num_views}",
            expected=f"num_views {teacher.num_views}",
        )


def _check_rows(teacher: Teacher, data: JobData) -> None:
    """Raise TeacherError where a matrix without ids has not one row for each sample that was given."""
    matrices = [member for member in teacher.members if isinstance(member, LogitsTeacher) and not member.has_ids]
    given = _num_given(data) if matrices else 0
    for matrix in matrices:
        if matrix.num_rows != given:
            raise TeacherError(
                f"{matrix.name[:1].upper()}{matrix.name[1:]}: not one row for each sample.",
                received=f"{matrix.num_rows} rows for {given} samples",
                expected="row i is that of sample id i, as many rows as samples",
                remedy="say whose rows they are: as_teacher(matrix, ids=ids), one id a row",
            )


def _num_given(data: JobData) -> int:
    """Return how many samples the training set had before validation and test sets were held out of it."""
    ids, count = set(data.train.ids.tolist()), len(data.train)
    for split in (data.validation, data.test):
        if split is not None and ids.isdisjoint(split.ids.tolist()):
            ids.update(split.ids.tolist())
            count += len(split)
    return count


def prepare_teachers(
    sources: Sequence[Teacher | Network], context: Experiment, settings: TeacherSettings
) -> PreparedTeachers:
    """Train what is to be trained, freeze everything, and pool several teachers into one."""
    members: list[Teacher] = []
    networks: list[TrainedNetwork] = []
    notes: list[str] = []
    for index, source in enumerate(sources):
        role = "teacher" if len(sources) == 1 else f"member {index + 1}"
        if isinstance(source, Teacher):
            members.append(source)
            notes += source.notes
            if source.reads_inputs:
                networks.append(TrainedNetwork(role, source.name, None, "given", _as_module(source, context)))
                if not source.modules:
                    notes.append(f"{source.name} cannot be looked into: its parameters, bytes and FLOPs are not known.")
                if not context.data.has_own_test:
                    notes.append(
                        f"The test samples were held out of the data. If {source.name} was fitted to all of it, it has "
                        "seen them, and its own test figures are too good."
                    )
            else:
                notes.append(f"{source.name}: these outputs hold for training samples only and were not tested.")
        else:
            networks.append(_train(source, role, context, settings, seed=settings.teacher_seed + index))
            members.append(ModuleTeacher(networks[-1].module, name=source.name))
    if len(members) == 1:
        return PreparedTeachers(members[0], networks, notes, context.runtime.device)
    weights = settings.teacher_weights
    if settings.teacher_weighting != "equal":
        weights = _chosen_weights(members, context, settings)
        notes.append(f"Teachers' weights, {settings.teacher_weighting} on validation: {weights_text(weights)}.")
    ensemble = EnsembleTeacher(
        members,
        weights=weights,
        pooling=settings.pooling,
        independent=context.data.train.task == "multi_label",
    )
    if ensemble.reads_inputs:
        origin = f"pooled ({settings.pooling} mean)"
        networks.insert(0, TrainedNetwork("teacher", ensemble.name, None, origin, _as_module(ensemble, context)))
    return PreparedTeachers(ensemble, networks, notes, context.runtime.device)


def _chosen_weights(members: Sequence[Teacher], context: Experiment, settings: TeacherSettings) -> list[float]:
    """Return the members' weights as validation has them."""
    modules = [_as_module(member, context) for member in members]
    weights = weights_on(
        modules, settings.teacher_weighting, context.data.choosing, context.clean_views(), pooling=settings.pooling,
        runtime=context.runtime,
    )  # fmt: skip
    assert weights is not None, "not equal ones"
    return weights


def _check_weighting(
    sources: Sequence[Teacher | Network], data: JobData, settings: TeacherSettings, *, has_store: bool
) -> None:
    """Raise where validation cannot choose the teachers' weights as the settings say."""
    if settings.teacher_weighting == "equal":
        return
    blind = [source.name for source in sources if isinstance(source, Teacher) and not source.reads_inputs]
    if settings.teacher_weights is not None or has_store or blind or len(sources) < 2:
        received = f"{len(sources)} teacher(s)"
        if settings.teacher_weights is not None:
            received = "teacher_weights, too"
        elif has_store or blind:
            received = "a store of soft targets" if has_store else ", ".join(blind) + ", which cannot see them"
        raise TeacherError(
            f"Weights of teachers cannot be chosen on validation samples ({settings.teacher_weighting}).",
            received=received,
            expected="two teachers or more that can be run on validation samples, and no weights",
            remedy="give the weights (--teacher-weights), or leave --teacher-weighting out",
        )
    require_choosable(data.choosing, what="the teachers' weights")


def _as_module(teacher: Teacher, context: Experiment) -> nn.Module:
    """Return what is measured of a teacher: its network, where that says the same as the teacher."""
    is_network = isinstance(teacher, ModuleTeacher) and teacher.is_its_network
    module = teacher.modules[0] if is_network else PooledNetwork(teacher)
    return module.to(context.runtime.device)


def _train(network: Network, role: str, context: Experiment, settings: TeacherSettings, *, seed: int) -> TrainedNetwork:
    augmentations = settings.teacher_augmentations
    trained = context.train_network(
        network,
        role=role,
        seed=seed,
        samples=context.data.labelled,
        objective=objective_of_labels(context.data.train.task),
        recipe=settings.teacher_recipe or settings.recipe,
        augmentations=settings.augmentations if augmentations is None else augmentations,
    )
    context.save_network(trained, f"teachers/{role.replace(' ', '')}")
    return trained
