"""``limbeck evaluate``: a saved network on a split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from limbeck.commands.networks import module_for, normalise_from
from limbeck.data import Views, load_data
from limbeck.errors import DataError, unknown_name
from limbeck.metrics import confusion_matrix, measure_predictions, most_confused
from limbeck.models import load_factory, load_model
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
) -> dict[str, Any]:
    """Measure a saved network; return its measurements and most confused pairs, JSON-able."""
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    set_threads(num_threads)
    runtime = Runtime.resolve(device)
    saved = load_model(model, factory=load_factory(factory) if factory else None)
    splits = load_data(data, image_size=image_size)
    samples = getattr(splits, split)
    if samples is None:
        raise DataError(f"{data} has no {split} split.", expected="one of " + ", ".join(_present(splits)))
    samples = samples.take(samples.labelled_positions())
    normalise = normalise_from(saved)
    module = module_for(saved, train=samples, normalise=normalise).to(runtime.device)
    logits = predict(module, samples, Views(normalise=normalise), runtime=runtime)
    measured = measure_predictions(logits, samples.labels)
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


def _present(splits: Any) -> list[str]:
    return [name for name in SPLITS if getattr(splits, name) is not None]
