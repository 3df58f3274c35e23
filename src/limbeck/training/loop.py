"""The training loop: one network, one objective, resumable to the bit.

The data's way through one step: positions of the epoch's order -> views -> batch -> student (and teacher, on the same
inputs) -> objective -> backward -> optimiser -> constraints -> averaged weights. Losses stay on the device and are read
once in a window of steps, so no step waits for the device.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from limbeck.data import BalancedOrder, Batch, Samples, Views
from limbeck.models.calling import training_outputs
from limbeck.models.global_batch import GlobalBatch, global_batch_outputs
from limbeck.objectives import Objective, valid_rows
from limbeck.ranks.group import loss_of_ranks_told
from limbeck.settings import TrainConfig
from limbeck.teachers import Teacher
from limbeck.training.checkpoint import restoring
from limbeck.training.checks import batches_of_pass
from limbeck.training.compiled import CompiledStep
from limbeck.training.event_log import EventLog
from limbeck.training.interrupt import StopRequest, stop_requests
from limbeck.training.progress import Progress, SilentProgress
from limbeck.training.ranked import check_alike
from limbeck.training.run import FitResult, TrainingRun
from limbeck.training.runtime import Runtime
from limbeck.training.saving import checkpoints_of
from limbeck.training.share import Part
from limbeck.training.steps import do_steps

CHECKPOINT_SECONDS = 60.0


def fit(
    student: nn.Module,
    train: Samples,
    objective: Objective,
    *,
    recipe: TrainConfig,
    teacher: Teacher | None = None,
    validation: Samples | None = None,
    views: Views | None = None,
    num_views: int | None = None,
    seed: int = 0,
    steps_per_epoch: int | None = None,
    order: BalancedOrder | None = None,
    runtime: Runtime | None = None,
    name: str = "student",
    checkpoint: Path | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    events: EventLog | None = None,
    progress: Progress | None = None,
) -> FitResult:
    """Train a network in place.

    Ranks that torchrun started train the network together: each takes its share of every batch, and sums run over all.

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
            that the teacher has outputs for, where it is a store and nothing is given here.
        seed: of order, augmentation (through ``views.seed``, which is the caller's) and dropout.
        steps_per_epoch: steps between evaluations, one pass over ``train`` where not given. A baseline on few labels
            gets the step count of its distilled twin through this.
        order: of the samples in a pass: each once, shuffled, where not given; or batches with a fixed share of some
            classes.
        runtime: device and precision; chosen automatically where not given.
        name: shown in progress, events and errors.
        checkpoint: file to keep the state in; without it a stopped run is lost. A sharded student has a folder of
            that name, without the suffix, on a file system of all ranks.
        checkpoint_seconds: least time between two checkpoints, longer where they are large; 0: after every step.
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
        InvalidValue: ranks that see different data, teachers or settings, or cannot share a batch.
        RankLost: another rank has ended.
    """
    runtime = runtime or Runtime.resolve(takes_ranks=True)
    writes = runtime.ranks.is_first
    run = TrainingRun(
        student=student,
        train=train,
        objective=objective,
        recipe=recipe,
        teacher=teacher if objective.needs_teacher else None,
        validation=validation,
        views=views or Views(),
        num_views=num_views if num_views is not None or teacher is None else teacher.num_views,
        seed=seed,
        steps_per_epoch=steps_per_epoch or batches_of_pass(train, recipe.batch_size, order),
        order=order,
        runtime=runtime,
        name=name,
        checkpoint=checkpoint if writes else None,
        events=(events if writes else None) or EventLog(None),
        progress=(progress if writes else None) or SilentProgress(),
    )
    told = loss_of_ranks_told() if runtime.shards_students else nullcontext()
    with told, torch.random.fork_rng(devices=run.runtime.random_devices), stop_requests() as stop:
        return _train(run, stop, checkpoint_seconds=checkpoint_seconds)


def _train(run: TrainingRun, stop: StopRequest, *, checkpoint_seconds: float) -> FitResult:
    """Train to the end, from the checkpoint on where there is one."""
    state = run.state
    torch.manual_seed(run.seed)
    if run.ranks.size > 1:
        check_alike({**run.identity(), "initial weights": run.initial_weights}, run.ranks)
    checkpoints = checkpoints_of(run)
    saved = checkpoints.load()
    if saved is not None:
        with restoring(run.checkpoint):
            state.restore(saved)
    else:
        checkpoints.save()
    if not state.done:
        run.begin()
        do_steps(
            [run], lambda batch: _do_step(run, batch), save=checkpoints.save, stop=stop,
            checkpoint_seconds=checkpoint_seconds, progress=run.progress, name=run.name,
            has_failed=checkpoints.has_failed, end_save=checkpoints.finish,
        )  # fmt: skip
        checkpoints.save()
        run.events.write("end", run.name, step=state.step, elapsed_seconds=state.clock.elapsed_seconds)
    checkpoints.finish()
    return run.result()


def _do_step(run: TrainingRun, batch: Batch) -> None:
    counts, share = run.count(batch), run.share()
    compiled = run.compiled if share.num_samples == run.full_batch_size else None
    backward = run.objective.backward if compiled is None else compiled.backward
    losses = []
    for bounds in share.parts:
        part = batch if len(share.parts) == 1 else batch.part(bounds.start, bounds.end)
        with run.runtime.autocast():
            targets = run.ask_teacher(part)
            outputs = _outputs(run, part, bounds if share.is_divided else None, compiled)
        outputs, targets, rows = valid_rows(outputs, targets, part)
        losses.append(backward(outputs, targets, rows, counts=counts, scale=run.scale))
    run.take_step(losses, counts, num_samples=share.num_samples)


def _outputs(run: TrainingRun, part: Batch, bounds: Part | None, compiled: CompiledStep | None) -> Any:
    """Return the outputs of a part, or of a rank's rows of one that all ranks make together, within ``bounds``."""
    whole = None
    if bounds is not None:
        whole = GlobalBatch(run.ranks, first=bounds.first, count=len(part), total=bounds.total)
    if compiled is not None:
        return compiled.outputs(part.inputs, whole)
    if whole is None:
        return training_outputs(run.student, part.inputs)
    outputs = global_batch_outputs(run.student, part.inputs, whole, is_checked=run.draws_by_rows)
    run.draws_by_rows = True
    return outputs
