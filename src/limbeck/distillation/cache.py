"""Trained networks in folders named by the hash of everything that decides their weights."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from limbeck.distillation.codec import (
    CHECKPOINT,
    EVENTS,
    load_trained,
    on_every_rank,
    save_trained,
    trained_together,
)
from limbeck.distillation.task import TrainingTask
from limbeck.distillation.trained import TrainedNetwork
from limbeck.errors import OutputError
from limbeck.jobs import Job, run_jobs
from limbeck.jobs.job import KEY_DIGITS
from limbeck.jobs.work import held, make
from limbeck.objectives import MutualLearning
from limbeck.records import make_folder, remove_stale
from limbeck.training import (
    EventLog,
    FitResult,
    Progress,
    Runtime,
    SilentProgress,
    fit,
    fit_cohort,
    fit_stacked,
)


@dataclass(frozen=True)
class NetworkCache:
    """Trains networks and keeps them: what is there is loaded, what was stopped goes on, the rest is trained.

    ``FOLDER/TITLE-KEY/`` is a saved model (``limbeck evaluate`` and ``--teacher`` take it) with its events; KEY hashes
    the task's identity, which ``model.json`` repeats in full. It is the folder of a job (``limbeck.jobs``): renamed
    into its place when all is written; until then it ends in ``.partial``, is locked by the process that trains it, and
    holds the checkpoint that a killed training goes on from.

    Args:
        folder: of networks; None keeps nothing.
        runtime: device and precision.
        progress: what a person sees.
        events: one log for all; each network gets its own, in its folder, where not given.
        is_shared: whether other runs use the folder. In a run's own folder a network of the same title and another
            identity means that something changed since the run was stopped, and is refused.
    """

    folder: Path | None
    runtime: Runtime
    progress: Progress
    events: Path | None = None
    is_shared: bool = True

    def train(self, task: TrainingTask) -> TrainedNetwork:
        """Return a network: loaded, or trained from where an earlier process was stopped.

        Where another process trains the same one, this one waits and loads it.

        Raises:
            OutputError: the folder cannot be written, or is a run's own and holds the network of another run.
            ModelError: the network that is there is damaged.
        """
        return replace(self._train(task), is_sharded=self.runtime.shards_students)

    def _train(self, task: TrainingTask) -> TrainedNetwork:
        if self.folder is None:
            return TrainedNetwork.in_memory(task, _fitted(task, self.runtime, None, self.events, self.progress))
        ranks = self.runtime.ranks
        was_cached = ranks.from_first(lambda: self.has(task))
        if not was_cached:
            self._train_on_ranks(task, self.folder)
        return on_every_rank(lambda: self._load(task, was_cached=was_cached), task, self.runtime)

    def _train_on_ranks(self, task: TrainingTask, folder: Path) -> None:
        """Train a network on all ranks, unless another process has put it in its place when the first may begin."""
        ranks = self.runtime.ranks
        if not ranks.is_first:
            if ranks.from_first(lambda: True):
                _fitted(task, self.runtime, None, None, self.progress)
            return
        job, has_begun = self._job(task, self.progress), False

        def work(*arguments: Any) -> None:
            nonlocal has_begun
            has_begun = ranks.from_first(lambda: True)
            job.work(*arguments)

        make(replace(job, work=work), folder)
        if not has_begun:
            ranks.from_first(lambda: False)

    def train_as_jobs(
        self, tasks: Sequence[TrainingTask], *, jobs: str, threads_per_job: int | None, retries: int
    ) -> list[TrainedNetwork]:
        """Return networks of which each is a job of its own; see :func:`limbeck.jobs.run_jobs` for the arguments.

        Those of one title get the first digits of their keys behind it.

        Raises:
            JobsFailed: trainings that failed; the others are done.
            LimbeckError: see :meth:`train`.
        """
        assert self.folder is not None, "jobs leave their networks in folders"
        titles = Counter(task.title for task in tasks)
        tasks = [
            task if titles[task.title] == 1 else replace(task, title=f"{task.title}-{task.key[:6]}") for task in tasks
        ]
        shown = self.progress if jobs == "serial" else SilentProgress()  # others run where nobody looks
        outcomes = run_jobs(
            [self._job(task, shown) for task in tasks],
            self.folder,
            runner=jobs,
            threads_per_job=threads_per_job,
            retries=retries,
            progress=self.progress.say,
        )
        return [self._load(task, was_cached=done.was_cached) for task, done in zip(tasks, outcomes, strict=True)]

    def train_stacked(self, tasks: Sequence[TrainingTask]) -> list[TrainedNetwork]:
        """Return networks of one shape, samples, recipe and validation; those missing are trained in one pass."""
        wanted = self._in_one_pass(tasks)
        fitted: dict[TrainingTask, FitResult] = {}
        if wanted:
            results = fit_stacked(
                [task.student for task in wanted],
                wanted[0].samples,
                [task.objective for task in wanted],
                recipe=wanted[0].recipe,
                teacher=next((task.frozen_teacher for task in wanted if task.teacher), None),
                validation=wanted[0].validation,
                views=[task.views for task in wanted],
                seeds=[task.seed for task in wanted],
                steps_per_epoch=wanted[0].steps_per_epoch,
                runtime=self.runtime,
                name=f"{len(wanted)} x {wanted[0].name}",
                progress=self.progress,
            )
            fitted = dict(zip(wanted, results, strict=True))
        together = [task.key for task in wanted]
        return [self._put(task, fitted.get(task), together=together) for task in tasks]

    def _in_one_pass(self, tasks: Sequence[TrainingTask]) -> list[TrainingTask]:
        """Return the tasks that are missing, with those of a pass that was stopped while its networks were saved.

        A pass of those that it had not saved alone would round differently: its networks would be others than of one
        that was never stopped.
        """
        missing = {task.key for task in tasks if not self.has(task)}
        wanted = set(missing)
        for task in tasks if missing and self.folder is not None else ():
            if task.key not in missing and missing & (keys := set(trained_together(self._place(task)))):
                wanted |= keys
        return [task for task in tasks if task.key in wanted]

    def train_cohort(self, tasks: Sequence[TrainingTask], *, title: str, update: str) -> list[TrainedNetwork]:
        """Return the members of a cohort; where one is missing all are trained, from where they were stopped.

        They have one workplace while they learn, of which each member's folder gets the events. Where another process
        trains them, this one waits and loads them.
        """
        if self.folder is None:
            return self._trained_together(tasks, None, title=title, update=update)
        key = hashlib.sha256(" ".join(task.key for task in tasks).encode()).hexdigest()[:KEY_DIGITS]
        work_dir = self.folder / f"{title}-cohort-{key}.partial"
        while not all(self.has(task) for task in tasks):
            with held(make_folder(work_dir, remedy="choose another folder")) as is_ours:
                if is_ours and not all(self.has(task) for task in tasks):  # nobody trained them meanwhile
                    remove_stale(work_dir)
                    trained = self._trained_together(tasks, work_dir, title=title, update=update)
                    shutil.rmtree(work_dir, ignore_errors=True)
                    return trained
        if work_dir.is_dir():  # of a process that was killed once all were in their places
            with held(work_dir) as is_ours:
                if is_ours:
                    shutil.rmtree(work_dir, ignore_errors=True)
        return [self._load(task, was_cached=True) for task in tasks]

    def _trained_together(
        self, tasks: Sequence[TrainingTask], work_dir: Path | None, *, title: str, update: str
    ) -> list[TrainedNetwork]:
        first, objective = tasks[0], tasks[0].objective
        assert isinstance(objective, MutualLearning), "peers learn from each other"
        events = self.events or (work_dir / EVENTS if work_dir else None)
        fitted = fit_cohort(
            [task.student for task in tasks],
            first.samples,
            objective,
            recipe=[task.recipe for task in tasks],
            update=update,
            teacher=first.frozen_teacher,
            validation=first.validation,
            views=first.views,
            num_views=first.num_views,
            seed=first.seed,
            steps_per_epoch=first.steps_per_epoch,
            runtime=self.runtime,
            name=title,
            checkpoint=work_dir / CHECKPOINT if work_dir else None,
            events=EventLog(events),
            progress=self.progress,
        )
        own_events = events if self.events is None else None
        return [
            self._put(task, result, together=[one.key for one in tasks], events=own_events)
            for task, result in zip(tasks, fitted.members, strict=True)
        ]

    def _place(self, task: TrainingTask) -> Path:
        assert self.folder is not None, "networks are kept"
        return self.folder / f"{task.title}-{task.key}"

    def has(self, task: TrainingTask) -> bool:
        """Whether the network is trained."""
        if self.folder is None:
            return False
        if not self.is_shared:
            self._check_alone(task)
        return self._place(task).is_dir()

    def _check_alone(self, task: TrainingTask) -> None:
        assert self.folder is not None, "networks are kept"
        for other in self.folder.glob(f"{task.title}-{'?' * KEY_DIGITS}*"):
            if other.name.removesuffix(".partial") != self._place(task).name:
                raise OutputError(
                    f"{self.folder} holds another network named {task.title}: what decides its weights has changed.",
                    received=other.name,
                    expected=self._place(task).name,
                    remedy="choose another --out, or add --overwrite to remove the old run",
                )

    def _job(self, task: TrainingTask, progress: Progress) -> Job:
        return Job(task.title, task.key, train_into, (task, self.runtime, self.events, progress))

    def _put(
        self, task: TrainingTask, fitted: FitResult | None, *, together: Sequence[str], events: Path | None = None
    ) -> TrainedNetwork:
        """Save a network that was trained together with others, unless it is there already; load it."""
        if fitted is None:
            return self._load(task, was_cached=True)
        own = replace(fitted, elapsed_seconds=fitted.elapsed_seconds / len(together))
        if self.folder is None:
            return TrainedNetwork.in_memory(task, own)
        make(Job(task.title, task.key, save_trained, (task, own, self.runtime, events, together)), self.folder)
        return self._load(task, was_cached=False)

    def _load(self, task: TrainingTask, *, was_cached: bool) -> TrainedNetwork:
        return load_trained(self._place(task), task, device=self.runtime.place_of_students, was_cached=was_cached)


def train_into(folder: Path, task: TrainingTask, runtime: Runtime, events: Path | None, progress: Progress) -> None:
    """Train one network into a folder, from where an attempt before stopped: the work of a job."""
    fitted = _fitted(task, runtime, folder / CHECKPOINT, events or folder / EVENTS, progress)
    save_trained(folder, task, fitted, runtime)


def _fitted(
    task: TrainingTask, runtime: Runtime, checkpoint: Path | None, events: Path | None, progress: Progress
) -> FitResult:
    return fit(
        task.student,
        task.samples,
        task.objective,
        recipe=task.recipe,
        teacher=task.frozen_teacher,
        validation=task.validation,
        views=task.views,
        num_views=task.num_views,
        seed=task.seed,
        steps_per_epoch=task.steps_per_epoch,
        order=task.order,
        runtime=runtime,
        name=task.title,
        checkpoint=checkpoint,
        events=EventLog(events),
        progress=progress,
    )
