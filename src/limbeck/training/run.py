"""One network's training: its fixed side, its state, and what a loop does with them step by step.

``fit`` runs one of these, ``fit_cohort`` several on the same batches.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.data import UNLABELLED, BalancedOrder, Batch, Samples, Views, epoch_order, iterate_batches
from limbeck.memory import return_freed_blocks, set_malloc_thresholds
from limbeck.metrics.rows import NoSoftmax
from limbeck.models import fingerprint
from limbeck.models.sharding import gathered
from limbeck.objectives import Counts, DeferredLoss, Objective
from limbeck.records import EpochRecord
from limbeck.settings import TrainConfig
from limbeck.targets import SoftTargets
from limbeck.teachers import Teacher
from limbeck.training.checks import batches_of_pass, check_labels, check_teacher, class_weights_for
from limbeck.training.compiled import CompiledStep
from limbeck.training.evaluating import evaluate
from limbeck.training.event_log import EventLog
from limbeck.training.identity import training_identity
from limbeck.training.kernel_layout import lay_out_kernels
from limbeck.training.progress import Progress
from limbeck.training.ranked import GradientSum, check_divisible, check_shareable, whole_counts
from limbeck.training.runtime import Runtime
from limbeck.training.schedule import diverged
from limbeck.training.selection import Weights
from limbeck.training.sharded import ShardedStudent
from limbeck.training.share import Share, share_of
from limbeck.training.state import TrainingState
from limbeck.training.steps import end_epoch, show_steps


@dataclass(frozen=True, eq=False)
class FitResult:
    """A trained network and how it got there.

    ``student`` holds the selected weights: of the epoch that validation chose, or the last where there is no
    validation. One that was trained sharded is whole again, in the host memory of each rank.
    """

    student: nn.Module
    selected_weights: Weights
    last_weights: Weights
    selected_epoch: int
    history: list[EpochRecord]
    num_steps: int
    elapsed_seconds: float

    def __repr__(self) -> str:
        return (
            f"FitResult({type(self.student).__name__}, epoch {self.selected_epoch} of {len(self.history)}, "
            f"{self.num_steps:,} steps, {self.elapsed_seconds:.1f} s)"
        )


@dataclass(eq=False, kw_only=True)
class TrainingRun:
    """One network on its way; what changes is in ``state``. The fields are the arguments of ``fit``, resolved."""

    student: nn.Module
    train: Samples
    objective: Objective
    recipe: TrainConfig
    teacher: Teacher | None
    validation: Samples | None
    views: Views
    num_views: int | None
    seed: int
    steps_per_epoch: int
    runtime: Runtime
    name: str
    checkpoint: Path | None
    events: EventLog
    progress: Progress
    order: BalancedOrder | None = None
    draws_by_rows: bool = False  # whether it is known that the student's random numbers can be cut into ranks' rows

    def __post_init__(self) -> None:
        check_labels(self.objective, self.train)
        check_teacher(self.objective, self.teacher, self.student, self.train, self.views)
        if self.runtime.device.type == "cpu":
            return_freed_blocks() if self.runtime.shards_students else set_malloc_thresholds()
        self.ranks = self.runtime.ranks
        check_divisible(len(self.train), self.recipe, self.ranks)
        check_shareable(self.student, self.objective, self.ranks)
        for module in self.teacher.modules if self.teacher else ():
            module.to(self.runtime.device)
        self.initial_weights = fingerprint(self.student) if self.ranks.size > 1 else ""
        self.sharded: ShardedStudent | None = None
        if self.runtime.shards_students:
            self.sharded = ShardedStudent(self.student, ranks=self.ranks, device=self.runtime.device)
            self.student = self.sharded.module
        else:
            lay_out_kernels(self.student.to(self.runtime.device), self.runtime.kernel_layout)
        self.gradients = GradientSum(self.student, self.ranks)
        self.batches_per_pass = batches_of_pass(self.train, self.recipe.batch_size, self.order)
        self.all_labelled = bool((self.train.labels != UNLABELLED).all())
        self.class_weights = class_weights_for(self.recipe, self.train, self.runtime.device)
        self.full_batch_size = self.recipe.batch_size if self.order else min(self.recipe.batch_size, len(self.train))
        self.compiled = CompiledStep(self.student, self.objective) if self.runtime.compiles else None
        self.num_steps = self.recipe.num_epochs * self.steps_per_epoch
        self.state = TrainingState(
            self.student,
            recipe=self.recipe,
            runtime=self.runtime,
            objective=self.objective,
            num_steps=self.num_steps,
        )

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
            order=self.order,
            compiles=self.runtime.compiles,
        )

    def begin(self) -> None:
        """Start the clock, put the student into train mode, and say so."""
        self.state.clock.start()
        self.student.train()
        self.progress.begin(self.name, num_steps=self.num_steps, done_steps=self.state.step)
        self.events.write("begin", self.name, step=self.state.step, num_steps=self.num_steps, recipe=self.recipe)

    def share(self) -> Share:
        """Return how the coming step's batch is dealt to ranks and cut into parts."""
        size, index = self.recipe.batch_size, self.state.step % self.batches_per_pass
        return self._share_of(size if self.order is not None else min(size, len(self.train) - index * size))

    @property
    def counts_here(self) -> bool:
        """Whether this rank's part of the coming step belongs to the sums over ranks."""
        return self.ranks.is_first or self.share().is_divided

    def scale(self, loss: Tensor) -> Tensor:
        """Return a loss as its backward pass begins with it: a sharded student adds gradients up in that very pass."""
        scaled = self.state.updates.scaler.scale(loss)
        return scaled if self.sharded is None or self.counts_here else scaled * 0.0

    def _share_of(self, num_samples: int) -> Share:
        parts, ranks = self.recipe.accumulation_steps, self.ranks
        return share_of(num_samples, num_parts=parts, rank=ranks.number, num_ranks=ranks.size)

    def batches(self) -> Iterator[Batch]:
        """Yield the batches from the current step on, on the device, pass after pass, without an end.

        On several ranks they hold this one's samples.
        """
        share = None if self.ranks.size == 1 else lambda positions: self._share_of(len(positions)).of(positions)
        size = self.recipe.batch_size
        samples = self.views.prepared(self.train)
        first_pass, start = divmod(self.state.step, self.batches_per_pass)
        for index in itertools.count(first_pass):
            order = self._positions(samples, index)
            view = index if self.num_views is None else index % self.num_views
            way: dict[str, Any] = {"start_batch": start, "share": share, "bound_for": self.runtime.device}
            for batch in iterate_batches(samples, self.views, order, batch_size=size, view=view, **way):
                yield self._on_device(batch)
            start = 0

    def _positions(self, samples: Samples, index: int) -> Tensor:
        size = self.recipe.batch_size
        if self.order is not None:
            return self.order.positions(samples, seed=self.seed, epoch=index, batch_size=size)
        return epoch_order(samples.ids, seed=self.seed, epoch=index)[: self.batches_per_pass * size]

    def _on_device(self, batch: Batch) -> Batch:
        if self.runtime.device.type == "cpu":
            return batch
        moved = batch.to(self.runtime.device, non_blocking=True)
        return replace(moved, ids=batch.ids)  # looked up on the host: reading them back would wait

    def count(self, batch: Batch) -> Counts:
        """Return how many examples the means of a step run over, those of all ranks."""
        counts = self.objective.count(
            batch,
            all_labelled=self.all_labelled,
            label_smoothing=self.recipe.label_smoothing,
            class_weights=self.class_weights,
        )
        return counts if self.ranks.size == 1 else whole_counts(counts, self.share(), self.ranks)

    def ask_teacher(self, batch: Batch) -> SoftTargets | None:
        """Return the teacher's soft targets for a batch, of the same view; None without a teacher."""
        if self.teacher is None:
            return None
        inputs = batch.inputs if batch.teacher_inputs is None else batch.teacher_inputs
        return self.teacher(batch.ids, inputs, view=batch.view)

    def take_step(self, losses: Sequence[Tensor | DeferredLoss], counts: Counts, *, num_samples: int) -> None:
        """Let the optimiser use the gradients that are there; keep the losses, and read them when enough have come.

        On several ranks gradients are added up first, and losses when they are read.
        """
        counts_here = self.counts_here
        if self.sharded is None:
            self.gradients.add_up(counts_here=counts_here)
        self.state.updates.update()
        self.state.meter.add(losses, counts, num_samples=num_samples, counts_here=counts_here)
        if self.state.meter.is_full:
            self.read_losses()
        if self.state.step % self.steps_per_epoch == 0:
            self._end_epoch()

    def read_losses(self) -> None:
        """Bring the window's losses to the host; raise TrainingDiverged at the first that is not finite."""
        state, meter = self.state, self.state.meter
        first_step = state.step - meter.num_pending
        bad = meter.read()
        if bad is not None:
            self.events.write("diverged", self.name, step=first_step + bad + 1)
            raise diverged(
                f"loss of {self.name}",
                step=first_step + bad + 1,
                num_steps=self.num_steps,
                recipe=self.recipe,
                kept=f"; the last good checkpoint is {self.checkpoint}" if self.checkpoint else "",
            )
        if meter.recent:
            show_steps(state, self.progress, num_samples=meter.num_samples)
            rate = state.updates.learning_rate
            self.events.write("steps", self.name, step=state.step, losses=meter.recent, learning_rate=rate)

    def _end_epoch(self) -> None:
        self.read_losses()
        state, meter = self.state, self.state.meter
        record, validation = end_epoch(
            state, self._validate, steps_per_epoch=self.steps_per_epoch, num_samples=meter.num_samples
        )
        record = replace(record, train=meter.epoch_means(), validation=validation)
        state.selection.take(record, state.updates.copy_evaluated_weights)
        meter.reset()
        state.done = state.step >= self.num_steps or state.selection.has_stopped
        self.events.write("epoch", self.name, **asdict(record))
        self.progress.epoch(record)

    def _validate(self) -> dict[str, float]:
        if self.validation is None:
            return {}
        weights = self.state.updates.averaged_weights()
        try:
            measured = evaluate(self.student, self.validation, self.views, runtime=self.runtime, weights=weights)
        except NoSoftmax as error:
            what, step = f"output of {self.name}", self.state.step
            raise diverged(what, step=step, num_steps=self.num_steps, recipe=self.recipe) from error
        return {name: measured[name] for name in ("errors", "accuracy", "nll")}

    def result(self) -> FitResult:
        """Return the student with its selected weights, in eval mode."""
        state, selection = self.state, self.state.selection
        last = state.updates.copy_evaluated_weights()
        selected, student = selection.best_weights, self.student
        if self.sharded is not None:
            selected, last, student = gathered(selected), gathered(last), self.sharded.network
            self.sharded.load(selected)
        else:
            selected = {key: value.to(self.runtime.device) for key, value in selected.items()}
            student.load_state_dict(selected)
            lay_out_kernels(student, torch.contiguous_format)
        student.eval()
        return FitResult(
            student=student,
            selected_weights=selected,
            last_weights=last,
            selected_epoch=selection.best_epoch,
            history=selection.history,
            num_steps=state.step,
            elapsed_seconds=state.clock.elapsed_seconds,
        )
