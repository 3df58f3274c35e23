"""A stack of networks in training: its fixed side, its state, and what the loop does with them step by step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from limbeck.data import Samples, Views, iterate_batches
from limbeck.errors import DataError, TrainingDiverged
from limbeck.memory import set_malloc_thresholds
from limbeck.metrics import sum_errors_and_nll
from limbeck.models import evaluating
from limbeck.objectives import MutualLearning, Objective, StackedMutual, StackedObjective
from limbeck.ranks.group import Ranks
from limbeck.records import EpochRecord
from limbeck.settings import TrainConfig
from limbeck.teachers import Teacher
from limbeck.training.checks import count_batches
from limbeck.training.evaluating import EVALUATION_BATCH_SIZE
from limbeck.training.progress import Progress
from limbeck.training.run import FitResult
from limbeck.training.runtime import Runtime
from limbeck.training.schedule import diverged
from limbeck.training.stacked_batches import StackedBatch, StackedBatches, TeacherOutputs, tensor_of
from limbeck.training.stacked_networks import StackedNetworks, check_stackable
from limbeck.training.stacked_state import StackedState, mean_record
from limbeck.training.steps import end_epoch, show_steps


@dataclass(eq=False, kw_only=True)
class StackedRun:
    """Networks on their way together; what changes is in ``state``. The fields are the arguments of ``fit_stacked``.

    Within, networks are numbered as in ``order``.
    """

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
    checkpoint: Path | None = None  # a stopped pass begins anew

    def __post_init__(self) -> None:
        device = self.runtime.device
        if device.type == "cpu":
            set_malloc_thresholds()
        for module in self.teacher.modules if self.teacher else ():
            module.to(device)
        self.stacked_batches = StackedBatches(
            self.train, self.views, self.seeds, batch_size=self.recipe.batch_size, device=device
        )
        self.order = self.stacked_batches.order
        check_stackable(self.students)
        students = [self.students[k] for k in self.order]
        self.networks = StackedNetworks(students, input_shape=self.train.input_shape, device=device)
        objectives = [self.objectives[k] for k in self.order]
        self.objective = self._stacked(objectives).to(device)
        self.teacher_outputs = None
        if self.teacher is not None:
            self.teacher_outputs = TeacherOutputs(self.teacher, self.objective.temperatures, runtime=self.runtime)
            self.teacher_outputs.collect(self.stacked_batches.samples, self.stacked_batches.views)
        self._ones = torch.ones(len(self.order), device=device)
        self.part_names = [("total", *objective.part_names) for objective in objectives]
        self.num_steps = self.recipe.num_epochs * self.steps_per_epoch
        self.state = StackedState(
            self.networks,
            recipe=self.recipe,
            runtime=self.runtime,
            part_names=self.objective.part_names,
            num_steps=self.num_steps,
        )
        self.labelled = self._labelled_validation()

    def _stacked(self, objectives: Sequence[Objective]) -> StackedObjective | StackedMutual:
        if any(isinstance(objective, MutualLearning) for objective in objectives):
            return StackedMutual(objectives, cohort_size=len(objectives) // self.stacked_batches.num_groups)
        return StackedObjective(objectives)

    @property
    def ranks(self) -> Ranks:
        """This process alone."""
        return self.runtime.ranks

    def begin(self) -> None:
        """Start the clock, and say so."""
        self.progress.begin(self.name, num_steps=self.num_steps, done_steps=0)
        self.state.clock.start()

    def batches(self) -> Iterator[StackedBatch]:
        """Yield the batches of all orders, on the device, pass after pass, without an end."""
        return self.stacked_batches.iterate(
            self.teacher_outputs,
            self.objective.soft_networks,
            batches_per_pass=count_batches(len(self.train), self.recipe.batch_size),
        )

    def do_step(self, batch: StackedBatch) -> None:
        """Take one optimiser step with all networks; keep the losses, and read them when enough have come."""
        counts = batch.count(
            all_labelled=self.stacked_batches.all_labelled, label_smoothing=self.recipe.label_smoothing
        )
        row: list[Tensor] = []
        for part in batch.split(self.recipe.accumulation_steps):
            with self.runtime.autocast():
                outputs = self.networks(part.inputs)
            loss = self.objective(outputs, part.teacher_logits, part.labels, counts=counts)
            loss.total.backward(self._ones)  # type: ignore[no-untyped-call]
            values = [loss.total.detach(), *loss.means.values()]
            row = [a + b for a, b in zip(row, values, strict=True)] if row else values
        self.state.updates.update()
        self.state.meter.add(row, examples=float(counts.examples), labelled=counts.labelled)
        if self.state.meter.is_full:
            self.read_losses()
        if self.state.step % self.steps_per_epoch == 0:
            self._end_epoch()

    def read_losses(self) -> None:
        """Bring the window's losses to the host; raise TrainingDiverged at the first that is not finite."""
        meter = self.state.meter
        first_step = self.state.step - meter.num_pending
        bad = meter.read(watched=torch.tensor([not selection.has_stopped for selection in self.state.selections]))
        if bad is not None:
            raise self._diverged(bad[1], "loss", first_step + bad[0] + 1)
        if meter.recent:
            show_steps(self.state, self.progress, num_samples=meter.examples * len(self.order))

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
        self.read_losses()
        state, meter = self.state, self.state.meter
        common, validation = end_epoch(
            state,
            self._validate,
            steps_per_epoch=self.steps_per_epoch,
            num_samples=meter.examples * len(self.order),
        )
        weights = state.updates.averaged_weights()
        records: list[EpochRecord] = []
        for network, selection in enumerate(state.selections):
            if selection.has_stopped:
                continue
            losses = meter.epoch_means(network, self.part_names[network])
            record = replace(common, train=losses, validation=validation[network] if validation else {})
            own = self.networks.state_of(network, weights)
            state.last_weights[network] = own
            selection.take(record, lambda own=own: own)  # type: ignore[misc]
            records.append(record)
        meter.reset()
        state.done = state.step >= self.num_steps or all(selection.has_stopped for selection in state.selections)
        self.progress.epoch(mean_record(records))

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
        positions, weights = torch.arange(len(samples)), self.state.updates.averaged_weights()
        batches = iterate_batches(samples, self.views[0].clean, positions, batch_size=EVALUATION_BATCH_SIZE, view=None)
        with evaluating(self.networks.module):
            for batch in batches:
                with self.runtime.autocast():
                    logits = self.networks(tensor_of(batch).to(self.runtime.device).unsqueeze(0), weights)
                more_errors, more_nll = sum_errors_and_nll(logits.float(), batch.labels)
                errors, nll = errors + more_errors, nll + more_nll
        bad = [n for n, (value, selection) in enumerate(zip(nll.tolist(), self.state.selections, strict=True))
               if value != value and not selection.has_stopped]  # fmt: skip
        if bad:
            raise self._diverged(bad, "output", self.state.step)
        size = len(samples)
        return [
            {"errors": wrong, "accuracy": (size - wrong) / size, "nll": nats / size}
            for wrong, nats in zip(errors.tolist(), nll.tolist(), strict=True)
        ]

    def results(self) -> list[FitResult]:
        """Return the students with their selected weights, in the order in which they were given."""
        results = {k: self._result(k, network) for network, k in enumerate(self.order)}
        return [results[k] for k in range(len(self.students))]

    def _result(self, k: int, network: int) -> FitResult:
        selection, student = self.state.selections[network], self.students[k]
        student.to(self.runtime.device).load_state_dict(selection.best_weights)
        student.eval()
        return FitResult(
            student=student,
            selected_weights=selection.best_weights,
            last_weights=self.state.last_weights[network],
            selected_epoch=selection.best_epoch,
            history=selection.history,
            num_steps=selection.history[-1].step,
            elapsed_seconds=self.state.clock.elapsed_seconds,
        )
