"""``train``: one network on labels over several seeds, measured once on the test set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from limbeck.data import Normalise
from limbeck.distillation.result import RunResult
from limbeck.distillation.runs import evaluate_all, finish_run, open_run, trainer
from limbeck.distillation.settings import TrainSettings, seed_numbers
from limbeck.distillation.sources import NetworkSource, network_from
from limbeck.distillation.splits import job_data
from limbeck.objectives import HardLabels
from limbeck.training import Progress, Recipe


def train(
    network: NetworkSource,
    train: Any,
    *,
    test: Any = None,
    validation: Any = None,
    recipe: Recipe | None = None,
    augmentations: Sequence[str] = (),
    num_views: int | None = None,
    view_seed: int = 0,
    normalise: Normalise | None = None,
    seeds: int | Sequence[int] = 1,
    num_labelled: int | None = None,
    validation_fraction: float = 0.1,
    split_seed: int = 0,
    class_names: Sequence[str] | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    device: str = "auto",
    precision: str = "auto",
    progress: Progress | str = "auto",
    command: str = "limbeck.train(...)",
    config: dict[str, Any] | None = None,
) -> RunResult:
    """Train a network on labels: a teacher to be, or a student without one. The arguments are those of ``distill``.

    Returns:
        The network of the seed that validation chose, and the record, in which its role is "student".
    Raises:
        LimbeckError: settings, data, network or folder that cannot be used; nothing has been trained then.
        TrainingDiverged: a loss became NaN or infinite.
    """
    settings = TrainSettings(
        recipe=recipe or Recipe(),
        augmentations=tuple(augmentations),
        num_views=num_views,
        view_seed=view_seed,
        seeds=seed_numbers(seeds),
        num_labelled=num_labelled,
        validation_fraction=validation_fraction,
        split_seed=split_seed,
    )
    data = job_data(train, validation=validation, test=test, class_names=class_names, settings=settings)
    built = network_from(network)
    config = config or {
        "data": data.name,
        "network": built.name,
        **settings.describe(),
        "normalise": asdict(normalise) if normalise else None,
    }
    experiment = open_run(
        data,
        normalise=normalise,
        config=config,
        device=device,
        precision=precision,
        progress=progress,
        out=out,
        overwrite=overwrite,
        command=command,
    )
    train_one = trainer(experiment, settings)
    trained = [
        train_one(built, role="student", seed=seed, samples=data.labelled, objective=HardLabels())
        for seed in settings.seeds
    ]
    networks, measurements = evaluate_all(experiment, trained)
    return finish_run(experiment, "train", trained, seeds=settings.seeds, networks=networks, measurements=measurements)
