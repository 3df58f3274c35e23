"""Trained networks in folders named by the hash of everything that decides their weights."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from limbeck.distillation.measure import TrainedNetwork
from limbeck.distillation.run_directory import plain
from limbeck.errors import ModelError
from limbeck.jobs import Job
from limbeck.jobs.job import KEY_DIGITS
from limbeck.jobs.work import make
from limbeck.models import ModelFactory, load_model, save_model
from limbeck.objectives import MutualLearning
from limbeck.recipes.task import Task
from limbeck.records import EpochRecord, decode_plain, make_folder
from limbeck.training import EventLog, FitResult, Progress, Runtime, environment_facts, fit, fit_cohort, fit_stacked

CHECKPOINT = "checkpoint.pt"
EVENTS = "events.jsonl"


@dataclass(frozen=True)
class Shelf:
    """Where the networks of recipes stand, shared by recipes that train the same ones.

    ``FOLDER/NAME-seedS-KEY/`` is a saved model (``limbeck evaluate`` and ``--teacher`` take it) with its events; KEY
    hashes the task's identity, which ``model.json`` repeats in full. It is the folder of a job (``limbeck.jobs``):
    renamed into its place when all is written; until then it ends in ``.partial``, is locked by the process that trains
    it, and holds the checkpoint that a killed training goes on from.
    """

    folder: Path
    runtime: Runtime

    def place(self, task: Task) -> Path:
        """Return the folder of a task's network, whether it is there or not."""
        return self._job(task, self._train).place(self.folder)

    def has(self, task: Task) -> bool:
        """Whether the network is trained."""
        return self.place(task).is_dir()

    def train(self, task: Task, progress: Progress) -> None:
        """Train a network that is missing, from where an earlier process was stopped.

        Where another process trains the same one, this one waits and finds it.

        Raises:
            OutputError: the folder cannot be written.
        """
        make(self._job(task, self._train, progress), self.folder)

    def _train(self, workplace: Path, task: Task, progress: Progress) -> None:
        fitted = fit(
            task.student,
            task.samples,
            task.objective,
            recipe=task.recipe,
            teacher=task.teacher,
            validation=task.validation,
            views=task.views,
            num_views=task.num_views,
            seed=task.seed,
            steps_per_epoch=task.steps_per_epoch,
            runtime=self.runtime,
            name=f"{task.name}-seed{task.seed}",
            checkpoint=workplace / CHECKPOINT,
            events=EventLog(workplace / EVENTS),
            progress=progress,
        )
        self._save(workplace, task, fitted)

    def train_together(self, tasks: Sequence[Task], progress: Progress) -> None:
        """Train missing networks of one shape, that share samples, recipe and validation, in one pass."""
        fitted = fit_stacked(
            [task.student for task in tasks],
            tasks[0].samples,
            [task.objective for task in tasks],
            recipe=tasks[0].recipe,
            teacher=next((task.teacher for task in tasks if task.teacher), None),
            validation=tasks[0].validation,
            views=[task.views for task in tasks],
            seeds=[task.seed for task in tasks],
            runtime=self.runtime,
            name=f"{len(tasks)} x {tasks[0].name}",
            progress=progress,
        )
        for task, result in zip(tasks, fitted, strict=True):
            self.put(task, replace(result, elapsed_seconds=result.elapsed_seconds / len(tasks)))

    def train_cohort(self, tasks: Sequence[Task], *, update: str, progress: Progress) -> None:
        """Train the members of a cohort, all of them, from where an earlier process was stopped.

        They have one workplace while they learn, of which each member's folder gets the events. A member that is there
        already is left as it is.
        """
        first, objective = tasks[0], tasks[0].objective
        assert isinstance(objective, MutualLearning), "peers learn from each other"
        key = hashlib.sha256(" ".join(task.key for task in tasks).encode()).hexdigest()[:KEY_DIGITS]
        name = f"{first.name.rpartition('-')[0]}-seed{first.seed}"
        workplace = make_folder(self.folder / f"{name}-cohort-{key}.partial", remedy="choose another --networks folder")
        fitted = fit_cohort(
            [task.student for task in tasks],
            first.samples,
            objective,
            recipe=[task.recipe for task in tasks],
            update=update,
            teacher=first.teacher,
            validation=first.validation,
            views=first.views,
            num_views=first.num_views,
            seed=first.seed,
            steps_per_epoch=first.steps_per_epoch,
            runtime=self.runtime,
            name=name,
            checkpoint=workplace / CHECKPOINT,
            events=EventLog(workplace / EVENTS),
            progress=progress,
        )
        for task, result in zip(tasks, fitted.members, strict=True):
            own = replace(result, elapsed_seconds=result.elapsed_seconds / len(tasks))
            self.put(task, own, events=workplace / EVENTS)
        shutil.rmtree(workplace, ignore_errors=True)

    def put(self, task: Task, fitted: FitResult, *, events: Path | None = None) -> None:
        """Save a trained network, and a copy of the events of its training, unless it is there already.

        Raises:
            OutputError: the folder cannot be written.
        """
        make(self._job(task, self._save, fitted, events), self.folder)

    def _save(self, workplace: Path, task: Task, fitted: FitResult, events: Path | None = None) -> None:
        save_model(
            workplace,
            fitted.student,
            spec=task.network.name,
            input_shape=task.samples.input_shape,
            class_names=task.samples.class_names,
            normalise=asdict(task.views.normalise) if task.views.normalise else None,
            role=task.name,
            extra={
                "identity": task.identity,
                "elapsed_seconds": fitted.elapsed_seconds,
                "selected_epoch": fitted.selected_epoch,
                "environment": plain(environment_facts(self.runtime)),
                "history": [asdict(record) for record in fitted.history],
            },
        )
        if events is not None:
            with contextlib.suppress(OSError):  # a cohort that was done already may have lost its log
                shutil.copyfile(events, workplace / EVENTS)
        with contextlib.suppress(OSError):
            (workplace / CHECKPOINT).unlink(missing_ok=True)

    def _job(self, task: Task, work: Callable[..., None], *arguments: object) -> Job:
        return Job(f"{task.name}-seed{task.seed}", task.key, work, (task, *arguments))

    def get(self, task: Task) -> tuple[TrainedNetwork, dict[str, Any]]:
        """Return a trained network on the runtime's device, and the facts of its training's environment.

        Raises:
            ModelError: the folder is damaged, or of another identity.
        """
        place = self.place(task)
        factory = ModelFactory(task.network.name, lambda: task.student)
        try:
            saved = load_model(place, factory=factory)
            if saved.extra.get("identity") != task.identity:
                raise ModelError(f"{place} holds the network of another task.", received="an identity that differs")
        except ModelError as error:
            error.remedy = f"delete {place} to train this network again"
            raise
        history = [decode_plain(EpochRecord, epoch, f"{place}, history") for epoch in saved.extra["history"]]
        trained = TrainedNetwork(
            role=task.name,
            name=task.network.name,
            seed=task.seed,
            origin=f"trained in {place.name}",
            module=saved.module.to(self.runtime.device),
            selected_epoch=saved.extra["selected_epoch"],
            history=history,
            elapsed_seconds=saved.extra["elapsed_seconds"],
        )
        return trained, saved.extra["environment"]
