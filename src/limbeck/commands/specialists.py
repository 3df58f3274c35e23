"""``limbeck specialists``: which classes the specialists of a generalist are to learn, and their training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.commands.networks import module_for
from limbeck.commands.settings import prepare
from limbeck.data import Normalise, Samples, Views, augmentations_from, label_part
from limbeck.distillation import TrainedSpecialist, save_committee, train_specialists
from limbeck.errors import ConfigError, DataError, unknown_name
from limbeck.metrics import confusion_matrix
from limbeck.models import SavedModel, load_model
from limbeck.pooling import require_num_top_classes
from limbeck.records import folder_lock, make_folder, remove_stale
from limbeck.reports import save_class_sets_picture
from limbeck.settings import TrainJobConfig
from limbeck.specialists import METHODS, SpecialistPlan, load_plan, plan_specialists, prediction_covariance
from limbeck.training import Runtime, predict, progress_for

SPLITS = ("train", "validation", "test")


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
    prepared = prepare(TrainJobConfig, file=None, flags=flags, assignments=assignments)
    config, splits = prepared.config, prepared.splits
    saved = _generalist(generalist, train=splits.train)
    samples: Samples | None = getattr(splits, split)
    if samples is None:
        raise DataError(f"{config.data} has no {split} split.", expected="a split that is there: train always is")
    runtime = Runtime.resolve(config.device, "fp32")
    views = Views(normalise=Normalise.from_saved(saved.normalise))
    logits = predict(saved.module.to(runtime.device), samples, views, runtime=runtime)
    probabilities = torch.softmax(logits.double(), dim=1)
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
        generalist_fingerprint=saved.fingerprint,
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


def train(
    generalist: str,
    plan_file: Path,
    *,
    flags: dict[str, Any],
    assignments: Sequence[str],
    learning: dict[str, Any],
    special_share: float,
    form: str,
    seed: int,
    num_top_classes: int,
    out: Path,
    jobs: str,
    progress: str,
) -> dict[str, Any]:
    """Train the specialists of a plan and write the committee; return a summary, JSON-able.

    ``learning`` holds those of ``variant``, ``temperature``, ``hard_weight`` and ``soft_weight`` that were given.
    """
    display = progress_for(progress)
    made = load_plan(plan_file)
    prepared = prepare(TrainJobConfig, file=None, flags=flags, assignments=assignments)
    config, splits = prepared.config, prepared.splits
    saved = _generalist(generalist, train=splits.train)
    require_num_top_classes(num_top_classes, num_classes=len(saved.class_names))
    normalise, samples = Normalise.from_saved(saved.normalise), splits.train
    if config.num_labelled is not None:
        samples = label_part(samples, count=config.num_labelled, seed=config.split_seed)
    runtime = Runtime.resolve(config.device, config.precision)
    with folder_lock(make_folder(out)):
        remove_stale(out)
        specialists = train_specialists(
            saved.module,
            made,
            samples,
            recipe=config.recipe,
            validation=splits.validation,
            views=Views(augmentations_from(config.augmentations), normalise, seed),
            **learning,
            special_share=special_share,
            form=form,  # type: ignore[arg-type]  # checked there
            seed=seed,
            generalist_spec=saved.spec,
            out=out,
            jobs=jobs,
            threads_per_job=config.num_threads,
            runtime=runtime,
            progress=display,
        )
        save_committee(out, saved, specialists, normalise=saved.normalise, num_top_classes=num_top_classes)
        made.save(out / "plan.yaml")
    return {
        "committee": str(out),
        "variant": learning.get("variant", "dustbin"),
        "num_top_classes": num_top_classes,
        "specialists": [
            {
                "folder": one.folder.name if one.folder else None,
                "class_set": one.class_set,
                "dustbin_offset": one.dustbin_offset,
                "selected_epoch": one.selected_epoch,
                "balanced_validation_accuracy": _validation_accuracy(one),
                "training_seconds": one.elapsed_seconds,
                "was_cached": one.was_cached,
            }
            for one in specialists
        ],
    }


def trained_as_text(summary: dict[str, Any]) -> str:
    """Return what was trained for a terminal."""
    lines = []
    for number, one in enumerate(summary["specialists"]):
        accuracy = one["balanced_validation_accuracy"]
        reached = "" if accuracy is None else f", {100 * accuracy:.1f} % of its validation samples right"
        how = "was there" if one["was_cached"] else f"epoch {one['selected_epoch']}"
        lines.append(f"  {number}: {len(one['class_set'])} classes, {how}{reached}")
    lines.append(f"committee: {summary['committee']}")
    return "\n".join(lines)


def _validation_accuracy(specialist: TrainedSpecialist) -> float | None:
    chosen = next(record for record in specialist.history if record.epoch == specialist.selected_epoch)
    return chosen.validation.get("accuracy")


def _generalist(text: str, *, train: Samples) -> SavedModel:
    """Load a generalist, and see that it is of the data's classes and inputs."""
    saved = load_model(Path(text))
    module_for(saved, train=train, normalise=Normalise.from_saved(saved.normalise))
    return saved


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
