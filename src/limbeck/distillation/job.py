"""``distill``: teachers, baseline and student over several seeds, measured once on the test set.

The data's way: splits -> teachers (trained, loaded or given) -> their logits once where every view is the clean one ->
for each seed the baseline and the distilled student, from the same initial weights, in the same order, for the same
number of steps -> one reading of the test set -> record -> report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from torch import Tensor, nn

from limbeck.data import Samples, Views
from limbeck.distillation.arguments import DistillJob, job
from limbeck.distillation.costs import first_inputs
from limbeck.distillation.dark_knowledge import dark_knowledge
from limbeck.distillation.dry_run import dry_run
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.prepared_teachers import PreparedTeachers, TeacherSource, prepare_teachers, teacher_sources
from limbeck.distillation.result import RunResult
from limbeck.distillation.runs import evaluate_all, finish_run, open_run
from limbeck.distillation.sources import Network
from limbeck.distillation.splits import job_data
from limbeck.distillation.students import (
    DISTILLED,
    check_fusible,
    comparisons,
    deployed,
    fuse_students,
    role_of,
    student_networks,
    train_students,
)
from limbeck.distillation.target_source import choose_target_source, open_store
from limbeck.distillation.trained import TrainedNetwork
from limbeck.errors import DataError, StoreError, TeacherError
from limbeck.inputs import move
from limbeck.teachers import Teacher, as_teacher
from limbeck.training import predict


@job(DistillJob)
def distill(settings: DistillJob) -> RunResult:
    r"""Distil teachers into a student, beside the same student trained on labels alone, over several seeds.

    .. math:: L = w_{soft}\, T^2\, \overline{KL(p \| q)} + w_{hard}\, \overline{CE(y, q_{T=1})}

    A store is refused where it is of other samples, views, classes or teachers; with one, teachers may be left out, and
    are not measured. With ``num_views`` the teacher's outputs are collected once for all passes; without, augmentation
    makes it run in every step. Several students with ``fuse`` learn each for itself from the same soft targets, and the
    weighted mean of their outputs is the network that is returned. With ``out`` a stopped job goes on from the folder.

    Returns:
        The student of the seed that validation chose, and the record of everything.
    Raises:
        LimbeckError: settings, data, networks or folder that cannot be used; nothing has been trained then.
        TrainingDiverged: a loss became NaN or infinite.
    References:
        Hinton, Vinyals, Dean 2015, arXiv:1503.02531.
    """
    store = settings.store
    if settings.train is None:
        raise DataError(
            "distill needs a training set.", remedy="pass train=(inputs, labels), or limbeck.load_data(...)"
        )
    data = job_data(settings.train, settings, name_classes=partial(_class_names, settings.teachers))
    networks = student_networks(settings)
    check_fusible(networks, data, settings)
    starts = {
        role_of("student", number, len(networks)): data.build(network, seed=settings.seed_numbers[0])
        for number, network in enumerate(networks)
    }
    sources = teacher_sources(
        settings.teachers, data=data, settings=settings, normalise=settings.normalise, has_store=store is not None
    )
    untrained = [source.name for source in sources if isinstance(source, Network)]
    if untrained and not data.has_labels:
        raise TeacherError(
            "A teacher that is trained here needs labels.",
            received=f"{', '.join(untrained)}, and a training set without labels",
            expected="a trained teacher",
            remedy="train it on labelled data first, with limbeck.train, and pass the network",
        )
    students = networks[0].name if len(networks) == 1 else [network.name for network in networks]
    names = {"data": data.name, "student": students, "teachers": [source.name for source in sources]}
    experiment = open_run(data, settings, names=names, function="distill", takes_ranks=True)
    stored = None if store is None else open_store(store, experiment, settings, sources)
    dry_run(experiment, {**starts, **{f"teacher {source.name}": source for source in sources}})
    experiment.directory.begin()
    given = sources if stored is None or sources else [stored]
    prepared = prepare_teachers(given, _of_whole_networks(experiment), settings)
    target_source = choose_target_source(stored or prepared.teacher, experiment, settings)
    experiment.results.notes += [*prepared.notes, *target_source.notes]
    if any(network.shares_start for network in networks):
        experiment.results.note("The student was given as a module: every seed starts from its weights.")
    trained = train_students(experiment, networks, target_source.teacher, settings)
    fused = fuse_students(experiment, trained, count=len(networks), settings=settings)
    return _finish(experiment, prepared, trained, fused, settings)


def _of_whole_networks(experiment: Experiment) -> Experiment:
    """Return the same experiment for teachers: networks that are whole on each rank, whatever students are."""
    runtime = replace(experiment.runtime, student_sharding="none")
    return replace(experiment, runtime=runtime, cache=replace(experiment.cache, runtime=runtime))


def _finish(
    experiment: Experiment,
    prepared: PreparedTeachers,
    students: list[TrainedNetwork],
    fused: list[TrainedNetwork],
    settings: DistillJob,
) -> RunResult:
    """Prove the teacher unchanged, read the test set once, and write the record."""
    prepared.teacher.check_unchanged()
    data, views = experiment.data, experiment.clean_views()
    teacher_logits = _teacher_logits(experiment, prepared)
    candidates = deployed(experiment, fused) if fused else [one for one in students if one.role == DISTILLED]
    networks, measurements = evaluate_all(
        experiment, [*prepared.networks, *students, *fused], teacher_logits=teacher_logits
    )
    return finish_run(
        experiment,
        "distill",
        candidates,
        seeds=settings.seed_numbers,
        networks=networks,
        measurements=measurements,
        dark=dark_knowledge(prepared.teacher, data, views, temperature=settings.temperature) if data.has_labels else (),
        comparisons=comparisons(len({student.role for student in students}) // 2) if data.has_labels else (),
    )


def _teacher_logits(experiment: Experiment, prepared: PreparedTeachers) -> Tensor | None:
    """Return the teacher's logits of the test samples, run or looked up by id; None where it has none of these."""
    test, views = experiment.data.test, experiment.clean_views()
    if prepared.networks and prepared.networks[0].role == "teacher":
        return predict(prepared.networks[0].module, test, views, runtime=experiment.runtime)
    if prepared.teacher.reads_inputs or prepared.teacher.num_views is not None or not experiment.data.test_is_held_out:
        return None
    try:
        return prepared.teacher(test.ids.cpu(), test.ids.cpu()).logits_at(1.0).float().cpu()
    except (TeacherError, StoreError):
        return None


def _class_names(teachers: TeacherSource | Sequence[TeacherSource], samples: Samples) -> list[str]:
    """Return "0", "1", ... for as many classes as a trained teacher knows.

    Raises:
        DataError: no teacher that is trained already.
    """
    given = teachers if isinstance(teachers, Sequence) and not isinstance(teachers, str) else [teachers]
    ready = [as_teacher(item) for item in given if isinstance(item, (Teacher, Tensor, nn.Module))]
    if not ready:
        raise DataError(
            "Nothing says which classes there are.",
            received="a training set without labels, and no trained teacher",
            expected="class names, or a trained teacher",
            remedy="pass class_names=[...], in the order of the teacher's outputs",
        )
    if ready[0].num_classes is None:
        inputs = first_inputs(samples, Views(), count=2)
        devices = [parameter.device for module in ready[0].modules for parameter in module.parameters()]
        ready[0](samples.ids[:2].cpu(), move(inputs, next(iter(devices), None)))
    return [str(number) for number in range(ready[0].num_classes or 0)]
