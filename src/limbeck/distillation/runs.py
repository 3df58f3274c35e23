"""The run of a job: its folder and experiment at the beginning, its evaluation and record at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from limbeck.distillation.cache import NetworkCache
from limbeck.distillation.evaluation import evaluate_network
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.job_arguments import JobArguments
from limbeck.distillation.result import RunResult
from limbeck.distillation.run_directory import CHECKPOINTS, EVENTS_FILE, RunDirectory, dump_config, plain
from limbeck.distillation.splits import JobData
from limbeck.distillation.task import StudentOptions
from limbeck.distillation.trained import TrainedNetwork
from limbeck.ranks.group import Ranks
from limbeck.records import Comparison, DarkKnowledge, EarlyExitRecord, Measurement, NetworkRecord, RunRecord
from limbeck.records.search_record import SearchRecord
from limbeck.reproduction import Results
from limbeck.settings import TrainSettings
from limbeck.training import Progress, Runtime, SilentProgress, environment_facts, progress_for
from limbeck.training.ranked import check_alike, check_divisible
from limbeck.training.sharded import refuse_sharding
from limbeck.training.trackers import TrackedProgress, tracked


def open_run(
    data: JobData, settings: JobArguments, *, names: dict[str, Any], function: str, takes_ranks: bool = False
) -> Experiment:
    """Resolve device, precision and display, and check the folder, in which nothing is written yet.

    Args:
        data: the job's.
        settings: the job's.
        names: of data and networks, for the record.
        function: that was called, for the record where no command was given.
        takes_ranks: whether the ranks that torchrun started do the job together; otherwise several are refused.
    Raises:
        InvalidValue, UnknownName: a device, precision or display that is not there; ranks that cannot share the batches
            or were given different settings.
        OutputError: a folder that cannot be used.
    """
    config, progress = settings.description(names), settings.progress
    if not takes_ranks or getattr(settings, "fuse", False):
        refuse_sharding(settings.student_sharding)
    runtime = Runtime.resolve(
        settings.device,
        settings.precision,
        takes_ranks=takes_ranks,
        compiles=settings.compile,
        student_sharding=settings.student_sharding,
    )
    path, ranks = Path(settings.out) if settings.out else None, runtime.ranks
    _check_ranks(data, settings, config, ranks)
    directory = RunDirectory.check(path, config=config, overwrite=settings.overwrite, ranks=ranks)
    shown: Progress = SilentProgress()
    if ranks.is_first:
        shown = progress_for(progress) if isinstance(progress, str) else progress
        shown = tracked(shown, settings.log, run=path.name if path else function, folder=path, config=plain(config))
    networks, events = (path / CHECKPOINTS, path / EVENTS_FILE) if path else (None, None)
    return Experiment(
        runtime=runtime,
        progress=shown,
        cache=NetworkCache(networks, runtime, shown, events=events, is_shared=False),
        directory=directory,
        opened=data,
        shown=settings.shown(),
        config=config,
        command=settings.command or f"limbeck.{function}(...)",
        results=Results(path, notes=list(data.notes)),
    )


def _check_ranks(data: JobData, settings: JobArguments, config: dict[str, Any], ranks: Ranks) -> None:
    """Raise InvalidValue unless the ranks can do this job together: before anything is written."""
    if ranks.size == 1:
        return
    fewest = data.labelled if data.has_labels else data.train
    for recipe in (settings.recipe, getattr(settings, "teacher_recipe", None)):
        if recipe is not None:
            check_divisible(len(fewest), recipe, ranks)
    check_alike({"settings": dump_config(config)}, ranks)


def trainer(experiment: Experiment, settings: TrainSettings) -> Callable[..., TrainedNetwork]:
    """Return ``experiment.train_network`` for a job's students: with the recipe and views of its settings."""
    return partial(experiment.train_network, **student_options(settings))


def student_options(settings: TrainSettings) -> StudentOptions:
    """Return what all students of a job share: the recipe and views of its settings."""
    return {
        "recipe": settings.recipe,
        "augmentations": settings.augmentations,
        "num_views": settings.num_views,
        "view_seed": settings.view_seed,
    }


def evaluate_all(
    experiment: Experiment, networks: Sequence[TrainedNetwork], *, teacher_logits: Tensor | None = None
) -> tuple[list[NetworkRecord], list[Measurement]]:
    """Evaluate all networks on the test set, which a job reads here and nowhere else."""
    data, views = experiment.data, experiment.clean_views()
    experiment.is_evaluated = True
    evaluated = [
        evaluate_network(
            network,
            test=data.test,
            validation=data.choosing,
            views=views,
            runtime=experiment.runtime,
            teacher_logits=teacher_logits,
        )
        for network in networks
    ]
    return [record for record, _ in evaluated], [value for _, values in evaluated for value in values]


def chosen_of(candidates: Sequence[TrainedNetwork]) -> TrainedNetwork:
    """Return the network that validation chooses: by errors, then NLL; that of the lowest seed without validation."""

    def key(network: TrainedNetwork) -> tuple[float, float, int]:
        chosen = next((record for record in network.history if record.epoch == network.selected_epoch), None)
        validation = chosen.validation if chosen else {}
        return validation.get("errors", 0.0), validation.get("nll", 0.0), network.seed or 0

    return min(candidates, key=key)


def finish_run(
    experiment: Experiment,
    kind: str,
    candidates: Sequence[TrainedNetwork],
    *,
    seeds: Sequence[int],
    networks: list[NetworkRecord],
    measurements: list[Measurement],
    dark: Sequence[DarkKnowledge] = (),
    comparisons: Sequence[Comparison] = (),
    early_exits: Sequence[EarlyExitRecord] = (),
    search_of: Callable[[RunRecord], SearchRecord] | None = None,
) -> RunResult:
    """Choose the network to deploy by validation, make the record, and write both where there is a folder.

    ``search_of`` makes of the record what a search found: it is written before the record, with which a run is whole.
    """
    chosen, normalise, path = chosen_of(candidates), experiment.normalise, experiment.directory.path
    record = RunRecord(
        kind=kind,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command=experiment.command,
        elapsed_seconds=time.perf_counter() - experiment.started,
        config=plain(experiment.config),
        environment=environment_facts(experiment.runtime),
        data=experiment.data_record(),
        seeds=list(seeds),
        networks=networks,
        measurements=measurements,
        dark_knowledge=list(dark),
        notes=experiment.results.notes,
        comparisons=list(comparisons),
        early_exits=list(early_exits),
    )
    assert chosen.seed is not None, "a candidate was trained here, from a seed"
    result = RunResult(
        student=chosen.module.cpu().eval(),
        student_name=chosen.name,
        student_seed=chosen.seed,
        record=record,
        normalise=asdict(normalise) if normalise else None,
    )
    if path is not None and experiment.directory.is_written:
        result.save(path, search=None if search_of is None else search_of(record))
        experiment.directory.end()
    if isinstance(experiment.progress, TrackedProgress):
        experiment.progress.close()
    return replace(result, record=experiment.runtime.ranks.from_first(lambda: record))
