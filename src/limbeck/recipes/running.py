"""From a recipe and settings to a record and a page in a folder."""

from __future__ import annotations

import contextlib
import time
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from limbeck.distillation.experiment import Experiment
from limbeck.distillation.run_directory import RECORD_FILE, REPORT_FILE, dump_config, plain
from limbeck.errors import OutputError
from limbeck.recipes import Recipe, load_recipe
from limbeck.records import folder_lock, make_folder, remove_stale, write_text
from limbeck.reports import read_pictures, read_reproduction, write_report
from limbeck.reproduction import ReproductionRecord, reproduction_to_json
from limbeck.training import Progress, Runtime, environment_facts, progress_for
from limbeck.training.ranked import check_alike

ROOT = Path("runs") / "reproduce"


@dataclass(frozen=True)
class Reproduction:
    """A finished reproduction."""

    record: ReproductionRecord
    folder: Path


def reproduce(
    name: str,
    *,
    settings: Any = None,
    smoke: bool = False,
    out: Path | str | None = None,
    networks: Path | str | None = None,
    device: str = "auto",
    precision: str = "fp32",
    progress: Progress | str = "auto",
    command: str = "limbeck.recipes.running.reproduce(...)",
) -> Reproduction:
    """Run a recipe, and write its record and page.

    Networks that are there already are not trained again, so a stopped run goes on, and a finished one is measured
    again in moments. A record of other settings is never overwritten.

    Ranks that torchrun started train each network together, and each evaluates all; the first writes. A recipe that
    trains several networks at once is refused where it begins to.

    Args:
        name: one of ``limbeck.recipes.RECIPES``.
        settings: the recipe's ``Settings``; its own, or its ``SMOKE``, where not given.
        smoke: cut data to a few samples.
        out: folder of record and page; ``runs/reproduce/NAME`` where not given, ``NAME-smoke`` for a smoke run.
        networks: folder of trained networks, shared with other recipes; ``networks`` beside ``out`` where not given.
        device: "auto", "cpu", "cuda", "mps".
        precision: "auto", "fp32", "bf16", "fp16"; part of what decides a network's weights.
        progress: "auto", "bar", "plain", "silent", or a Progress.
        command: kept in the record.
    Raises:
        LimbeckError: a name, setting, data set or folder that cannot be used.
        FolderInUse: another process reproduces into the folder.
        InvalidValue: ranks that were given different settings, or cannot share a batch or a training.
        TrainingInterrupted: Ctrl-C or SIGTERM; the same call goes on.
    """
    recipe = load_recipe(name)
    settings = settings if settings is not None else recipe.SMOKE if smoke else recipe.Settings()
    folder = Path(out) if out is not None else ROOT / (f"{name}-smoke" if smoke else name)
    described: dict[str, Any] = plain(asdict(settings))
    runtime = Runtime.resolve(device, precision, takes_ranks=True)
    ranks = runtime.ranks
    check_alike({"recipe": name, "settings": dump_config({**described, "smoke": smoke})}, ranks)
    shown: Progress | str = progress if ranks.is_first else "silent"
    with contextlib.ExitStack() as until_written:

        def begin() -> None:
            until_written.enter_context(folder_lock(make_folder(folder)))
            _open_folder(folder, name, smoke=smoke, settings=described)

        ranks.from_first(begin)
        experiment = Experiment.of_recipe(
            Path(networks) if networks is not None else folder.parent / "networks",
            runtime,
            progress_for(shown) if isinstance(shown, str) else shown,
            smoke=smoke,
            folder=folder if ranks.is_first else None,
            config=described,
            command=command,
        )
        recipe.run(settings, experiment)
        record = _record(name, recipe, experiment)
        if ranks.is_first:
            write_report(record, folder / REPORT_FILE, pictures=read_pictures(folder, record))
            write_text(folder / RECORD_FILE, reproduction_to_json(record))
    return Reproduction(ranks.from_first(lambda: record), folder)


def _record(name: str, recipe: Recipe, experiment: Experiment) -> ReproductionRecord:
    results = experiment.results
    return ReproductionRecord(
        recipe=name,
        title=(recipe.__doc__ or name).strip().splitlines()[0].rstrip("."),
        paper=recipe.PAPER,
        command=experiment.command,
        smoke=experiment.smoke,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        elapsed_seconds=time.perf_counter() - experiment.started,
        settings=experiment.config,
        departures=list(recipe.DEPARTURES),
        claims=list(recipe.CLAIMS),
        observations=results.observations,
        figures=results.figures,
        notes=results.notes,
        environment=plain(environment_facts(experiment.runtime)),
        data=experiment.data_record() if experiment.opened else None,
        networks=list(experiment.facts.values()),
    )


def _open_folder(folder: Path, name: str, *, smoke: bool, settings: dict[str, Any]) -> None:
    """Refuse a folder with the record of something else."""
    for file in (RECORD_FILE, REPORT_FILE):
        remove_stale(folder, file)
    if not (folder / RECORD_FILE).exists():
        return
    found = read_reproduction(folder)
    if (found.recipe, found.smoke, found.settings) == (name, smoke, settings):
        return
    differing = [key for key in settings if found.settings.get(key) != settings[key]]
    if found.recipe != name:
        received = f"of {found.recipe}"
    elif found.smoke != smoke:
        received = "of a smoke run" if found.smoke else "of a full run"
    else:
        received = "; ".join(f"{key} = {found.settings.get(key)}" for key in differing) or "other settings"
    raise OutputError(
        f"{folder} holds the record of another reproduction.",
        received=received,
        expected="; ".join(f"{key} = {settings[key]}" for key in differing) or f"{name}{', smoke' if smoke else ''}",
        remedy="choose another --out; networks are found again through --networks",
    )
