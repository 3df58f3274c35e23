"""The training loop: one network, one objective, resumable to the bit.

The data's way through one step: positions of the epoch's order -> views -> batch -> student (and teacher, on the same
inputs) -> objective -> backward -> optimiser -> constraints -> averaged weights. Losses stay on the device and are read
once in a window of steps, so no step waits for the device.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.data import Batch, Samples, Views, epoch_order, iterate_batches
from limbeck.errors import InvalidValue, TeacherError, TrainingDiverged
from limbeck.models import project_max_norm
from limbeck.objectives import Objective, count_valid
from limbeck.records import EpochRecord
from limbeck.teachers import Teacher
from limbeck.training.averaging import AveragedWeights
from limbeck.training.checkpoint import load_checkpoint, save_checkpoint
from limbeck.training.evaluate import evaluate
from limbeck.training.interrupt import StopRequest, TrainingInterrupted, stop_requests
from limbeck.training.optimiser import build_optimiser
from limbeck.training.progress import EventLog, Progress, SilentProgress
from limbeck.training.recipe import Recipe
from limbeck.training.runtime import Runtime
from limbeck.training.schedule import learning_rate_at
from limbeck.training.tally import LossTally

CHECKPOINT_SECONDS = 60.0

Weights = dict[str, Tensor]


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
        seed=seed,
        steps_per_epoch=steps_per_epoch,
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


class _Training:
    """The state of one run and the steps that move it."""

    def __init__(
        self,
        *,
        student: nn.Module,
        train: Samples,
        objective: Objective,
        recipe: Recipe,
        teacher: Teacher | None,
        validation: Samples | None,
        views: Views,
        seed: int,
        steps_per_epoch: int | None,
        runtime: Runtime,
        name: str,
        checkpoint: Path | None,
        checkpoint_seconds: float,
        events: EventLog,
        progress: Progress,
    ) -> None:
        self.student = student.to(runtime.device)
        self.train, self.validation, self.views = train, validation, views
        self.objective, self.teacher, self.recipe = objective, teacher, recipe
        self.seed, self.runtime, self.name = seed, runtime, name
        self.checkpoint, self.checkpoint_seconds = checkpoint, checkpoint_seconds
        self.events, self.progress = events, progress
        _check_teacher(objective, teacher, student, views)
        for module in teacher.modules if teacher else ():
            module.to(runtime.device)

        self.batches_per_pass = count_batches(len(train), recipe.batch_size)
        self.steps_per_epoch = steps_per_epoch or self.batches_per_pass
        self.num_steps = recipe.num_epochs * self.steps_per_epoch
        self.optimiser = build_optimiser(self.student, recipe)
        self.average = AveragedWeights(self.student, decay=recipe.ema_decay) if recipe.ema_decay is not None else None
        self.scaler = torch.amp.GradScaler(runtime.device.type, enabled=runtime.precision == "fp16")
        self.tally = LossTally(("total", *objective.part_names), device=runtime.device)

        self.step = 0
        self.history: list[EpochRecord] = []
        self.best: dict[str, Any] = {}
        self.elapsed_seconds = 0.0
        self.done = False
        self._clock = self._epoch_clock = self._saved_at = time.perf_counter()
        self._epoch_seconds = 0.0  # of the current epoch, spent before a resume

    # --- the run ---

    def run(self, stop: StopRequest) -> FitResult:
        torch.manual_seed(self.seed)
        if self.checkpoint is not None and self.checkpoint.exists():
            self._restore(load_checkpoint(self.checkpoint, identity=self.identity()))
        elif self.checkpoint is not None:
            self._save()
        if not self.done:
            self.progress.begin(self.name, num_steps=self.num_steps, done_steps=self.step)
            self.events.write("begin", self.name, step=self.step, num_steps=self.num_steps, recipe=self.recipe)
            try:
                self._train(stop)
            finally:
                self.progress.end()
            if self.teacher is not None:
                self.teacher.check_unchanged()
            self._save()
            self.events.write("end", self.name, step=self.step, elapsed_seconds=self.elapsed_seconds)
        return self._result()

    def _train(self, stop: StopRequest) -> None:
        self._start_clock()
        self.student.train()
        for batch in self.tally.time_waits(self._batches()):
            self._do_step(batch)
            if self.tally.is_full:
                self._read_losses()
            if self.step % self.steps_per_epoch == 0:
                self._end_epoch()
            if self.done:
                return
            if stop.made:
                self._read_losses()
                self._save()
                raise TrainingInterrupted(name=self.name, step=self.step, checkpoint=self.checkpoint)
            if self.checkpoint and time.perf_counter() - self._saved_at >= self.checkpoint_seconds:
                self._read_losses()
                self._save()

    def _batches(self) -> Iterator[Batch]:
        """Yield the batches from the current step on, pass after pass, without an end."""
        size = self.recipe.batch_size
        samples = self.views.prepared(self.train)
        first_pass, start = divmod(self.step, self.batches_per_pass)
        for index in range(first_pass, 1 << 62):
            order = epoch_order(samples.ids, seed=self.seed, epoch=index)[: self.batches_per_pass * size]
            yield from iterate_batches(samples, self.views, order, batch_size=size, view=index, start_batch=start)
            start = 0

    def _do_step(self, batch: Batch) -> None:
        rate = learning_rate_at(self.recipe, self.step, self.num_steps)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        if self.runtime.device.type != "cpu":
            batch = batch.to(self.runtime.device, non_blocking=True)
        counts = count_valid(batch)
        row = [torch.zeros(())]
        for number, part in enumerate(_split(batch, self.recipe.accumulation_steps)):
            with self.runtime.autocast():
                targets = self.teacher(part.ids, part.inputs) if self.teacher is not None else None
                outputs = self.student(part.inputs)
            loss = self.objective(outputs, targets, part, counts=counts)
            self.scaler.scale(loss.total).backward()  # type: ignore[no-untyped-call]
            values = [loss.total.detach(), *loss.means.values()]
            row = values if number == 0 else [a + b for a, b in zip(row, values, strict=True)]
        self._update_weights()
        self.step += 1
        self.tally.add(row, examples=counts.examples, labelled=counts.labelled)

    def _update_weights(self) -> None:
        if self.recipe.clip_norm is not None:
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self.student.parameters(), self.recipe.clip_norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.optimiser.zero_grad(set_to_none=True)
        project_max_norm(self.student)
        if self.average is not None:
            self.average.update(self.student)

    def _read_losses(self) -> None:
        """Bring the window's losses to the host; raise TrainingDiverged at the first that is not finite."""
        first_step = self.step - self.tally.num_pending
        bad = self.tally.read()
        if bad is not None:
            step = first_step + bad + 1
            kept = self.checkpoint if self.checkpoint and self.checkpoint.exists() else None
            self.events.write("diverged", self.name, step=step)
            raise TrainingDiverged(
                f"The loss of {self.name} became NaN or infinite at step {step} of {self.num_steps}.",
                received=f"learning rate {learning_rate_at(self.recipe, step - 1, self.num_steps):.4g}",
                expected="a finite loss" + (f"; the last good checkpoint is {kept}" if kept else ""),
                remedy="lower the learning rate, set clip_norm, or warm up longer",
            )
        recent = self.tally.recent
        seconds = max(1e-9, time.perf_counter() - self._epoch_clock + self._epoch_seconds)
        speed, wait = self.tally.examples / seconds, self.tally.wait_seconds / seconds
        self.progress.advance(self.step, recent, samples_per_second=speed, data_wait=wait)
        if recent:
            self.events.write("steps", self.name, step=self.step, losses=recent, learning_rate=self._learning_rate())

    def _end_epoch(self) -> None:
        self._read_losses()
        seconds = time.perf_counter() - self._epoch_clock + self._epoch_seconds
        validation = self._validate()
        self.elapsed_seconds += time.perf_counter() - self._clock
        record = EpochRecord(
            epoch=self.step // self.steps_per_epoch,
            step=self.step,
            learning_rate=self._learning_rate(),
            elapsed_seconds=self.elapsed_seconds,
            samples_per_second=self.tally.examples / seconds,
            data_wait_fraction=min(1.0, self.tally.wait_seconds / seconds),
            train=self.tally.epoch_means(),
            validation=validation,
        )
        self.history.append(record)
        self.tally.reset()
        self._epoch_seconds = 0.0
        self._keep_best(record)
        self.done = self.step >= self.num_steps or self._out_of_patience()
        self.events.write("epoch", self.name, **asdict(record))
        self.progress.epoch(record)
        self._start_clock()

    def _validate(self) -> dict[str, float]:
        if self.validation is None:
            return {}
        measured = evaluate(
            self.student, self.validation, self.views, runtime=self.runtime, weights=self._evaluated_weights()
        )
        return {name: measured[name] for name in ("errors", "accuracy", "nll")}

    def _keep_best(self, record: EpochRecord) -> None:
        """Keep the weights of the epoch with the fewest validation errors, then the lower NLL; else the last."""
        key = [record.validation["errors"], record.validation["nll"]] if record.validation else [0.0, -record.epoch]
        if not self.best or key < self.best["key"]:
            weights = self._evaluated_weights() or self.student.state_dict()
            self.best = {"key": key, "epoch": record.epoch, "weights": _copy(weights)}

    def _out_of_patience(self) -> bool:
        patience = self.recipe.patience_epochs
        return patience is not None and self.step // self.steps_per_epoch - int(self.best["epoch"]) >= patience

    def _evaluated_weights(self) -> Weights | None:
        return self.average.state if self.average is not None else None

    def _learning_rate(self) -> float:
        return float(self.optimiser.param_groups[0]["lr"])

    def _start_clock(self) -> None:
        self._clock = self._epoch_clock = time.perf_counter()

    def _result(self) -> FitResult:
        last = _copy(self._evaluated_weights() or self.student.state_dict())
        selected = {key: value.to(self.runtime.device) for key, value in self.best["weights"].items()}
        self.student.load_state_dict(selected)
        self.student.eval()
        return FitResult(
            student=self.student,
            selected_weights=selected,
            last_weights=last,
            selected_epoch=int(self.best["epoch"]),
            history=self.history,
            num_steps=self.step,
            elapsed_seconds=self.elapsed_seconds,
        )

    # --- checkpoints ---

    def identity(self) -> dict[str, str]:
        """What must be equal for a checkpoint to go on here."""
        shapes = {key: list(value.shape) for key, value in self.student.state_dict().items()}
        return {
            "network": json.dumps(shapes),
            "objective": repr(self.objective),
            "recipe": json.dumps(asdict(self.recipe)),
            "seed": str(self.seed),
            "steps": str(self.num_steps),
            "training data": self.train.fingerprint,
            "validation data": self.validation.fingerprint if self.validation else "none",
            "views": self.views.fingerprint,
            "teacher": self.teacher.fingerprint if self.teacher else "none",
            "precision": self.runtime.precision,
        }

    def _save(self) -> None:
        if self.checkpoint is None:
            return
        now = time.perf_counter()
        self._epoch_seconds += now - self._epoch_clock
        self.elapsed_seconds += now - self._clock
        state = {
            "step": self.step,
            "done": self.done,
            "student": self.student.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": [self.average.num_updates, self.average.state] if self.average else [],
            "scaler": self.scaler.state_dict(),
            "random": self._random_state(),
            "tally": self.tally.state(),
            "history": json.dumps([asdict(record) for record in self.history]),
            "best": self.best,
            "elapsed_seconds": self.elapsed_seconds,
            "epoch_seconds": self._epoch_seconds,
        }
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(self.checkpoint, state, identity=self.identity())
        self._start_clock()
        self._saved_at = self._clock

    def _random_state(self) -> list[Tensor]:
        cuda = self.runtime.device.type == "cuda"
        return [torch.get_rng_state(), *([torch.cuda.get_rng_state(self.runtime.device)] if cuda else [])]

    def _restore(self, state: dict[str, Any]) -> None:
        self.step, self.done = state["step"], state["done"]
        self.student.load_state_dict(state["student"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.average is not None:
            self.average.num_updates = state["average"][0]
            self.average.state = {key: value.to(self.runtime.device) for key, value in state["average"][1].items()}
        self.scaler.load_state_dict(state["scaler"])
        self.tally.restore(state["tally"])
        self.history = [EpochRecord(**record) for record in json.loads(state["history"])]
        self.best = state["best"]
        self.elapsed_seconds, self._epoch_seconds = state["elapsed_seconds"], state["epoch_seconds"]
        torch.set_rng_state(state["random"][0])
        if len(state["random"]) > 1 and self.runtime.device.type == "cuda":
            torch.cuda.set_rng_state(state["random"][1], self.runtime.device)


def _check_teacher(objective: Objective, teacher: Teacher | None, student: nn.Module, views: Views) -> None:
    if objective.needs_teacher and teacher is None:
        raise TeacherError("This objective needs a teacher.", received="none", remedy="pass teacher=")
    if teacher is None:
        return
    if not views.is_constant and not teacher.answers_any_view:
        raise TeacherError(
            f"The teacher {teacher.name} has answers for the clean view only.",
            received="augmented views for the student",
            expected="targets of the very pixels that the student sees",
            remedy="train without augmentation, or give the teacher's network",
        )
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
        fields = {
            key: value[start : start + size] if isinstance(value, Tensor) else value
            for key, value in vars(batch).items()
        }
        yield Batch(**fields)


def _copy(weights: Weights) -> Weights:
    return {key: value.detach().clone() for key, value in weights.items()}
