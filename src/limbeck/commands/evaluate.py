"""``limbeck evaluate``: a saved network on a split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.commands.networks import module_for, normalise_from
from limbeck.data import Views, load_data
from limbeck.errors import DataError, ModelError, require_fraction, unknown_name
from limbeck.metrics import confusion_matrix, exit_costs, first_confident_exit, measure_predictions, most_confused
from limbeck.models import EveryExit, ExitNetwork, load_factory, load_model
from limbeck.training import Runtime, predict, set_threads

SPLITS = ("train", "validation", "test")


def run(
    model: Path,
    *,
    data: str,
    split: str,
    image_size: int | None,
    factory: str | None,
    device: str,
    num_threads: int | None,
    threshold: float | None = None,
) -> dict[str, Any]:
    """Measure a saved network; return its measurements and most confused pairs, JSON-able.

    With a threshold the network must have exits, and each sample leaves at the first that is as sure as that.
    """
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    if threshold is not None:
        require_fraction("threshold", threshold)
    set_threads(num_threads)
    runtime = Runtime.resolve(device)
    saved = load_model(model, factory=load_factory(factory) if factory else None)
    if threshold is not None and not isinstance(saved.module, ExitNetwork):
        raise ModelError(
            "A threshold is for a network with exits, and this one has none.",
            received=str(model),
            expected="a folder that a network with exits is saved in",
            remedy="limbeck distill --method self saves one in exits/ of its folder",
        )
    splits = load_data(data, image_size=image_size)
    samples = getattr(splits, split)
    if samples is None:
        raise DataError(f"{data} has no {split} split.", expected="one of " + ", ".join(_present(splits)))
    samples = samples.take(samples.labelled_positions())
    normalise = normalise_from(saved)
    module = module_for(saved, train=samples, normalise=normalise).to(runtime.device)
    views, shares = Views(normalise=normalise), {}
    if threshold is not None:
        assert isinstance(module, ExitNetwork)
        logits = predict(EveryExit(module), samples, views, runtime=runtime)
        exits = first_confident_exit(logits, threshold=threshold)
        logits = logits[torch.arange(len(logits)), exits]
        shares = _exit_measurements(module, exits, samples.input_shape)
    else:
        logits = predict(module, samples, views, runtime=runtime)
    measured = measure_predictions(logits, samples.labels) | shares
    confusion = confusion_matrix(logits, samples.labels)
    return {
        "model": str(model),
        "network": saved.spec,
        "data": data,
        "split": split,
        "num_samples": len(samples),
        "measurements": {name: {"value": value, "unit": unit} for name, (value, unit) in measured.items()},
        "most_confused": [
            {"true": true, "predicted": predicted, "count": count}
            for true, predicted, count in most_confused(confusion, samples.class_names, count=5)
        ],
    }


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
