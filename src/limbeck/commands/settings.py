"""From flags and files to a checked configuration and a loaded data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from limbeck.config import Layer, preset_values, read_file, read_layer, resolve
from limbeck.data import ClipOptions, Normalise, SegmentSettings, Splits, can_normalise, load_data
from limbeck.data.kept_normalise import fit_or_recall
from limbeck.data.video.catalog import is_clips
from limbeck.data.video.following import BFrames
from limbeck.distillation import dump_config
from limbeck.errors import ConfigError
from limbeck.presets import preset_for, read_preset
from limbeck.ranks.group import ranks_of_process
from limbeck.settings import (
    DistillSettings,
    JobConfig,
    MutualSettings,
    SearchSettings,
    SelfSettings,
    SingleSettings,
)
from limbeck.settings.setting import as_plain, fields_of
from limbeck.training import set_threads

Config = TypeVar("Config", bound=JobConfig)
JOBS = (SearchSettings, DistillSettings, MutualSettings, SelfSettings, SingleSettings)


def layers_of(*, file: Path | None, flags: dict[str, Any], assignments: Sequence[str]) -> list[Layer]:
    """Return what was asked for, layer by layer: the file, the flags, and every ``--set``."""
    layers = [read_file(file)] if file is not None else []
    return [*layers, Layer("the command line", flags), *(assignment(text) for text in assignments)]


@dataclass(frozen=True, eq=False)
class Prepared(Generic[Config]):
    """A checked configuration with its data.

    Args:
        config: file, flags and assignments laid over the data set's preset.
        splits: the data.
        normalise: of the inputs; None for none.
    """

    config: Config
    splits: Splits
    normalise: Normalise | None

    def arguments(self, *, stem: str, out: Path | None, overwrite: bool, progress: str, command: str) -> dict[str, Any]:
        """Return the arguments of the job in Python, but its networks: every setting that it declares, and the run's.

        Args:
            stem: of the folder's name where ``out`` is not given.
            out: folder to write.
            overwrite: whether a run in it is removed.
            progress: how it is shown.
            command: for the record.
        """
        config = self.config
        job = next(kind for kind in JOBS if isinstance(config, kind))
        resolved = self.described()
        return {name: getattr(config, name) for name in fields_of(job)} | {
            "train": self.splits,
            "normalise": self.normalise,
            "out": out or _chosen_folder(f"{stem}-{Path(config.data).name}", dump_config(resolved)),
            "overwrite": overwrite,
            "progress": progress,
            "command": command,
            "config": resolved,
        }

    def described(self) -> dict[str, Any]:
        """Return the configuration with every value resolved: it gives the same run again."""
        own, described = self.normalise, {}
        for name, (_, _, setting) in fields_of(type(self.config)).items():
            if setting.is_key:
                described[name] = as_plain(getattr(self.config, name))
        described["normalise"] = False if own is None else {"mean": list(own.mean), "std": list(own.std)}
        return described


def with_teacher_epochs(flags: dict[str, Any]) -> dict[str, Any]:
    """Return the flags with ``--epochs`` for teachers that are trained here, too."""
    epochs = flags.get("recipe", {}).get("num_epochs")
    return dict(flags) if epochs is None else {**flags, "teacher_recipe": {"num_epochs": epochs}}


def prepare(
    kind: type[Config], *, file: Path | None, flags: dict[str, Any], assignments: Sequence[str]
) -> Prepared[Config]:
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
        label_column=asked.label_column,
        exif_orientation=asked.exif_orientation,
        clips=clip_options(
            num_segments=asked.num_segments,
            segment_choices=asked.segment_choices,
            b_frames=asked.b_frames,
            skip_broken=asked.skip_broken,
            clip_split=asked.clip_split,
        ),
    )
    name = preset_for(asked.data, is_image=splits.train.is_image, is_clips=is_clips(asked.data))
    preset = read_layer(read_preset(name), source=f"the preset {name}")
    known = preset_values(kind, preset.values)
    config = resolve(kind, [Layer(preset.source, known, preset.lines), *layers])
    set_threads(config.num_threads)
    normalise = normalise_for(config, splits)
    if config.normalise is True and normalise is not None:
        splits = _with_note(splits)
    return Prepared(config, splits, normalise)


def _with_note(splits: Splits) -> Splits:
    """Say where the normalisation was fitted on some of the samples: the configuration keeps its numbers."""
    read, count = Normalise.fitted_on(splits.train), len(splits.train)
    if read == count:
        return splits
    note = f"Mean and deviation of the inputs are those of {read:,} of {count:,} training samples, evenly spread."
    return dataclasses.replace(splits, notes=(*splits.notes, note))


def clip_options(
    *, num_segments: int, segment_choices: int, b_frames: BFrames, skip_broken: bool, clip_split: int
) -> ClipOptions:
    """Return how clips are read, from the settings by name."""
    segments = SegmentSettings(num_segments, segment_choices, b_frames=b_frames)
    return ClipOptions(segments, skip_broken=skip_broken, split_number=clip_split)


def normalise_for(config: JobConfig, splits: Splits) -> Normalise | None:
    """Return the normalisation that a configuration asks for."""
    if config.normalise is False or (config.normalise is True and not can_normalise(splits.train)):
        return None
    if config.normalise is True:
        return fit_or_recall(splits.train)
    return Normalise(mean=tuple(config.normalise.mean), std=tuple(config.normalise.std))


def _chosen_folder(stem: str, config_text: str) -> Path:
    """Return :func:`free_folder`, as the first of the ranks finds it."""
    return ranks_of_process().from_first(lambda: free_folder(stem, config_text))


def free_folder(stem: str, config_text: str) -> Path:
    """Return ``runs/STEM``, or the first of ``runs/STEM-2``, ``-3`` ... that is free or holds this run, stopped."""
    number = 1
    while True:
        path = Path("runs") / (stem if number == 1 else f"{stem}-{number}")
        if not path.exists():
            return path
        config = path / "config.yaml"
        is_stopped = config.exists() and not (path / "record.json").exists()
        if is_stopped and config.read_text("utf-8", errors="replace") == config_text:
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
