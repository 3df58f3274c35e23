"""From flags and files to a checked configuration and a loaded data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from limbeck.config import Layer, TrainConfig, read_file, read_layer, recipe_from, resolve
from limbeck.data import Normalise, Splits, load_data
from limbeck.errors import ConfigError
from limbeck.presets import preset_for, read_preset
from limbeck.training import set_threads

Config = TypeVar("Config", bound=TrainConfig)


def layers_of(*, file: Path | None, flags: dict[str, Any], assignments: Sequence[str]) -> list[Layer]:
    """Return what was asked for, layer by layer: the file, the flags, and every ``--set``."""
    layers = [read_file(file)] if file is not None else []
    return [*layers, Layer("the command line", flags), *(assignment(text) for text in assignments)]


def prepare(
    kind: type[Config], *, file: Path | None, flags: dict[str, Any], assignments: Sequence[str]
) -> tuple[Config, Splits]:
    """Check what was asked for, load the data, and lay file, flags and assignments over the data set's preset.

    Everything is checked once without the preset, so that a wrong key fails before data are loaded.
    """
    layers = layers_of(file=file, flags=flags, assignments=assignments)
    asked = resolve(kind, layers)
    splits = load_data(
        asked.data,
        image_size=asked.image_size,
        validation_fraction=asked.validation_fraction,
        seed=asked.split_seed,
    )
    name = preset_for(asked.data, is_image=splits.train.is_image)
    preset = read_layer(read_preset(name), source=f"the preset {name}")
    known = kind.of_preset(preset.values)
    config = resolve(kind, [Layer(preset.source, known, preset.lines), *layers])
    set_threads(config.num_threads)
    return config, splits


def shared_arguments(config: TrainConfig, splits: Splits, normalise: Normalise | None) -> dict[str, Any]:
    """Return the arguments that ``limbeck.distill`` and ``limbeck.train`` have in common."""
    return {
        "train": splits,
        "recipe": recipe_from(config.recipe),
        "augmentations": config.augmentations,
        "num_views": config.num_views,
        "view_seed": config.view_seed,
        "normalise": normalise,
        "seeds": config.seeds,
        "num_labelled": config.num_labelled,
        "validation_fraction": config.validation_fraction,
        "split_seed": config.split_seed,
        "device": config.device,
        "precision": config.precision,
    }


def normalise_for(config: TrainConfig, splits: Splits) -> Normalise | None:
    """Return the normalisation that a configuration asks for."""
    if config.normalise is True:
        return Normalise.fit(splits.train)
    if config.normalise is False:
        return None
    return Normalise(mean=tuple(config.normalise.mean), std=tuple(config.normalise.std))


def described(config: TrainConfig, normalise: Normalise | None, recipes: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration with every value resolved: written to the run's folder, it gives the same run again."""
    resolved = config.model_dump() | recipes
    resolved["normalise"] = False if normalise is None else {"mean": list(normalise.mean), "std": list(normalise.std)}
    return resolved


def free_folder(stem: str, config_text: str) -> Path:
    """Return ``runs/STEM``, or the first of ``runs/STEM-2``, ``-3`` ... that is free or holds this run, stopped."""
    number = 1
    while True:
        path = Path("runs") / (stem if number == 1 else f"{stem}-{number}")
        if not path.exists():
            return path
        config = path / "config.yaml"
        if config.exists() and not (path / "record.json").exists() and config.read_text("utf-8") == config_text:
            return path
        number += 1


def assignment(text: str) -> Layer:
    """Return the layer of ``--set recipe.schedule=cosine``."""
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise ConfigError("--set takes KEY=VALUE.", received=text, expected="like recipe.schedule=cosine")
    source = f"--set {text}"
    values: Any = read_layer(f"value: {value}", source=source).values.get("value")
    for key in reversed(name.strip().split(".")):
        values = {key: values}
    return Layer(source, values)
