"""``limbeck evaluate``: a saved network, or a committee, on a split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.commands.networks import committee_for, module_for
from limbeck.data import ClipOptions, Normalise, Samples, Views, load_data
from limbeck.distillation import COMMITTEE_FILE
from limbeck.distillation.predictions import Predictions
from limbeck.distillation.reading import Reading, mistakes, read_split
from limbeck.distillation.trained import PooledNetwork
from limbeck.errors import DataError, ModelError, require_fraction, unknown_name
from limbeck.metrics import (
    CoverageChange,
    accuracy,
    change_by_coverage,
    conditional_accuracy,
    exit_costs,
    first_confident_exit,
)
from limbeck.models import EveryExit, ExitNetwork, SavedModel, load_factory, load_model
from limbeck.training import Runtime, predict, set_threads

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class _Outputs:
    """What a saved network says of samples, and what is measured of it beside that."""

    network: str
    reading: Reading
    measurements: dict[str, tuple[float, str]]
    by_coverage: tuple[CoverageChange, ...] = ()  # of a committee


def run(
    model: Path,
    *,
    data: str,
    label_column: str | None = None,
    split: str,
    image_size: int | None,
    clips: ClipOptions | None = None,
    factory: str | None,
    device: str,
    num_threads: int | None,
    threshold: float | None = None,
    num_top_classes: int | None = None,
) -> dict[str, Any]:
    """Measure a saved network or committee; return its measurements and most confused pairs, JSON-able.

    With a threshold the network must have exits, and each sample leaves at the first that is as sure as that. A
    committee is measured beside its generalist, and by how many specialists know the true class.
    """
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    if threshold is not None:
        require_fraction("threshold", threshold)
    set_threads(num_threads)
    runtime = Runtime.resolve(device)
    is_committee = (model / COMMITTEE_FILE).is_file()
    if num_top_classes is not None and not is_committee:
        raise ModelError(
            "Top classes wake the specialists of a committee, and this is none.",
            received=str(model),
            expected="a folder that limbeck specialists train wrote",
        )
    saved = None if is_committee else load_model(model, factory=load_factory(factory) if factory else None)
    if threshold is not None and not (saved and isinstance(saved.module, ExitNetwork)):
        raise ModelError(
            "A threshold is for a network with exits, and this one has none.",
            received=str(model),
            expected="a folder that a network with exits is saved in",
            remedy="limbeck distill --method self saves one in exits/ of its folder",
        )
    splits = load_data(data, image_size=image_size, label_column=label_column, clips=clips)
    samples = getattr(splits, split)
    if samples is None:
        raise DataError(f"{data} has no {split} split.", expected="one of " + ", ".join(_present(splits)))
    samples = samples.take(samples.labelled_positions())
    outputs = (
        _outputs_of_network(saved, samples, threshold=threshold, runtime=runtime)
        if saved
        else _outputs_of_committee(model, samples, num_top_classes=num_top_classes, runtime=runtime)
    )
    measured = outputs.reading.measured | outputs.measurements
    mistaken = mistakes(outputs.reading.rows, samples.class_names).get("most_confused", [])
    return {
        "model": str(model),
        "network": outputs.network,
        "data": data,
        "split": split,
        "num_samples": len(samples),
        "measurements": {name: {"value": value, "unit": unit} for name, (value, unit) in measured.items()},
        "by_coverage": [
            {
                "num_specialists": row.num_specialists,
                "num_samples": row.num_samples,
                "change_in_right": row.change,
                "relative_change": row.relative_change,
            }
            for row in outputs.by_coverage
        ],
        "most_confused": [
            {"true": true, "predicted": predicted, "count": count} for true, predicted, count in mistaken[:5]
        ],
    }


def as_text(measured: dict[str, Any]) -> str:
    """Return the measurements for a terminal."""
    lines = [f"{measured['network']} on {measured['data']}, {measured['split']}: {measured['num_samples']} samples"]
    width = max(map(len, measured["measurements"]))
    for name, item in measured["measurements"].items():
        lines.append(f"  {name:<{width}}{item['value']:>12.4g}  {item['unit']}")
    lines += [_coverage_text(row) for row in measured["by_coverage"]]
    lines += [f"  {pair['true']} taken for {pair['predicted']}: {pair['count']}" for pair in measured["most_confused"]]
    return "\n".join(lines)


def _coverage_text(row: dict[str, Any]) -> str:
    count, change, share = row["num_specialists"], row["change_in_right"], row["relative_change"]
    known = "no specialist" if count == 0 else f"{count} specialist{'s' if count > 1 else ''}"
    told = "" if share is None else f" ({100 * share:+.1f} %)"
    return f"  true class known to {known}: {row['num_samples']:,} samples, {change:+d} right{told}"


def _outputs_of_network(saved: SavedModel, samples: Samples, *, threshold: float | None, runtime: Runtime) -> _Outputs:
    normalise = Normalise.from_saved(saved.normalise)
    module = module_for(saved, train=samples, normalise=normalise).to(runtime.device)
    views = Views(normalise=normalise)
    if threshold is None:
        return _Outputs(saved.spec, read_split(module, samples, views, runtime=runtime), {})
    assert isinstance(module, ExitNetwork)
    logits = predict(EveryExit(module), samples, views, runtime=runtime)
    exits = first_confident_exit(logits, threshold=threshold)
    logits = logits[torch.arange(len(logits)), exits]
    return _Outputs(saved.spec, _read(logits, samples), _exit_measurements(module, exits, samples.input_shape))


def _read(logits: Tensor, samples: Samples) -> Reading:
    return Reading.of(Predictions(logits, samples.labels.cpu(), samples.class_names, samples.task))


def _outputs_of_committee(folder: Path, samples: Samples, *, num_top_classes: int | None, runtime: Runtime) -> _Outputs:
    """Ask generalist and specialists, which take inputs as they are."""
    committee = committee_for(folder, train=samples, normalise=None, num_top_classes=num_top_classes)
    committee.check_fits(samples, Views())
    (generalist,) = committee.generalist.modules
    alone = predict(generalist.to(runtime.device), samples, Views(), runtime=runtime)
    together = predict(PooledNetwork(committee).to(runtime.device), samples, Views(), runtime=runtime)
    labels, sets = samples.labels, committee.class_sets
    among = [conditional_accuracy(logits, labels, sets) for logits in (together, alone)]
    accuracies = {
        "conditional_accuracy": among[0],
        "generalist_accuracy": accuracy(alone, labels),
        "generalist_conditional_accuracy": among[1],
    }
    return _Outputs(
        f"{committee.name}, n = {committee.num_top_classes}",
        _read(together, samples),
        {name: (value, "fraction") for name, value in accuracies.items()},
        tuple(change_by_coverage(alone, together, labels, sets)),
    )


def _exit_measurements(
    network: ExitNetwork, exits: Tensor, input_shape: tuple[int, ...]
) -> dict[str, tuple[float, str]]:
    """Return which share of the samples each exit answered, and the mean operations of an answer."""
    counts = torch.bincount(exits, minlength=len(network.exit_names)).double() / len(exits)
    costs = exit_costs(network, input_shape, num_runs=1)
    flops = sum(float(share) * cost.flops for share, cost in zip(counts, costs, strict=True))
    shares = {f"at {name}": (float(share), "fraction") for name, share in zip(network.exit_names, counts, strict=True)}
    return {**shares, "flops": (flops, "FLOP per sample")}


def _present(splits: Any) -> list[str]:
    return [name for name in SPLITS if getattr(splits, name) is not None]
