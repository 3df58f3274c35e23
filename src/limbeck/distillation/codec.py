"""A trained network in a folder: a saved model with its history, and the last weights where others were chosen."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from limbeck.distillation.run_directory import plain
from limbeck.distillation.task import TrainingTask
from limbeck.distillation.trained import TrainedNetwork, last_weights_of
from limbeck.errors import ModelError
from limbeck.models import ModelFactory, load_model, save_model
from limbeck.models.manifest import MANIFEST, read_manifest
from limbeck.records import EpochRecord, decode_plain, write_bytes
from limbeck.training import FitResult, Runtime, environment_facts
from limbeck.training.sharded_checkpoint import folder_beside

CHECKPOINT = "checkpoint.pt"
EVENTS = "events.jsonl"
LAST_WEIGHTS = "last.safetensors"


def save_trained(
    folder: Path,
    task: TrainingTask,
    fitted: FitResult,
    runtime: Runtime,
    events: Path | None = None,
    together: Sequence[str] = (),
) -> None:
    """Save a trained network, and a copy of the events of its training; remove the checkpoint.

    Args:
        folder: that it is saved in.
        task: that it was trained for.
        fitted: what came of it.
        runtime: of the training.
        events: of the training.
        together: keys of all tasks of the pass that trained it, where others were trained in the same.
    """
    last = _save_last_weights(folder, last_weights_of(fitted))
    save_model(
        folder,
        task.saved_part,
        spec=task.spec,
        input_shape=task.samples.input_shape,
        class_names=task.samples.class_names if task.class_names is None else task.class_names,
        normalise=asdict(task.views.normalise) if task.views.normalise else None,
        role=task.name,
        extra={
            **task.extra,
            **last,
            "identity": task.identity,
            "elapsed_seconds": fitted.elapsed_seconds,
            "selected_epoch": fitted.selected_epoch,
            "environment": plain(environment_facts(runtime)),
            "history": [asdict(record) for record in fitted.history],
            **({"together": list(together)} if together else {}),
        },
    )
    if events is not None:
        with contextlib.suppress(OSError):  # a cohort that was done already may have lost its log
            shutil.copyfile(events, folder / EVENTS)
    with contextlib.suppress(OSError):
        (folder / CHECKPOINT).unlink(missing_ok=True)
    if (pieces := folder_beside(folder / CHECKPOINT)).is_dir():
        shutil.rmtree(pieces, ignore_errors=True)


def trained_together(folder: Path) -> list[str]:
    """Return the keys of all tasks of the pass that trained a saved network; none for one that was trained alone."""
    try:
        keys: list[str] = read_manifest(folder / MANIFEST)["extra"].get("together", [])
    except ModelError:  # whoever loads it tells that
        return []
    return keys


def load_trained(folder: Path, task: TrainingTask, *, device: torch.device, was_cached: bool) -> TrainedNetwork:
    """Load a network into the task's student, and move it to a device.

    Raises:
        ModelError: the folder is damaged, or of another identity.
    """
    try:
        saved = load_model(folder, factory=ModelFactory(task.spec, lambda: task.saved_part))
        if saved.extra.get("identity") != task.identity:
            raise ModelError(f"{folder} holds the network of another task.", received="an identity that differs")
        last_weights = _load_last_weights(folder, saved.extra, device)
    except ModelError as error:
        error.remedy = f"delete {folder} to train this network again"
        raise
    return TrainedNetwork(
        role=task.name,
        name=task.spec,
        seed=task.seed,
        origin=f"trained in {folder.name}",
        module=task.student.eval().to(device),
        last_weights=last_weights,
        selected_epoch=saved.extra["selected_epoch"],
        history=[decode_plain(EpochRecord, epoch, f"{folder}, history") for epoch in saved.extra["history"]],
        elapsed_seconds=saved.extra["elapsed_seconds"],
        folder=folder,
        was_cached=was_cached,
        environment=saved.extra["environment"],
    )


def on_every_rank(load: Callable[[], TrainedNetwork], task: TrainingTask, runtime: Runtime) -> TrainedNetwork:
    """Return what ``load``, called on rank 0 alone, loads into the task's student; the others get its weights."""
    loaded: list[TrainedNetwork] = []

    def told() -> tuple[TrainedNetwork, dict[str, Tensor]]:
        loaded.append(load())
        last = loaded[0].last_weights
        on_host = None if last is None else {name: value.cpu() for name, value in last.items()}
        weights = {name: value.cpu() for name, value in task.student.state_dict().items()}
        return replace(loaded[0], module=nn.Identity(), last_weights=on_host), weights

    if runtime.ranks.size == 1:
        return load()
    facts, weights = runtime.ranks.from_first(told)
    if loaded:
        return loaded[0]
    task.student.load_state_dict(weights)
    last, place = facts.last_weights, runtime.place_of_students
    return replace(
        facts,
        module=task.student.eval().to(place),
        last_weights=None if last is None else {name: value.to(place) for name, value in last.items()},
    )


def _save_last_weights(folder: Path, weights: Mapping[str, Tensor] | None) -> dict[str, str]:
    """Write the last epoch's weights where there are any; return what ``model.json`` says of the file."""
    if weights is None:
        return {}
    content = safetensors.torch.save({name: value.cpu().contiguous() for name, value in weights.items()})
    write_bytes(folder / LAST_WEIGHTS, content)
    return {"last_weights": hashlib.sha256(content).hexdigest()}


def _load_last_weights(folder: Path, extra: Mapping[str, Any], device: torch.device) -> dict[str, Tensor] | None:
    if "last_weights" not in extra:
        return None
    try:
        content = (folder / LAST_WEIGHTS).read_bytes()
    except OSError as error:
        raise ModelError(f"Cannot read {folder / LAST_WEIGHTS}.", received=error.strerror) from error
    if hashlib.sha256(content).hexdigest() != extra["last_weights"]:
        raise ModelError(f"{folder / LAST_WEIGHTS} is damaged.", received="bytes of another SHA-256")
    return {name: value.to(device) for name, value in safetensors.torch.load(content).items()}
