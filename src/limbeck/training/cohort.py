"""Training a cohort: peers on the same batches, each with its own optimiser, each a constant to the others.

The data's way through one step: batch -> every network's outputs, once -> for each network: the others' outputs,
detached -> objective -> one backward -> its optimiser. "alternating" then asks the network again, without a graph, so
that those after it learn from what it has just become.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from limbeck.data import Batch, Samples, Views
from limbeck.errors import InvalidValue, ModelError, unknown_name
from limbeck.models.calling import training_outputs
from limbeck.objectives import CohortTargets, MutualLearning
from limbeck.ranks.launched import refuse_ranks
from limbeck.settings import TrainConfig
from limbeck.settings.jobs import UPDATES
from limbeck.targets import DenseTargets, SoftTargets
from limbeck.teachers import PooledTargets, Teacher
from limbeck.training.checkpoint import load_checkpoint, restoring, save_checkpoint
from limbeck.training.checks import check_apart, count_batches
from limbeck.training.cohort_progress import MeanProgress
from limbeck.training.compiler import refuse_compiler
from limbeck.training.event_log import EventLog
from limbeck.training.interrupt import StopRequest, stop_requests
from limbeck.training.loop import CHECKPOINT_SECONDS
from limbeck.training.progress import Progress, SilentProgress
from limbeck.training.run import FitResult, TrainingRun
from limbeck.training.runtime import Runtime
from limbeck.training.sharded import refuse_sharding
from limbeck.training.steps import do_steps


@dataclass(frozen=True, eq=False)
class CohortResult:
    """Trained peers.

    ``best`` is the number of the one with the fewest validation errors, then the lower NLL; None where there was no
    validation, which alone may choose.
    """

    members: list[FitResult]
    best: int | None


def fit_cohort(
    students: Sequence[nn.Module],
    train: Samples,
    objective: MutualLearning,
    *,
    recipe: TrainConfig | Sequence[TrainConfig],
    update: str = "alternating",
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
) -> CohortResult:
    """Train networks in place that learn from the labels and from each other: Deep Mutual Learning.

    All see the same views of the same samples in every step; each has its own optimiser, schedule and selected epoch.
    Each is run forward once in a step (where it alternates, all but the last a second time without a graph, which
    leaves batch norm's statistics alone), and backward once, for itself only. Where the checkpoint file exists,
    training goes on from it, and on the CPU ends in the same weights, bit for bit, as if it had never stopped.

    Args:
        students: at least two networks of any architecture, inputs (batch, ...) to logits (batch, classes), the same
            classes; they share no weights. Networks that start from the same weights stay the same, but for dropout.
        train: the samples. The unlabelled ones count in the divergences alone.
        objective: of every network.
        recipe: one for all, or one for each; batch size and epochs are common to all.
        update: "alternating", as in the paper: after a network's step its outputs are refreshed before the next one's.
            "simultaneous": all learn from the outputs at the step's beginning.
        teacher: a frozen teacher beside the peers; needed where the objective's ``teacher_weight`` is above 0.
        validation: chooses each network's epoch, and the best network.
        views: normalisation and augmentation.
        num_views: show views 0 .. n - 1 in turn.
        seed: of order and dropout, for all.
        steps_per_epoch: steps between evaluations, one pass over ``train`` where not given.
        runtime: device and precision; chosen automatically where not given.
        name: of the networks in events and errors: "student 1", "student 2", ...
        checkpoint: file to keep the state of all in.
        checkpoint_seconds: least time between two checkpoints, longer where they are large; 0: after every step.
        events: log of every scalar of every network.
        progress: what a person sees: means over the networks.
    Returns:
        One result for each network, in order, and which is best. Their ``elapsed_seconds`` are the whole cohort's.
    Raises:
        InvalidValue: a cohort of one; recipes that differ in batch size or epochs, split a step, or stop early; another
            number of recipes than of networks.
        ModelError: networks that share weights, or differ in their number of classes.
        UnknownName: another ``update``.
        TrainingDiverged, TrainingInterrupted, TeacherError, CheckpointError: see :func:`fit`.
    Example:
        >>> samples = Samples("toy", torch.arange(8), torch.rand(8, 4), torch.arange(8) % 2, ("no", "yes"))
        >>> peers = [nn.Linear(4, 2), nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))]
        >>> cohort = fit_cohort(peers, samples, MutualLearning(), recipe=TrainConfig(num_epochs=2, batch_size=4))
        >>> [result.num_steps for result in cohort.members]
        [4, 4]

    References:
        Zhang, Xiang, Hospedales, Lu 2018, "Deep Mutual Learning", arXiv:1706.00384, algorithm 1.
    """
    if update not in UPDATES:
        raise unknown_name("update", update, UPDATES)
    recipes = [recipe] * len(students) if isinstance(recipe, TrainConfig) else list(recipe)
    check_cohort(students, recipes)
    refuse_ranks()
    runtime, views = runtime or Runtime.resolve(), views or Views()
    refuse_compiler(runtime.compiles)
    refuse_sharding(runtime.student_sharding)
    teacher = teacher if objective.teacher_weight > 0 else None
    shown = MeanProgress(progress or SilentProgress(), num_networks=len(students))
    runs = [
        TrainingRun(
            student=student,
            train=train,
            objective=objective,
            recipe=own_recipe,
            teacher=teacher,
            validation=validation,
            views=views,
            num_views=num_views if num_views is not None or teacher is None else teacher.num_views,
            seed=seed,
            steps_per_epoch=steps_per_epoch or count_batches(len(train), own_recipe.batch_size),
            runtime=runtime,
            name=f"{name} {number}",
            checkpoint=checkpoint,
            events=events or EventLog(None),
            progress=shown,
        )
        for number, (student, own_recipe) in enumerate(zip(students, recipes, strict=True), start=1)
    ]
    cohort = _Cohort(runs, update, f"{len(runs)} x {name}", checkpoint_seconds, progress or SilentProgress())
    with torch.random.fork_rng(devices=runtime.random_devices), stop_requests() as stop:
        return cohort.train(stop)


def check_cohort(students: Sequence[nn.Module], recipes: Sequence[TrainConfig]) -> None:
    """Raise unless these networks can learn from each other by these recipes; see :func:`fit_cohort`."""
    if len(students) < 2:
        raise InvalidValue(
            "A cohort is at least two networks.", received=f"{len(students)}", expected="2 or more",
            remedy="train a network alone with fit",
        )  # fmt: skip
    if len(recipes) != len(students):
        raise InvalidValue(
            "Each network needs one recipe.",
            received=f"{len(recipes)} recipes for {len(students)} networks",
            expected="one for all, or one for each",
        )
    for setting in ("num_epochs", "batch_size"):
        values = [getattr(recipe, setting) for recipe in recipes]
        if len(set(values)) > 1:
            raise InvalidValue(f"Peers share their {setting}.", received=values, expected="one value for all")
    for recipe in recipes:
        if recipe.accumulation_steps > 1 or recipe.patience_epochs is not None:
            raise InvalidValue(
                "Peers take whole steps together, to the end.",
                received=f"accumulation_steps {recipe.accumulation_steps}, patience_epochs {recipe.patience_epochs}",
                expected="1 and none",
            )
    check_apart(students)


@dataclass(eq=False)
class _Cohort:
    """The networks on their way together; each one's state is in its run."""

    runs: Sequence[TrainingRun]
    update: str
    name: str
    checkpoint_seconds: float
    progress: Progress

    def train(self, stop: StopRequest) -> CohortResult:
        """Train to the end, from the checkpoint on where there is one."""
        first = self.runs[0]
        torch.manual_seed(first.seed)
        if first.checkpoint is not None and first.checkpoint.exists():
            snapshot = load_checkpoint(first.checkpoint, identity=self.identity())
            with restoring(first.checkpoint):
                for run, own in zip(self.runs, snapshot["members"], strict=True):
                    run.state.restore(own)
        else:
            self._save()
        if not first.state.done:
            self.progress.begin(self.name, num_steps=first.num_steps, done_steps=first.state.step)
            self._train(stop)
            self._save()
        return self._result()

    def identity(self) -> dict[str, str]:
        """Return what must be equal for a checkpoint to go on here."""
        own = {f"{key} of {run.name}": value for run in self.runs for key, value in run.identity().items()}
        return {"update": self.update, **own}

    def _train(self, stop: StopRequest) -> None:
        for run in self.runs:
            run.begin()
        do_steps(
            self.runs, self._do_step, save=self._save, stop=stop, checkpoint_seconds=self.checkpoint_seconds,
            progress=self.progress, name=self.name,
        )  # fmt: skip
        for run in self.runs:
            run.events.write("end", run.name, step=run.state.step, elapsed_seconds=run.state.clock.elapsed_seconds)

    def _do_step(self, batch: Batch) -> None:
        first = self.runs[0]
        counts = first.count(batch)
        for run in self.runs:
            run.state.clock.wait_seconds = first.state.clock.wait_seconds
        outputs = [_outputs_of(run, batch) for run in self.runs]
        check_classes(outputs)
        peer_outputs = [DenseTargets(logits.detach()) for logits in outputs]
        beside = self._ask_teacher(batch)
        for k, run in enumerate(self.runs):
            peers = PooledTargets(tuple(peer_outputs[:k] + peer_outputs[k + 1 :]), weights=None, pooling="arithmetic")
            targets = CohortTargets(peers, beside)
            loss = run.objective.backward(
                outputs[k], targets, batch, counts=counts, scale=run.state.updates.scaler.scale
            )
            run.take_step([loss], counts, num_samples=len(batch))
            if self.update == "alternating" and k + 1 < len(self.runs):
                with torch.no_grad(), freeze_batchnorm_stats(run.student):
                    peer_outputs[k] = DenseTargets(_outputs_of(run, batch))

    def _ask_teacher(self, batch: Batch) -> SoftTargets | None:
        first = self.runs[0]
        with first.runtime.autocast():
            return first.ask_teacher(batch)

    def _save(self) -> None:
        checkpoint = self.runs[0].checkpoint
        if checkpoint is None:
            return
        for run in self.runs:
            run.state.clock.tick()
        members = [run.state.snapshot() for run in self.runs]
        save_checkpoint(checkpoint, {"members": members}, identity=self.identity())

    def _result(self) -> CohortResult:
        members = [run.result() for run in self.runs]
        if self.runs[0].validation is None:
            return CohortResult(members, None)
        keys = [run.state.selection.best_key for run in self.runs]
        return CohortResult(members, min(range(len(keys)), key=keys.__getitem__))


def check_classes(outputs: Sequence[Tensor]) -> None:
    """Raise ModelError unless all networks give logits of the same classes."""
    if len({logits.shape for logits in outputs}) > 1:
        raise ModelError(
            "Peers differ in their outputs.",
            received=", ".join(f"network {k} {tuple(logits.shape)}" for k, logits in enumerate(outputs, start=1)),
            expected="(batch, classes), the same for all",
        )


@contextlib.contextmanager
def freeze_batchnorm_stats(network: nn.Module) -> Iterator[None]:
    """Leave the running statistics of batch norm as they are, while it normalises by the batch as in training."""
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    tracked = [module.track_running_stats for module in norms]
    for module in norms:
        module.track_running_stats = False
    try:
        yield
    finally:
        for module, tracks in zip(norms, tracked, strict=True):
            module.track_running_stats = tracks


def _outputs_of(run: TrainingRun, batch: Batch) -> Tensor:
    with run.runtime.autocast():
        outputs: Tensor = training_outputs(run.student, batch.inputs)
    return outputs
