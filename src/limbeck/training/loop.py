"""The training loop: one network, one objective, resumable to the bit.

The data's way through one step: positions of the epoch's order -> views -> batch -> student (and teacher, on the same
inputs) -> objective -> backward -> optimiser -> constraints -> averaged weights. Losses stay on the device and are read
once in a window of steps, so no step waits for the device.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import nn

from limbeck.data import UNLABELLED, Batch, Samples, Views, epoch_order, iterate_batches
from limbeck.errors import InvalidValue, TeacherError, TrainingDiverged
from limbeck.memory import keep_freed_memory
from limbeck.objectives import Objective, count_valid
from limbeck.records import EpochRecord
from limbeck.teachers import Teacher
from limbeck.training.checkpoint import load_checkpoint, save_checkpoint
from limbeck.training.evaluate import evaluate
from limbeck.training.identity import training_identity
from limbeck.training.interrupt import StopRequest, TrainingInterrupted, stop_requests
from limbeck.training.progress import EventLog, Progress, SilentProgress
from limbeck.training.recipe import Recipe
from limbeck.training.runtime import Runtime
from limbeck.training.schedule import learning_rate_at
from limbeck.training.state import TrainingState, Weights

CHECKPOINT_SECONDS = 60.0


@dataclass(frozen=True, eq=False)
class FitResult:
    """A trained network and how it got there.

    ``student`` holds the selected weights: of the epoch that validation chose, or the last where there is no
    validation.
    """

    student: nn.Module
    selected_weights: Weights
    last_weights: Weights
    selected_epoch: int
    history: list[EpochRecord]
    num_steps: int
    elapsed_seconds: float


def fit(
    student: nn.Module,
    train: Samples,
    objective: Objective,
    *,
    recipe: Recipe,
    teacher: Teacher | None = None,
    validation: Samples | None = None,
    views: Views | None = None,
    num_views: int | None = None,
    seed: int = 0,
    steps_per_epoch: int | None = None,
    runtime: Runtime | None = None,
    name: str = "student",
    checkpoint: Path | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    events: EventLog | None = None,
    progress: Progress | None = None,
) -> FitResult:
    """Train a network in place.

    Order, augmentation and dropout are functions of the seed alone; the initial weights are the caller's. Where the
    checkpoint file exists, training goes on from it, and on the CPU ends in the same weights, bit for bit, as if it had
    never stopped. The global random state is left as it was.

    Args:
        student: maps inputs (batch, ...) to logits (batch, classes); moved to the runtime's device.
        train: the samples; unlabelled ones serve objectives with a teacher.
        objective: what a step minimises.
        recipe: settings of the optimiser and the schedule.
        teacher: gives soft targets for the inputs that the student sees; needed where the objective says so.
        validation: chooses the epoch whose weights are kept: fewest errors, then the lower NLL.
        views: normalisation and augmentation; pass k over the data shows view k of each sample.
        num_views: show views 0 .. n - 1 in turn instead, so that a store can hold the targets of them all; the number
            that the teacher has answers for, where it is a store and nothing is given here.
        seed: of order, augmentation (through ``views.seed``, which is the caller's) and dropout.
        steps_per_epoch: steps between evaluations, one pass over ``train`` where not given. A baseline on few labels
            gets the step count of its distilled twin through this.
        runtime: device and precision; chosen automatically where not given.
        name: shown in progress, events and errors.
        checkpoint: file to keep the state in; without it a stopped run is lost.
        checkpoint_seconds: least time between two checkpoints.
        events: log of every scalar.
        progress: what a person sees.
    Returns:
        The student with its selected weights, and the history.
    Raises:
        TrainingDiverged: a loss became NaN or infinite; the last good checkpoint stays.
        TrainingInterrupted: Ctrl-C or SIGTERM; a checkpoint was written.
        TeacherError: no teacher where one is needed, or one that shares tensors with the student, cannot see augmented
            views, or changed.
        CheckpointError: the checkpoint is damaged or belongs to another run.
    """
    training = _Training(
        student=student,
        train=train,
        objective=objective,
        recipe=recipe,
        teacher=teacher if objective.needs_teacher else None,
        validation=validation,
        views=views or Views(),
        num_views=num_views if num_views is not None or teacher is None else teacher.num_views,
        seed=seed,
        steps_per_epoch=steps_per_epoch or count_batches(len(train), recipe.batch_size),
        runtime=runtime or Runtime.resolve(),
        name=name,
        checkpoint=checkpoint,
        checkpoint_seconds=checkpoint_seconds,
        events=events or EventLog(None),
        progress=progress or SilentProgress(),
    )
    devices = [training.runtime.device] if training.runtime.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), stop_requests() as stop:
        return training.run(stop)


@dataclass(eq=False, kw_only=True)
class _Training:
    """One run: its fixed side here, the side that changes in ``state``. The fields are the arguments of ``fit``."""

    student: nn.Module
    train: Samples
    objective: Objective
    recipe: Recipe
    teacher: Teacher | None
    validation: Samples | None
    views: Views
    num_views: int | None
    seed: int
    steps_per_epoch: int
    runtime: Runtime
    name: str
    checkpoint: Path | None
    checkpoint_seconds: float
    events: EventLog
    progress: Progress

    def __post_init__(self) -> None:
        check_teacher(self.objective, self.teacher, self.student, self.train, self.views)
        if self.runtime.device.type == "cpu":
            keep_freed_memory()
        for module in (self.student, *(self.teacher.modules if self.teacher else ())):
            module.to(self.runtime.device)
        self.batches_per_pass = count_batches(len(self.train), self.recipe.batch_size)
        self.all_labelled = bool((self.train.labels != UNLABELLED).all())
        self.num_steps = self.recipe.num_epochs * self.steps_per_epoch
        self.state = TrainingState(self.student, recipe=self.recipe, runtime=self.runtime, objective=self.objective)
        self._clock = self._saved_at = time.perf_counter()

    def run(self, stop: StopRequest) -> FitResult:
        """Train to the end, from the checkpoint on where there is one."""
        state = self.state
        torch.manual_seed(self.seed)
        if self.checkpoint is not None and self.checkpoint.exists():
            state.restore(load_checkpoint(self.checkpoint, identity=self.identity()))
        else:
            self._save()
        if not state.done:
            self.progress.begin(self.name, num_steps=self.num_steps, done_steps=state.step)
            self.events.write("begin", self.name, step=state.step, num_steps=self.num_steps, recipe=self.recipe)
            try:
                self._train(stop)
            finally:
                self.progress.end()
            if self.teacher is not None:
                self.teacher.check_unchanged()
            self._save()
            self.events.write("end", self.name, step=state.step, elapsed_seconds=state.elapsed_seconds)
        return self._result()

    def identity(self) -> dict[str, str]:
        """Return what must be equal for a checkpoint to go on here."""
        return training_identity(
            self.student,
            self.train,
            self.objective,
            recipe=self.recipe,
            teacher=self.teacher,
            validation=self.validation,
            views=self.views,
            num_views=self.num_views,
            seed=self.seed,
            num_steps=self.num_steps,
            precision=self.runtime.precision,
        )

    def _train(self, stop: StopRequest) -> None:
        state = self.state
        self._clock = time.perf_counter()
        self.student.train()
        for batch in state.tally.time_waits(self._batches()):
            self._do_step(batch)
            if state.tally.is_full:
                self._read_losses()
            if state.step % self.steps_per_epoch == 0:
                self._end_epoch()
            if state.done:
                return
            if stop.made:
                self._read_losses()
                self._save()
                raise TrainingInterrupted(name=self.name, step=state.step, checkpoint=self.checkpoint)
            if self.checkpoint and time.perf_counter() - self._saved_at >= self.checkpoint_seconds:
                self._read_losses()
                self._save()

    def _batches(self) -> Iterator[Batch]:
        """Yield the batches from the current step on, pass after pass, without an end."""
        size = self.recipe.batch_size
        samples = self.views.prepared(self.train)
        first_pass, start = divmod(self.state.step, self.batches_per_pass)
        for index in itertools.count(first_pass):
            order = epoch_order(samples.ids, seed=self.seed, epoch=index)[: self.batches_per_pass * size]
            view = index if self.num_views is None else index % self.num_views
            yield from iterate_batches(samples, self.views, order, batch_size=size, view=view, start_batch=start)
            start = 0

    def _do_step(self, batch: Batch) -> None:
        if self.runtime.device.type != "cpu":
            moved = batch.to(self.runtime.device, non_blocking=True)
            batch = replace(moved, ids=batch.ids)  # looked up on the host: reading them back would wait
        counts = count_valid(batch, all_labelled=self.all_labelled)
        losses = []
        for part in _split(batch, self.recipe.accumulation_steps):
            with self.runtime.autocast():
                targets = self.teacher(part.ids, part.inputs, view=part.view) if self.teacher is not None else None
                outputs = self.student(part.inputs)
            losses.append(self.objective.backward(outputs, targets, part, counts=counts, scale=self.state.scaler.scale))
        self.state.update(learning_rate_at(self.recipe, self.state.step, self.num_steps))
        self.state.tally.add(losses, examples=counts.examples, labelled=counts.labelled)

    def _read_losses(self) -> None:
        """Bring the window's losses to the host; raise TrainingDiverged at the first that is not finite."""
        state, tally = self.state, self.state.tally
        first_step = state.step - tally.num_pending
        bad = tally.read()
        if bad is not None:
            self.events.write("diverged", self.name, step=first_step + bad + 1)
            raise self._diverged(first_step + bad + 1)
        if tally.recent:
            self._tick()
            speed, wait = tally.examples / state.epoch_seconds, tally.wait_seconds / state.epoch_seconds
            self.progress.advance(state.step, tally.recent, samples_per_second=speed, data_wait=min(1.0, wait))
            self.events.write(
                "steps", self.name, step=state.step, losses=tally.recent, learning_rate=state.learning_rate
            )

    def _diverged(self, step: int) -> TrainingDiverged:
        kept = f"; the last good checkpoint is {self.checkpoint}" if self.checkpoint else ""
        return TrainingDiverged(
            f"The loss of {self.name} became NaN or infinite at step {step} of {self.num_steps}.",
            received=f"learning rate {learning_rate_at(self.recipe, step - 1, self.num_steps):.4g}",
            expected=f"a finite loss{kept}",
            remedy="lower the learning rate, set clip_norm, or warm up longer",
        )

    def _end_epoch(self) -> None:
        self._read_losses()
        state, tally = self.state, self.state.tally
        validation = self._validate()
        epoch_seconds = state.epoch_seconds  # without the validation
        self._tick()
        record = EpochRecord(
            epoch=state.step // self.steps_per_epoch,
            step=state.step,
            learning_rate=state.learning_rate,
            elapsed_seconds=state.elapsed_seconds,
            samples_per_second=tally.examples / epoch_seconds,
            data_wait_fraction=min(1.0, tally.wait_seconds / epoch_seconds),
            train=tally.epoch_means(),
            validation=validation,
        )
        state.history.append(record)
        state.keep_if_best(record)
        tally.reset()
        state.epoch_seconds = 0.0
        patience = self.recipe.patience_epochs
        state.done = state.step >= self.num_steps or (
            patience is not None and record.epoch - state.best_epoch >= patience
        )
        self.events.write("epoch", self.name, **asdict(record))
        self.progress.epoch(record)

    def _validate(self) -> dict[str, float]:
        if self.validation is None:
            return {}
        weights = self.state.averaged_weights()
        measured = evaluate(self.student, self.validation, self.views, runtime=self.runtime, weights=weights)
        return {name: measured[name] for name in ("errors", "accuracy", "nll")}

    def _tick(self) -> None:
        """Add the time since the last tick to the run's and the epoch's."""
        now = time.perf_counter()
        self.state.elapsed_seconds += now - self._clock
        self.state.epoch_seconds += now - self._clock
        self._clock = now

    def _save(self) -> None:
        if self.checkpoint is None:
            return
        self._tick()
        save_checkpoint(self.checkpoint, self.state.snapshot(), identity=self.identity())
        self._saved_at = time.perf_counter()

    def _result(self) -> FitResult:
        state = self.state
        last = state.copy_evaluated_weights()
        selected = {key: value.to(self.runtime.device) for key, value in state.best_weights.items()}
        self.student.load_state_dict(selected)
        self.student.eval()
        return FitResult(
            student=self.student,
            selected_weights=selected,
            last_weights=last,
            selected_epoch=state.best_epoch,
            history=state.history,
            num_steps=state.step,
            elapsed_seconds=state.elapsed_seconds,
        )


def check_teacher(
    objective: Objective, teacher: Teacher | None, student: nn.Module, train: Samples, views: Views
) -> None:
    """Raise TeacherError unless the teacher can serve this objective, on these samples and views, for this student."""
    if objective.needs_teacher and teacher is None:
        raise TeacherError("This objective needs a teacher.", received="none", remedy="pass teacher=")
    if teacher is None:
        return
    teacher.check_fits(train, views)
    own = {tensor.data_ptr() for tensor in student.parameters() if tensor.numel()}
    for module in teacher.modules:
        if any(tensor.data_ptr() in own for tensor in module.parameters() if tensor.numel()):
            raise TeacherError(
                "Teacher and student share weights.",
                received=f"a parameter of {teacher.name} that is also the student's",
                expected="two networks",
                remedy="copy.deepcopy the teacher before it is frozen",
            )


def count_batches(num_samples: int, batch_size: int) -> int:
    """Return the batches of one pass. A last batch of one sample is left out: batch norm cannot take it."""
    whole, rest = divmod(num_samples, batch_size)
    if whole == 0 and rest == 0:
        raise InvalidValue("There is nothing to train on.", received="0 samples")
    return whole + (rest > 1 or whole == 0)


def _split(batch: Batch, num_parts: int) -> Iterator[Batch]:
    if num_parts == 1:
        yield batch
        return
    size = -(-len(batch) // num_parts)
    for start in range(0, len(batch), size):
        yield batch.part(start, start + size)
