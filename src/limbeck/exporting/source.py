"""What is exported: a trained network, and the data that its files are compared on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from limbeck.data import Normalise, Samples, Splits, as_splits, hold_out, is_data_set_dict, load_data
from limbeck.distillation import RunResult
from limbeck.distillation.run_directory import CONFIG_FILE, RECORD_FILE
from limbeck.errors import DataError, LimbeckError, ModelError
from limbeck.models import SavedModel, fingerprint, load_factory, load_model
from limbeck.records import RunRecord, from_json
from limbeck.records.files import read_text as read_written
from limbeck.settings.yaml_text import read_text, read_yaml

LOADING = ("image_size", "label_column", "exif_orientation", "validation_fraction", "split_seed")


REMEDY = "--data NAME_OR_PATH; in Python data=limbeck.load_data(...), the Splits, or a dictionary of data sets by split"


@dataclass(frozen=True, eq=False)
class Exported:
    """A network to export with its run's folder and record; None where it has none."""

    saved: SavedModel
    folder: Path | None
    run: RunRecord | None = None

    @property
    def normalise(self) -> Normalise | None:
        """What its inputs are normalised by."""
        return Normalise.from_saved(self.saved.normalise)


def exported_from(student: str | Path | RunResult | SavedModel, *, factory: str | None = None) -> Exported:
    """Return the network of a folder, of a job's result, or as it is.

    Raises:
        ModelError: a folder without a saved network.
    """
    if isinstance(student, SavedModel):
        return Exported(student, None)
    if isinstance(student, RunResult):
        record = student.record
        saved = SavedModel(
            module=student.student.eval(),
            spec=student.student_name,
            input_shape=tuple(record.data.input_shape),
            class_names=list(record.data.class_names),
            normalise=student.normalise,
            role="student",
            fingerprint=fingerprint(student.student),
            extra={},
        )
        return Exported(saved, None, record)
    folder = Path(student)
    if not folder.is_dir():
        raise ModelError(
            f"There is no folder {folder}.", expected="a folder that limbeck saved a network in, such as a run's"
        )
    path = folder / RECORD_FILE
    run = from_json(read_written(path), source=str(path)) if path.is_file() else None
    return Exported(load_model(folder, factory=load_factory(factory) if factory else None), folder, run)


def splits_for(exported: Exported, data: Any, given: Mapping[str, Any]) -> Splits:
    """Return the data that a network was trained on, or what the caller names.

    Args:
        exported: its folder's ``config.yaml`` says which data, and how they were split.
        data: a name or path; the splits themselves, or a dictionary of data sets by split, of which validation samples
            are held out as the run's were; None for the run's.
        given: arguments of ``load_data`` that the caller sets, which go before the run's.
    Raises:
        DataError: nothing says which data, or they do not fit the network.
    """
    config = _config_of(exported.folder)
    how = {key: config[key] for key in LOADING if config.get(key) is not None}
    how |= {key: value for key, value in given.items() if value is not None}
    if isinstance(data, Splits) or is_data_set_dict(data):
        splits = _with_validation(data if isinstance(data, Splits) else as_splits(data), how)
    else:
        if not isinstance(data, str | Path | None):
            raise DataError("Data to compare on come by split.", received=type(data).__name__, remedy=REMEDY)
        splits = _load(config.get("data") if data is None else str(data), how, is_named=data is not None)
    train = splits.train
    saved = exported.saved
    if tuple(saved.class_names) != train.class_names:
        raise DataError(
            "The network knows other classes than the data.",
            received=", ".join(train.class_names[:12]),
            expected=", ".join(saved.class_names[:12]),
            remedy="name the data that it was trained on: --data",
        )
    is_ragged = bool(getattr(train.inputs, "is_ragged", False))
    if saved.input_shape != train.input_shape and not is_ragged:
        raise DataError(
            "The network takes inputs of another shape.", received=train.input_shape, expected=saved.input_shape
        )
    return splits


def _with_validation(splits: Splits, how: Mapping[str, Any]) -> Splits:
    """Return splits with the validation samples that a run held out of them; as they are where it held out none."""
    fraction = how.get("validation_fraction", 0)
    if splits.validation is not None or splits.test is None or not fraction:
        return splits
    train, validation = hold_out(splits.train, fraction=fraction, seed=how.get("split_seed", 0))
    return replace(splits, train=train, validation=validation)


def _load(name: Any, how: dict[str, Any], *, is_named: bool) -> Splits:
    arguments = {key: how[key] for key in LOADING[:4] if key in how}
    if "split_seed" in how:
        arguments["seed"] = how["split_seed"]
    if not isinstance(name, str):
        raise DataError(
            "Nothing says which data the files are compared on.",
            received="a network without a run's config.yaml",
            expected="the data that it was trained on",
            remedy=REMEDY,
        )
    try:
        return load_data(name, **arguments)
    except LimbeckError as error:
        if not is_named and not Path(name).exists():
            raise DataError(
                "The run's data cannot be loaded again.",
                received=f"{name!r}, the name of data that were handed over in Python, or of a path that is gone",
                expected="the data that it was trained on",
                remedy=REMEDY,
            ) from error
        if error.remedy is None:
            error.remedy = REMEDY
        raise


def split_of(splits: Splits, name: str) -> Samples:
    """Return a split by name.

    Raises:
        DataError: the data have none.
    """
    samples: Samples | None = getattr(splits, name)
    if samples is None:
        raise DataError(
            f"The data have no {name} split.",
            expected="one of " + ", ".join(part for part in ("train", "validation", "test") if getattr(splits, part)),
            remedy="--split, or --validation-fraction of the run above 0",
        )
    return samples


def _config_of(folder: Path | None) -> dict[str, Any]:
    if folder is None or not (folder / CONFIG_FILE).is_file():
        return {}
    path = folder / CONFIG_FILE
    config, _ = read_yaml(read_text(path), source=str(path))
    return config if isinstance(config, dict) else {}
