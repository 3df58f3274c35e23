"""Stacked training: many small networks of one shape trained in one pass, each as :func:`fit` alone would train it.

A step of a small network costs more in calls than in arithmetic. Here one call serves all networks: parameters have a
leading axis of networks, networks that share an order share their inputs, the teacher is asked once, and the
objectives are computed together. Nothing runs over the networks one by one within a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from limbeck.data import Samples, Views, iterate_batches
from limbeck.errors import DataError, InvalidValue, TrainingDiverged
from limbeck.memory import set_malloc_thresholds
from limbeck.metrics import sum_errors_and_nll
from limbeck.models import evaluating
from limbeck.objectives import MutualLearning, Objective, StackedMutual, StackedObjective
from limbeck.ranks.launched import refuse_ranks
from limbeck.records import EpochRecord
from limbeck.settings import TrainConfig
from limbeck.teachers import Teacher
from limbeck.training.checks import check_teacher, count_batches
from limbeck.training.clock import Clock
from limbeck.training.compiler import refuse_compiler
from limbeck.training.evaluate import EVALUATION_BATCH_SIZE
from limbeck.training.interrupt import StopRequest, TrainingInterrupted, stop_requests
from limbeck.training.progress import Progress, SilentProgress
from limbeck.training.run import FitResult
from limbeck.training.runtime import Runtime
from limbeck.training.schedule import diverged
from limbeck.training.selection import Selection, Weights
from limbeck.training.stacked_batches import StackedBatch, StackedBatches, TeacherOutputs, tensor_of
from limbeck.training.stacked_checks import one_each, require_count, require_plain_labels
from limbeck.training.stacked_networks import StackedNetworks, check_stackable
from limbeck.training.stacked_state import StackedLossMeter, mean_record
from limbeck.training.updates import WeightUpdates

Item = TypeVar("Item")


def fit_stacked(
    students: Sequence[nn.Module],
    train: Samples,
    objectives: Objective | Sequence[Objective],
    *,
    recipe: TrainConfig,
    teacher: Teacher | None = None,
    validation: Samples | None = None,
    views: Views | Sequence[Views] | None = None,
    seeds: Sequence[int],
    steps_per_epoch: int | None = None,
    runtime: Runtime | None = None,
    name: str = "students",
    progress: Progress | None = None,
) -> list[FitResult]:
    """Train networks of one shape side by side, in place.

    Result k equals ``fit(students[k], train, objectives[k], seed=seeds[k], ...)`` up to the rounding of floating-point
    sums: its own initial weights, order, temperature, loss weights, gradient clipping, averages, selected epoch and
    history. The recipe is shared. Networks with the same seed (and views) see the same batches, which are then made
    once; a sweep over temperatures and seeds is fastest when every seed has the same number of networks.

    Nets of linear layers and ReLUs run as batched matrix products, other modules through ``torch.vmap``. There are no
    checkpoints: a stopped pass begins anew.

    Args:
        students: map inputs (batch, ...) to logits (batch, classes); they differ in their numbers alone, and have no
            dropout and no batch norm. Moved to the runtime's device.
        train: the samples; unlabelled ones serve objectives with a teacher.
        objectives: one for all, or one for each student: :class:`Distillation` and :class:`HardLabels`, mixed at will;
            or the same :class:`MutualLearning` for all: students of one seed (and views) are then peers, as many for
            each seed, and learn as ``fit_cohort(..., update="simultaneous")`` would teach them.
        recipe: settings of the optimiser and the schedule.
        teacher: gives soft targets; needed where an objective says so. Where views are constant it is asked once per
            sample.
        validation: chooses each network's epoch: fewest errors, then the lower NLL.
        views: normalisation and augmentation; one for all, or one for each student, which may differ in their seed.
        seeds: of the order, one for each student.
        steps_per_epoch: steps between evaluations, one pass over ``train`` where not given.
        runtime: device and precision; chosen automatically where not given.
        name: of the whole pass, in progress and errors.
        progress: what a person sees: means over the networks.
    Returns:
        One result for each student, in order. ``elapsed_seconds`` and ``samples_per_second`` are those of the whole
        pass, all networks together.
    Raises:
        ModelError: students of different shapes (the first difference is named), with dropout or batch norm, or that
            share weights.
        InvalidValue: another number of objectives, views or seeds than of students; an objective of another kind;
            fp16, whose loss scale would tie the networks together.
        TrainingDiverged: a network's loss became NaN or infinite; says which. The others do not depend on it: without
            it they train the same.
        TrainingInterrupted: Ctrl-C or SIGTERM.
        TeacherError: see :func:`fit`.
    Example:
        >>> from limbeck.objectives import HardLabels
        >>> samples = Samples("toy", torch.arange(8), torch.rand(8, 4), torch.arange(8) % 2, ("no", "yes"))
        >>> nets = [nn.Linear(4, 2) for _ in range(3)]
        >>> recipe = TrainConfig(num_epochs=2, batch_size=4)
        >>> results = fit_stacked(nets, samples, HardLabels(), recipe=recipe, seeds=[0, 1, 2])
        >>> [result.num_steps for result in results]
        [4, 4, 4]
    """
    num_networks = len(students)
    refuse_ranks()
    runtime = runtime or Runtime.resolve()
    refuse_compiler(runtime.compiles)
    if runtime.precision == "fp16":
        raise InvalidValue(
            "Networks that train in one pass cannot use fp16.", received="fp16", expected="fp32 or bf16",
            remedy="its loss scale is one for all, so that one network's overflow would cost the others a step",
        )  # fmt: skip
    each_objective = one_each("objectives", objectives, num_networks)
    each_view = one_each("views", views or Views(), num_networks)
    require_count("seeds", seeds, num_networks)
    require_plain_labels(train, recipe)
    teacher = teacher if any(objective.needs_teacher for objective in each_objective) else None
    for student, objective, view in zip(students, each_objective, each_view, strict=True):
        check_teacher(objective, teacher, student, train, view)
    training = _StackedTraining(
        students=students,
        train=train,
        objectives=each_objective,
        recipe=recipe,
        teacher=teacher,
        validation=validation,
        views=each_view,
        seeds=seeds,
        steps_per_epoch=steps_per_epoch or count_batches(len(train), recipe.batch_size),
        runtime=runtime,
        name=name,
        progress=progress or SilentProgress(),
    )
    with stop_requests() as stop:
        return training.run(stop)


@dataclass(eq=False, kw_only=True)
class _StackedTraining:
    """One pass. The fields are the arguments of ``fit_stacked``; within, networks are numbered as in ``order``."""

    students: Sequence[nn.Module]
    train: Samples
    objectives: Sequence[Objective]
    recipe: TrainConfig
    teacher: Teacher | None
    validation: Samples | None
    views: Sequence[Views]
    seeds: Sequence[int]
    steps_per_epoch: int
    runtime: Runtime
    name: str
    progress: Progress

    def __post_init__(self) -> None:
        device = self.runtime.device
        if device.type == "cpu":
            set_malloc_thresholds()
        for module in self.teacher.modules if self.teacher else ():
            module.to(device)
        self.batches = StackedBatches(
            self.train, self.views, self.seeds, batch_size=self.recipe.batch_size, device=device
        )
        self.order = self.batches.order
        check_stackable(self.students)
        students = [self.students[k] for k in self.order]
        self.networks = StackedNetworks(students, input_shape=self.train.input_shape, device=device)
        objectives = [self.objectives[k] for k in self.order]
        self.objective = self._stacked(objectives).to(device)
        self.teacher_outputs = None
        if self.teacher is not None:
            self.teacher_outputs = TeacherOutputs(self.teacher, self.objective.temperatures, runtime=self.runtime)
            self.teacher_outputs.collect(self.batches.samples, self.batches.views)
        self.meter = StackedLossMeter(
            ("total", *self.objective.part_names), num_networks=len(self.order), device=device
        )
        self._ones = torch.ones(len(self.order), device=device)
        patience = self.recipe.patience_epochs
        self.part_names = [("total", *objective.part_names) for objective in objectives]
        self.selections = [Selection(patience_epochs=patience) for _ in objectives]
        self.last_weights: list[Weights] = [{} for _ in objectives]
        self.num_steps = self.recipe.num_epochs * self.steps_per_epoch
        self.updates = WeightUpdates(
            self.networks.module, recipe=self.recipe, runtime=self.runtime, num_steps=self.num_steps, stack_axes=1
        )
        self.labelled = self._labelled_validation()
        self.clock = Clock()

    def _stacked(self, objectives: Sequence[Objective]) -> StackedObjective | StackedMutual:
        if any(isinstance(objective, MutualLearning) for objective in objectives):
            return StackedMutual(objectives, cohort_size=len(objectives) // self.batches.num_groups)
        return StackedObjective(objectives)

    def run(self, stop: StopRequest) -> list[FitResult]:
        """Train all networks to their ends."""
        self.progress.begin(self.name, num_steps=self.num_steps, done_steps=0)
        try:
            self._train(stop)
        finally:
            self.progress.end()
        if self.teacher is not None:
            self.teacher.check_unchanged()
        results = {k: self._result(k, network) for network, k in enumerate(self.order)}
        return [results[k] for k in range(len(self.students))]

    def _train(self, stop: StopRequest) -> None:
        self.clock.start()
        batches = self.batches.iterate(
            self.teacher_outputs,
            self.objective.soft_networks,
            batches_per_pass=count_batches(len(self.train), self.recipe.batch_size),
        )
        for batch in self.clock.time_waits(batches):
            self._do_step(batch)
            if self.meter.is_full:
                self._read_losses()
            if self.updates.step % self.steps_per_epoch == 0:
                self._end_epoch()
            if self.updates.step >= self.num_steps or all(selection.has_stopped for selection in self.selections):
                return
            if stop.made:
                raise TrainingInterrupted(name=self.name, step=self.updates.step, checkpoint=None)

    def _do_step(self, batch: StackedBatch) -> None:
        counts = batch.count(all_labelled=self.batches.all_labelled, label_smoothing=self.recipe.label_smoothing)
        row: list[Tensor] = []
        for part in batch.split(self.recipe.accumulation_steps):
            with self.runtime.autocast():
                outputs = self.networks(part.inputs)
            loss = self.objective(outputs, part.teacher_logits, part.labels, counts=counts)
            loss.total.backward(self._ones)  # type: ignore[no-untyped-call]
            values = [loss.total.detach(), *loss.means.values()]
            row = [a + b for a, b in zip(row, values, strict=True)] if row else values
        self.updates.update()
        self.meter.add(row, examples=float(counts.examples), labelled=counts.labelled)

    def _read_losses(self) -> None:
        """Bring the window's losses to the host; raise TrainingDiverged at the first that is not finite."""
        first_step = self.updates.step - self.meter.num_pending
        watched = torch.tensor([not selection.has_stopped for selection in self.selections])
        bad = self.meter.read(watched=watched)
        if bad is not None:
            raise self._diverged(bad[1], "loss", first_step + bad[0] + 1)
        if self.meter.recent:
            self.clock.tick()
            self.progress.advance(
                self.updates.step,
                self.meter.recent,
                samples_per_second=self.clock.speed(self.meter.examples * len(self.order)),
                data_wait=self.clock.wait_fraction,
            )

    def _diverged(self, networks: Sequence[int], what: str, step: int) -> TrainingDiverged:
        students = [self.order[network] for network in networks]
        names = [f"student {k} (seed {self.seeds[k]}, {self.objectives[k]})" for k in sorted(students)]
        return diverged(
            f"{what} of {self.name}: {', '.join(names)}",
            step=step,
            num_steps=self.num_steps,
            recipe=self.recipe,
            hint="; or leave out this student",
        )

    def _end_epoch(self) -> None:
        self._read_losses()
        clock, step = self.clock, self.updates.step
        speed, wait_fraction = clock.speed(self.meter.examples * len(self.order)), clock.wait_fraction
        validation = self._validate()
        clock.tick()
        weights = self.updates.averaged_weights()
        records: list[EpochRecord] = []
        for network, selection in enumerate(self.selections):
            if selection.has_stopped:
                continue
            record = EpochRecord(
                epoch=step // self.steps_per_epoch,
                step=step,
                learning_rate=self.updates.learning_rate,
                elapsed_seconds=clock.elapsed_seconds,
                samples_per_second=speed,
                data_wait_fraction=wait_fraction,
                train=self.meter.epoch_means(network, self.part_names[network]),
                validation=validation[network] if validation else {},
            )
            own = self.networks.state_of(network, weights)
            self.last_weights[network] = own
            selection.take(record, lambda own=own: own)  # type: ignore[misc]
            records.append(record)
        self.progress.epoch(mean_record(records))
        self.meter.reset()
        clock.begin_epoch()

    def _labelled_validation(self) -> Samples | None:
        if self.validation is None:
            return None
        labelled = self.validation.labelled_positions()
        if len(labelled) == 0:
            raise DataError(f"{self.validation.name} has no labels to evaluate on.", received="0 labelled samples")
        chosen = self.validation if len(labelled) == len(self.validation) else self.validation.take(labelled)
        return self.views[0].clean.prepared(chosen)

    @torch.no_grad()
    def _validate(self) -> list[dict[str, float]]:
        """Return errors, accuracy and NLL of every network, from one pass; nothing where there is no validation."""
        samples = self.labelled
        if samples is None:
            return []
        errors = nll = torch.zeros(len(self.order), dtype=torch.float64)
        positions, weights = torch.arange(len(samples)), self.updates.averaged_weights()
        batches = iterate_batches(samples, self.views[0].clean, positions, batch_size=EVALUATION_BATCH_SIZE, view=None)
        with evaluating(self.networks.module):
            for batch in batches:
                with self.runtime.autocast():
                    logits = self.networks(tensor_of(batch).to(self.runtime.device).unsqueeze(0), weights)
                more_errors, more_nll = sum_errors_and_nll(logits.float(), batch.labels)
                errors, nll = errors + more_errors, nll + more_nll
        bad = [n for n, (value, selection) in enumerate(zip(nll.tolist(), self.selections, strict=True))
               if value != value and not selection.has_stopped]  # fmt: skip
        if bad:
            raise self._diverged(bad, "output", self.updates.step)
        size = len(samples)
        return [
            {"errors": wrong, "accuracy": (size - wrong) / size, "nll": nats / size}
            for wrong, nats in zip(errors.tolist(), nll.tolist(), strict=True)
        ]

    def _result(self, k: int, network: int) -> FitResult:
        selection, student = self.selections[network], self.students[k]
        student.to(self.runtime.device).load_state_dict(selection.best_weights)
        student.eval()
        return FitResult(
            student=student,
            selected_weights=selection.best_weights,
            last_weights=self.last_weights[network],
            selected_epoch=selection.best_epoch,
            history=selection.history,
            num_steps=selection.history[-1].step,
            elapsed_seconds=self.clock.elapsed_seconds,
        )
