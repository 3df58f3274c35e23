"""The teachers of a job: given ones are frozen, named ones are trained on the labels first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from limbeck.distillation.experiment import Experiment as Workbench
from limbeck.distillation.sources import Network, NetworkSource, network_from
from limbeck.distillation.splits import JobData
from limbeck.distillation.trained import PooledNetwork, TrainedNetwork
from limbeck.errors import TeacherError
from limbeck.models import check_output
from limbeck.objectives import HardLabels
from limbeck.settings import TaughtSettings
from limbeck.teachers import EnsembleTeacher, ModuleTeacher, SpecialistsTeacher, Teacher, as_teacher, check_weights

TeacherSource = Teacher | Tensor | NetworkSource


@dataclass(frozen=True, eq=False)
class Staff:
    """Teachers at work.

    ``teacher`` is the one that the student sees: the only one, or the ensemble. ``networks`` is what can be measured of
    them: the teacher, and behind an ensemble its members; nothing of a teacher that only has stored logits.
    """

    teacher: Teacher
    networks: list[TrainedNetwork]
    notes: list[str]


def teacher_sources(
    teachers: TeacherSource | Sequence[TeacherSource],
    *,
    data: JobData,
    settings: TaughtSettings,
    has_store: bool = False,
) -> list[Teacher | Network]:
    """Return ready teachers and networks still to be trained, checked as far as they can be before anything is trained.

    Raises:
        TeacherError: none at all, weights that do not fit, or a ready teacher whose classes are not the data's, or that
            cannot see augmented views.
    """
    given = list(teachers) if isinstance(teachers, Sequence) and not isinstance(teachers, str) else [teachers]
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
    for source in sources:
        if isinstance(source, Teacher):
            _check_ready(source, data, settings)
    return sources


def _source(item: TeacherSource) -> Teacher | Network:
    if isinstance(item, (Teacher, Tensor, nn.Module)):
        return as_teacher(item)
    return network_from(item)


def _check_ready(teacher: Teacher, data: JobData, settings: TaughtSettings) -> None:
    for module in _answering_modules(teacher):
        check_output(module, input_shape=data.train.input_shape, num_classes=data.train.num_classes)
    if teacher.num_classes not in (None, data.train.num_classes):
        raise TeacherError(
            f"The teacher {teacher.name} knows other classes than the data.",
            received=f"{teacher.num_classes} classes",
            expected=f"{data.train.num_classes} classes, in the data's order",
        )
    if settings.augmentations and not teacher.answers_any_view and teacher.num_views is None:
        raise TeacherError(
            f"The teacher {teacher.name} has answers for the clean view only.",
            received="augmentations " + ", ".join(settings.augmentations),
            expected="targets of the very pixels that the student sees",
            remedy="leave the augmentations out, or give the teacher's network",
        )

    if not teacher.answers_any_view and teacher.num_views != settings.num_views:
        raise TeacherError(
            f"The teacher {teacher.name} has answers for another number of views.",
            received=f"num_views {settings.num_views}",
            expected=f"num_views {teacher.num_views}",
        )


def _answering_modules(teacher: Teacher) -> tuple[nn.Module, ...]:
    """Return the modules that answer with all classes: of a committee, the generalist's."""
    if isinstance(teacher, SpecialistsTeacher):
        return _answering_modules(teacher.generalist)
    if isinstance(teacher, EnsembleTeacher):
        return tuple(module for member in teacher.teachers for module in _answering_modules(member))
    return teacher.modules


def hire(sources: Sequence[Teacher | Network], bench: Workbench, settings: TaughtSettings) -> Staff:
    """Train what is to be trained, freeze everything, and pool several teachers into one."""
    members: list[Teacher] = []
    networks: list[TrainedNetwork] = []
    notes: list[str] = []
    for index, source in enumerate(sources):
        role = "teacher" if len(sources) == 1 else f"member {index + 1}"
        if isinstance(source, Teacher):
            members.append(source)
            if source.answers_any_view:
                networks.append(TrainedNetwork(role, source.name, None, "given", _as_module(source, bench)))
            else:
                notes.append(f"{source.name}: these answers hold for training samples only and were not tested.")
        else:
            networks.append(_train(source, role, bench, settings, seed=settings.teacher_seed + index))
            members.append(ModuleTeacher(networks[-1].module, name=source.name))
    if len(members) == 1:
        return Staff(members[0], networks, notes)
    ensemble = EnsembleTeacher(members, weights=settings.teacher_weights, pooling=settings.pooling)
    if ensemble.answers_any_view:
        origin = f"pooled ({settings.pooling} mean)"
        networks.insert(0, TrainedNetwork("teacher", ensemble.name, None, origin, _as_module(ensemble, bench)))
    return Staff(ensemble, networks, notes)


def _as_module(teacher: Teacher, bench: Workbench) -> nn.Module:
    module = teacher.modules[0] if isinstance(teacher, ModuleTeacher) else PooledNetwork(teacher)
    return module.to(bench.runtime.device)


def _train(network: Network, role: str, bench: Workbench, settings: TaughtSettings, *, seed: int) -> TrainedNetwork:
    augmentations = settings.teacher_augmentations
    trained = bench.train_network(
        network,
        role=role,
        seed=seed,
        samples=bench.data.labelled,
        objective=HardLabels(),
        recipe=settings.teacher_recipe or settings.recipe,
        augmentations=settings.augmentations if augmentations is None else augmentations,
    )
    bench.save_network(trained, f"teachers/{role.replace(' ', '')}")
    return trained
