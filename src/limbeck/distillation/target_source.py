"""The soft targets that the students of a job learn from: looked up where every view can be shown again, else live."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from limbeck.data import Samples, Views
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.run_directory import TARGETS_FOLDER
from limbeck.distillation.sources import Network
from limbeck.errors import TeacherError
from limbeck.ranks.group import ALONE, Ranks
from limbeck.settings import TeacherSettings
from limbeck.targets import TargetStore
from limbeck.targets.reader import read_manifest
from limbeck.teachers import (
    CollectionProgress,
    StoreTeacher,
    Teacher,
    check_probe,
    classes_of_members,
    collect_logits,
    collect_on_ranks,
    gives_logits,
    is_nested,
    over_classes,
    pool_stored,
)
from limbeck.teachers.class_map import names_from
from limbeck.training import Progress


@dataclass(frozen=True, eq=False)
class TargetSource:
    """The teacher as the students see it, and what a reader must know of that."""

    teacher: Teacher
    notes: list[str]


def open_store(
    path: str | Path, context: Experiment, settings: TeacherSettings, sources: Sequence[Teacher | Network]
) -> Teacher:
    """Open a store of soft targets for this very job.

    Args:
        path: the store's folder.
        context: data and normalisation of the job.
        settings: views, weights and pooling of the job.
        sources: the job's, of which the trained teachers must be the store's; none where none were given.
    Raises:
        StoreError: a store of other samples, views, classes or teachers, or a damaged one; both values are shown.
    """
    fingerprints = [
        member.fingerprint for source in sources if isinstance(source, Teacher) for member in source.members
    ]
    names = context.data.train.class_names
    own_names = read_manifest(Path(path)).plan.class_names
    has_own_classes = settings.maps_classes and own_names != list(names)
    if has_own_classes and settings.teacher_class_names is not None:
        own_names = list(names_from(settings.teacher_class_names))
    store = TargetStore.open(
        path,
        samples=context.data.train,
        views=replayed_views(context, settings),
        teacher_fingerprints=fingerprints or None,
        class_names=own_names if has_own_classes else names,
    )
    if store.num_views != settings.num_views:
        raise TeacherError(
            f"The store {path} holds another number of views.",
            received=f"{store.num_views or 'the clean view'}",
            expected=f"{settings.num_views or 'the clean view'}",
            remedy=f"set num_views to {store.num_views}",
        )
    members: list[Teacher] = [StoreTeacher(store, member=member) for member in range(store.num_members)]
    if has_own_classes:
        members = [over_classes(member, names, settings) for member in members]
    return pool_stored(
        members,
        weights=settings.teacher_weights,
        pooling=settings.pooling,
        independent=context.data.train.task == "multi_label",
    )


def choose_target_source(teacher: Teacher, context: Experiment, settings: TeacherSettings) -> TargetSource:
    """Return a teacher whose soft targets are collected already where that is possible, and say which way it is.

    Where the job has a folder, they go to a store in it, which the job goes on with after a stop; otherwise those of
    clean views are kept in memory.
    """
    if not teacher.runs:
        return TargetSource(teacher, [f"Soft targets come from {teacher.name}; no teacher ran."])
    if reason := _why_live(teacher, context, settings):
        if context.directory.path is not None and context.directory.is_written:
            check_probe(context.directory.path, teacher.members, context.data.train, context.clean_views())
        return TargetSource(teacher, [f"{reason}, so the teacher runs in every step."])
    views, num_views = replayed_views(context, settings), settings.num_views
    differ = classes_of_members(teacher, context.data.train.class_names) is None
    if context.directory.path is None or is_nested(teacher) or differ:
        collected = collect_logits(teacher, context.data.train, views)
        _free(teacher)
        return TargetSource(collected, [_collected_once_note("in memory", 1, settings)])
    start = time.perf_counter()
    store = collect_visibly(
        teacher,
        context.data.train,
        views,
        context.directory.path / TARGETS_FOLDER,
        num_views=num_views,
        codec=settings.codec,
        precision=context.runtime.precision,
        progress=context.progress,
        ranks=context.runtime.ranks,
    )
    _free(teacher)
    where = f"in {TARGETS_FOLDER}/ ({store.num_bytes / 1e6:.1f} MB, {time.perf_counter() - start:.1f} s)"
    stored = teacher.pooled([StoreTeacher(store, member=member) for member in range(store.num_members)])
    return TargetSource(stored, [_collected_once_note(where, num_views or 1, settings)])


def _free(teacher: Teacher) -> None:
    """Take a teacher that has done its work off the accelerator, so that the student has the memory."""
    for module in teacher.modules:
        if any(parameter.device.type != "cpu" for parameter in module.parameters()):
            module.cpu()
            torch.cuda.empty_cache()


def _why_live(teacher: Teacher, context: Experiment, settings: TeacherSettings) -> str | None:
    """Return why a teacher's soft targets cannot be collected; None where they can."""
    train, num_views = context.data.train, settings.num_views
    if num_views is None and not context.views(settings.augmentations, seed=settings.view_seed).is_constant:
        return "Every pass shows a new view of each sample"
    if not train.is_replayable:
        return "The data set gives other inputs when read again"
    if num_views is not None and context.directory.path is None:
        return "There is no folder for a store of soft targets"
    if num_views is not None and classes_of_members(teacher, train.class_names) is None:
        return "The teachers know different classes, which one store cannot hold"
    if num_views is not None and is_nested(teacher):
        return "A store does not tell how an ensemble of ensembles is pooled"
    if teacher.gives_features:
        return f"{teacher.name} gives features, which are not stored"
    if not gives_logits(teacher, train, context.clean_views()):
        return f"The soft targets of {teacher.name} hold at one temperature only"
    return None


def replayed_views(context: Experiment, settings: TeacherSettings) -> Views:
    """Return the views that can be shown again: the clean one, or numbered ones of a seed that all runs share."""
    if settings.num_views is None:
        return context.clean_views()
    return context.views(settings.augmentations, seed=settings.view_seed)


@contextmanager
def showing_collection(progress: Progress) -> Iterator[Callable[[CollectionProgress], None]]:
    """Give what ``collect`` tells how far it has come, and show that as samples: those of earlier runs are done."""
    has_begun = False

    def report(done: CollectionProgress) -> None:
        nonlocal has_begun
        if not has_begun:
            for file in done.damaged:
                progress.say(f"{file} of the soft targets was damaged: it is written again")
            num_outputs = done.num_cached + done.num_records
            progress.begin("soft targets", num_steps=num_outputs, done_steps=done.num_cached, unit="samples")
            has_begun = True
        if done.num_done:
            speed = done.num_done / max(done.elapsed_seconds, 1e-9)
            progress.advance(done.num_cached + done.num_done, {}, samples_per_second=speed, data_wait=0.0)

    try:
        yield report
    finally:
        if has_begun:
            progress.end()


def collect_visibly(
    teacher: Teacher,
    samples: Samples,
    views: Views,
    folder: Path,
    *,
    num_views: int | None,
    codec: str,
    precision: str,
    progress: Progress,
    ranks: Ranks = ALONE,
) -> TargetStore:
    """Run a teacher over the samples once, or go on with that, and show how far it has come.

    The arguments are those of ``collect``; ranks share out the shards.
    """
    with showing_collection(progress) as report:
        return collect_on_ranks(
            teacher,
            samples,
            views,
            folder,
            ranks=ranks,
            num_views=num_views,
            codec=codec,
            precision=precision,
            progress=report,
        )


def _collected_once_note(where: str, num_views: int, settings: TeacherSettings) -> str:
    """Return the note that shows the break-even: teacher passes that were made against those that were saved."""
    num_passes = len(settings.seed_numbers) * settings.recipe.num_epochs
    of_views = "" if num_views == 1 else f" and each of {num_views} views"
    return (
        f"The teacher ran once for each sample{of_views}; its outputs are kept {where}. Running it in every step "
        f"would have taken {num_passes} passes over the data instead of {num_views}: the outputs pay off from pass "
        f"{num_views + 1} on."
    )
