"""``limbeck specialists``: which classes the specialists of a generalist are to learn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.commands.networks import trained_teacher
from limbeck.commands.settings import normalise_for, prepare
from limbeck.config import DistillConfig
from limbeck.data import Samples, Views, iterate_batches
from limbeck.errors import ConfigError, DataError, unknown_name
from limbeck.metrics import confusion_matrix
from limbeck.records import make_folder
from limbeck.reports import save_class_sets_picture
from limbeck.specialists import METHODS, SpecialistPlan, plan_specialists, prediction_covariance
from limbeck.teachers import Teacher
from limbeck.training import Runtime

SPLITS = ("train", "validation", "test")
BATCH_SIZE = 512


def plan(
    generalist: str,
    *,
    flags: dict[str, Any],
    assignments: Sequence[str],
    split: str,
    method: str,
    num_specialists: int,
    size: int | None,
    max_size: int | None,
    overlap: int,
    seed: int,
    out: Path,
) -> dict[str, Any]:
    """Ask the generalist about a split, cluster its classes, write plan and picture; return a summary, JSON-able."""
    if method not in METHODS:
        raise unknown_name("way to cluster classes", method, METHODS)
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    if out.suffix.lower() not in (".yaml", ".yml"):
        raise ConfigError("A plan is a YAML file.", received=str(out), expected="--out NAME.yaml")
    make_folder(out.parent)
    config, splits = prepare(
        DistillConfig, file=None, flags={**flags, "teachers": [generalist]}, assignments=assignments
    )
    samples: Samples | None = getattr(splits, split)
    if samples is None:
        raise DataError(f"{config.data} has no {split} split.", expected="a split that is there: train always is")
    normalise = normalise_for(config, splits)
    runtime = Runtime.resolve(config.device, "fp32" if config.precision == "auto" else config.precision)
    teacher = trained_teacher(
        [generalist],
        data=config.data,
        from_command_line=True,
        train=splits.train,
        normalise=normalise,
        device=runtime.device,
    )
    probabilities = torch.cat(list(_predictions(teacher, samples, Views(normalise=normalise), runtime)))
    covariance = prediction_covariance(probabilities)
    made = plan_specialists(
        _confusions(probabilities, samples) if method == "confusion" else covariance,
        class_names=list(samples.class_names),
        num_specialists=num_specialists,
        size=size,
        max_size=max_size,
        overlap=overlap,
        method=method,
        seed=seed,
        generalist_fingerprint=teacher.fingerprint,
    )
    made.save(out)
    picture = out.with_suffix(".png")
    save_class_sets_picture(picture, covariance.numpy(), made.class_numbers(), class_names=made.class_names)
    return _summary(made, out, picture, num_samples=len(samples), split=split, data=config.data)


def as_text(summary: dict[str, Any]) -> str:
    """Return the summary for a terminal."""
    lines = [f"{summary['plan']}: {len(summary['class_sets'])} specialists, {summary['method']}, by {summary['asked']}"]
    lines += [f"  {number}: {', '.join(names)}" for number, names in enumerate(summary["class_sets"])]
    covered = ", ".join(f"{count} in {times}" for times, count in summary["classes_by_coverage"].items())
    lines += [f"classes by the specialists that know them: {covered}", f"picture: {summary['picture']}"]
    return "\n".join(lines)


def _predictions(teacher: Teacher, samples: Samples, views: Views, runtime: Runtime) -> Iterator[Tensor]:
    positions = torch.arange(len(samples))
    for batch in iterate_batches(samples, views, positions, batch_size=BATCH_SIZE, view=None):
        with runtime.autocast():
            targets = teacher(batch.ids, batch.inputs.to(runtime.device))
        yield torch.softmax(targets.logits_at(1.0).double(), dim=1).cpu()


def _confusions(probabilities: Tensor, samples: Samples) -> Tensor:
    labelled = samples.labelled_positions()
    if len(labelled) == 0:
        raise DataError("The confusion matrix needs labels.", received="0 labelled samples", remedy="--method kmeans")
    return confusion_matrix(probabilities[labelled], samples.labels[labelled].cpu()).double()


def _summary(
    made: SpecialistPlan, out: Path, picture: Path, *, num_samples: int, split: str, data: str
) -> dict[str, Any]:
    coverage = made.coverage()
    return {
        "plan": str(out),
        "picture": str(picture),
        "method": made.method,
        "asked": f"{num_samples:,} {split} samples of {data}",
        "class_sets": made.class_sets,
        "coverage": coverage,
        "classes_by_coverage": {str(times): count for times, count in sorted(Counter(coverage.values()).items())},
    }
