"""What every training does around its steps, whatever a step is: batches, stops, checkpoints, progress, epochs.

``fit`` and ``fit_cohort`` bring a :class:`limbeck.training.run.TrainingRun` for each network, ``fit_stacked`` one run
for a whole stack.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from limbeck.ranks.group import Ranks
from limbeck.records import EpochRecord
from limbeck.teachers import Teacher
from limbeck.training.clock import Clock
from limbeck.training.interrupt import StopRequest, TrainingInterrupted
from limbeck.training.progress import Progress
from limbeck.training.updates import WeightUpdates

SAVE_PAUSE = 50  # times as long as a save takes, until the next

BatchT = TypeVar("BatchT")
BatchT_co = TypeVar("BatchT_co", covariant=True)
Validated = TypeVar("Validated")


class StepState(Protocol):
    """What changes from step to step, as far as the loop looks at it."""

    clock: Clock
    updates: WeightUpdates
    meter: Any  # a loss meter, of one network or of a stack
    done: bool

    @property
    def step(self) -> int:
        """How many steps were taken."""


class SteppedRun(Protocol[BatchT_co]):
    """A training that :func:`do_steps` takes step by step."""

    @property
    def state(self) -> StepState:
        """What changes from step to step."""

    @property
    def checkpoint(self) -> Path | None:
        """Where the state is kept."""

    @property
    def ranks(self) -> Ranks:
        """The processes that train together."""

    @property
    def teacher(self) -> Teacher | None:
        """Who gives the soft targets."""

    def batches(self) -> Iterator[BatchT_co]:
        """Yield the batches from the current step on, without an end."""

    def read_losses(self) -> None:
        """Bring the losses of the last steps to the host; raise TrainingDiverged where one is not finite."""


def do_steps(
    runs: Sequence[SteppedRun[BatchT]],
    step: Callable[[BatchT], None],
    *,
    save: Callable[[], None],
    stop: StopRequest,
    checkpoint_seconds: float,
    progress: Progress,
    name: str,
    has_failed: Callable[[], bool] = lambda: False,
    end_save: Callable[[], None] = lambda: None,
) -> None:
    """Take step after step on the first run's batches until it is done, saving now and then; then end the progress.

    Saves take at most a fiftieth of the time, unless ``checkpoint_seconds`` is 0: then every step is followed by one.
    Of saves that go on in the background ``has_failed`` tells of an error, and ``end_save`` waits for the end, and
    raises the error.

    Raises:
        TrainingInterrupted: ``stop`` was made; all was saved.
        TeacherError: the teacher's weights changed on the way.
    """
    first, saved_at, pause = runs[0], time.perf_counter(), checkpoint_seconds
    try:
        for batch in first.state.clock.time_waits(first.batches()):
            step(batch)
            if first.state.done:
                break
            is_due = first.checkpoint is not None and time.perf_counter() - saved_at >= pause
            is_stopped, is_due, is_failed = first.ranks.any_of([stop.made, is_due, has_failed()])
            if is_stopped or is_due:
                for run in runs:
                    run.read_losses()
                begun = time.perf_counter()
                save()
                saved_at = time.perf_counter()
                pause = max(checkpoint_seconds, SAVE_PAUSE * (saved_at - begun)) if checkpoint_seconds else 0.0
            if is_stopped or is_failed:
                end_save()
            if is_stopped:
                raise TrainingInterrupted(name=name, step=first.state.step, checkpoint=first.checkpoint)
    finally:
        progress.end()
    if first.teacher is not None:
        first.teacher.check_unchanged()


def show_steps(state: StepState, progress: Progress, *, num_samples: int) -> None:
    """Show the losses that were read last, at the speed of ``num_samples`` in this epoch so far."""
    state.clock.tick()
    progress.advance(
        state.step,
        state.meter.recent,
        samples_per_second=state.clock.speed(num_samples),
        data_wait=state.clock.wait_fraction,
    )


def end_epoch(
    state: StepState, validate: Callable[[], Validated], *, steps_per_epoch: int, num_samples: int
) -> tuple[EpochRecord, Validated]:
    """Validate, and return the epoch's record, without losses, beside what was measured.

    Its speed is that of training: the time of the validation counts in ``elapsed_seconds`` alone.
    """
    clock = state.clock
    speed, wait_fraction = clock.speed(num_samples), clock.wait_fraction
    validated = validate()
    clock.tick()
    record = EpochRecord(
        epoch=state.step // steps_per_epoch,
        step=state.step,
        learning_rate=state.updates.learning_rate,
        elapsed_seconds=clock.elapsed_seconds,
        samples_per_second=speed,
        data_wait_fraction=wait_fraction,
        train={},
        validation={},
    )
    clock.begin_epoch()
    return record, validated
