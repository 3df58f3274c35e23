"""Experiment trackers of others, fed with every epoch: TensorBoard, Weights & Biases, MLflow, trackio.

Each is imported when it is asked for. One that fails on the way is told once and left out: ``events.jsonl`` is the
truth, and no tracker can stop a run.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from limbeck.errors import InvalidValue, MissingPackage, unknown_name
from limbeck.records import EpochRecord
from limbeck.training.progress import Progress

PROJECT = "limbeck"


class Tracker(Protocol):
    """What a tracker does."""

    def log(self, network: str, step: int, values: Mapping[str, float]) -> None:
        """Take one epoch's numbers of a network, after ``step`` optimiser steps."""

    def end(self) -> None:
        """Finish the run."""


class TrackedProgress(Progress):
    """Shows what another progress shows, and gives every epoch to trackers.

    Args:
        shown: what a person sees.
        trackers: by name.
    """

    def __init__(self, shown: Progress, trackers: Mapping[str, Tracker]) -> None:
        self._shown, self._trackers, self._network = shown, dict(trackers), ""

    def begin(self, name: str, *, num_steps: int, done_steps: int, unit: str = "steps") -> None:
        self._network = name
        self._shown.begin(name, num_steps=num_steps, done_steps=done_steps, unit=unit)

    def advance(self, step: int, losses: dict[str, float], *, samples_per_second: float, data_wait: float) -> None:
        self._shown.advance(step, losses, samples_per_second=samples_per_second, data_wait=data_wait)

    def epoch(self, record: EpochRecord) -> None:
        self._shown.epoch(record)
        values = values_of(record)
        self._each(lambda tracker: tracker.log(self._network, record.step, values))

    def end(self) -> None:
        self._shown.end()

    def say(self, text: str) -> None:
        self._shown.say(text)

    def close(self) -> None:
        """Finish the run in every tracker."""
        self._each(lambda tracker: tracker.end())
        self._trackers.clear()

    def _each(self, act: Callable[[Tracker], None]) -> None:
        for name in list(self._trackers):
            self._try(name, act)

    def _try(self, name: str, act: Callable[[Tracker], None]) -> None:
        try:
            act(self._trackers[name])
        except Exception as error:
            del self._trackers[name]
            self.say(f"{name} failed and gets no more of this run: {type(error).__name__}: {str(error)[:200]}")


def values_of(record: EpochRecord) -> dict[str, float]:
    """Return an epoch's numbers by the names that trackers show."""
    return {
        **{f"train/{name}": value for name, value in record.train.items()},
        **{f"validation/{name}": value for name, value in record.validation.items()},
        "learning_rate": record.learning_rate,
        "samples_per_second": record.samples_per_second,
    }


def tracked(
    shown: Progress, names: Sequence[str], *, run: str, folder: Path | None, config: Mapping[str, Any]
) -> Progress:
    """Return a progress that gives every epoch to the named trackers, too; the same where none is named.

    Args:
        shown: what a person sees.
        names: of trackers.
        run: its name there.
        folder: of the run; TensorBoard writes into it.
        config: settings, JSON-able.
    Raises:
        MissingPackage: a tracker is not installed.
        InvalidValue: a tracker that cannot begin, such as one without a login; nothing has been trained then.
        UnknownName: no such tracker.
    """
    trackers: dict[str, Tracker] = {}
    for name in dict.fromkeys(names):
        if name not in _MAKERS:
            raise unknown_name("tracker", name, _MAKERS)
        package, make = _MAKERS[name]
        try:
            module = importlib.import_module(package)
        except ImportError as error:
            raise MissingPackage(
                f"--log {name} needs {name}.", received=str(error)[:200], remedy=f"pip install {name}"
            ) from error
        try:
            trackers[name] = make(module, run, folder, config)
        except Exception as error:
            raise InvalidValue(
                f"{name} cannot begin a run.",
                received=f"{type(error).__name__}: {str(error)[:300]}",
                expected="a tracker that is set up: its login, its server",
                remedy=f"log in to {name} or set up its server first, or leave --log {name} out",
            ) from error
    return TrackedProgress(shown, trackers) if trackers else shown


class _TensorBoard:
    """Writes its first file with the first epoch, when the run's folder is there."""

    def __init__(self, module: Any, run: str, folder: Path | None, config: Mapping[str, Any]) -> None:
        self._make, self._folder, self._config = module.SummaryWriter, (folder or Path("runs")) / "tensorboard", config
        self._writer: Any = None

    def log(self, network: str, step: int, values: Mapping[str, float]) -> None:
        if self._writer is None:
            self._writer = self._make(str(self._folder))
            self._writer.add_text("config", "\n".join(f"    {name}: {value}" for name, value in self._config.items()))
        for name, value in values.items():
            self._writer.add_scalar(f"{network}/{name}", value, step)
        self._writer.flush()

    def end(self) -> None:
        if self._writer is not None:
            self._writer.close()


class _LogDict:
    """Weights & Biases, and trackio, which speaks like it: networks side by side, each with a step of its own."""

    def __init__(self, module: Any, run: str, folder: Path | None, config: Mapping[str, Any]) -> None:
        self._module, self._networks = module, set[str]()
        module.init(project=PROJECT, name=run, config=dict(config))

    def log(self, network: str, step: int, values: Mapping[str, float]) -> None:
        if network not in self._networks and hasattr(self._module, "define_metric"):
            self._module.define_metric(f"{network}/*", step_metric=f"{network}/step")  # its curves begin at 0, too
        self._networks.add(network)
        named = {f"{network}/{name}": value for name, value in values.items()}
        self._module.log({**named, f"{network}/step": step})

    def end(self) -> None:
        self._module.finish()


class _MLflow:
    def __init__(self, module: Any, run: str, folder: Path | None, config: Mapping[str, Any]) -> None:
        self._module = module
        module.set_experiment(PROJECT)
        module.start_run(run_name=run)
        module.log_params({name: str(value)[:250] for name, value in config.items()})

    def log(self, network: str, step: int, values: Mapping[str, float]) -> None:
        self._module.log_metrics({f"{network}/{name}": value for name, value in values.items()}, step=step)

    def end(self) -> None:
        self._module.end_run()


_MAKERS: dict[str, tuple[str, Callable[[Any, str, Path | None, Mapping[str, Any]], Tracker]]] = {
    "tensorboard": ("torch.utils.tensorboard", _TensorBoard),
    "wandb": ("wandb", _LogDict),
    "mlflow": ("mlflow", _MLflow),
    "trackio": ("trackio", _LogDict),
}
