"""``export``: a trained network as files, each compared with it on a whole split before any of them is kept."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

from limbeck.data import Samples, Splits
from limbeck.distillation import RunResult
from limbeck.distillation.arguments import job
from limbeck.errors import InvalidValue, OutputError
from limbeck.exporting.deployed import INPUT_NAME
from limbeck.exporting.files import FileWriter
from limbeck.exporting.finished import Asked, described, finished_export
from limbeck.exporting.hub_folder import library_of
from limbeck.exporting.program import AXES
from limbeck.exporting.pushing import push_folder
from limbeck.exporting.source import Exported, exported_from, split_of, splits_for
from limbeck.inputs import named_tensors
from limbeck.metrics import count_parameters
from limbeck.models import SavedModel
from limbeck.records import FolderLock, list_files, make_folder, partial_path, remove_stale, write_text
from limbeck.records.export_record import EXPORT_FILE, EXPORTS_FOLDER, ExportedInput, ExportRecord, export_to_json
from limbeck.reports import redraw_report
from limbeck.reports.model_card import CardFacts, model_card
from limbeck.settings import Doc, ExportSettings
from limbeck.training import Runtime, environment_facts

CARD_FILE = "README.md"


@dataclass(frozen=True)
class ExportJob(ExportSettings):
    """Arguments of ``limbeck.export``."""

    student: Annotated[
        str | Path | RunResult | SavedModel, Doc("A run's folder, the folder of a saved network, or a job's result.")
    ]
    data: Annotated[
        str | Path | Splits | Mapping[str, Any] | None,
        Doc("What it was trained on: as ``load_data`` takes it, or data sets by split; by default the run's."),
    ] = None
    loading: Annotated[dict[str, Any] | None, Doc("More arguments of ``load_data``.")] = None
    factory: Annotated[str | None, Doc("``package.module:factory`` of a network of your own.")] = None


@job(ExportJob)
def export(settings: ExportJob) -> ExportRecord:
    """Write a trained network as files that run without Limbeck, and measure that they compute the same.

    Every file is run beside the network on all samples of the split. float32 is refused where a logit differs by more
    than ``tolerance``, float16 and int8 where more than ``max_lost`` of the accuracy is lost; then nothing is written.
    The same export given again writes nothing: it proves the files that are there, and returns their record.

    Returns:
        The record, which lies beside the files as ``export.json``.
    Raises:
        ModelError: a network that cannot be exported, or a file that differs.
        DataError: data that do not fit the network.
        OutputError: a folder that cannot be written or holds something else.
        RecordError: files of this very export that were changed.
        FolderInUse: another process exports into it.
        MissingPackage: onnx, onnxscript or onnxruntime is not installed.
    """
    if settings.to != "onnx" and tuple(settings.precision) != ("float32",):
        raise InvalidValue(
            "Half precision and integers are of ONNX files.",
            received=f"--to {settings.to} with {', '.join(settings.precision)}",
            expected="--to onnx, or --precision float32",
        )
    if settings.push and settings.to != "hf":
        raise InvalidValue("What is pushed is a folder of the hub.", received=f"--to {settings.to}", expected="--to hf")
    exported = exported_from(settings.student, factory=settings.factory)
    splits = splits_for(exported, settings.data, settings.loading or {})
    samples = split_of(splits, settings.split)
    out = _folder(exported, settings)
    make_folder(out.parent)
    with FolderLock(out.with_name(f".{out.name}.lock"), guards=out, is_removed=True):
        remove_stale(out.parent, out.name)
        asked = Asked(exported.saved.fingerprint, splits.name or samples.name, described(settings))
        record = finished_export(out, asked, overwrite=settings.overwrite)
        if record is None:
            record = _in_place(out, exported, splits, samples, settings)
        _redraw_run(out, exported)
    if settings.push:
        push_folder(out, settings.push, private=settings.private)
    return record


def _in_place(out: Path, exported: Exported, splits: Splits, samples: Samples, settings: ExportJob) -> ExportRecord:
    """Write everything into a neighbour, then give it its name; return the record."""
    partial = partial_path(out)
    try:
        make_folder(partial)
        record = _written(partial, exported, splits, samples, settings)
        if settings.to == "hf":
            write_text(partial / CARD_FILE, model_card(record, exported.run, _card_facts(exported, settings)))
        write_text(partial / EXPORT_FILE, export_to_json(record))
        _put_in_place(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return record


def _redraw_run(out: Path, exported: Exported) -> None:
    """Draw a run's report again with the table of these files, where they lie in its folder."""
    run_folder = exported.folder if exported.run is not None else None
    if run_folder is not None and out.parent.resolve() == (run_folder / EXPORTS_FOLDER).resolve():
        redraw_report(run_folder)


def _card_facts(exported: Exported, settings: ExportJob) -> CardFacts:
    saved = exported.saved
    title = (settings.push or "").rpartition("/")[2] or f"{saved.spec} by Limbeck"
    return CardFacts(title, library_of(exported), saved.input_shape, settings.licence)


def _written(folder: Path, exported: Exported, splits: Splits, samples: Samples, settings: ExportJob) -> ExportRecord:
    """Write and compare the files; return the record."""
    writer = FileWriter(exported, splits.train, samples, settings)
    files = writer.write(folder)
    saved, network = exported.saved, writer.reference()
    axes = writer.free_axes
    inputs = [
        ExportedInput(
            name or INPUT_NAME,
            str(part.dtype).removeprefix("torch."),
            [AXES.get(place, f"axis{place}") if place in axes[name] else size for place, size in enumerate(part.shape)],
        )
        for name, part in named_tensors(writer.example)
    ]
    return ExportRecord(
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        to=settings.to,
        network=saved.spec,
        fingerprint=saved.fingerprint,
        num_parameters=count_parameters(saved.module),
        class_names=list(saved.class_names),
        task=samples.task,
        inputs=inputs,
        preprocess=settings.preprocess,
        normalise=exported.saved.normalise,
        data=splits.name or samples.name,
        split=settings.split,
        tolerance=settings.tolerance,
        max_lost=settings.max_lost,
        accuracy=network.accuracy,
        seconds_per_sample_batch1=network.seconds[0],
        seconds_per_sample_batch64=network.seconds[1],
        files=files,
        environment=environment_facts(Runtime.resolve("cpu", "fp32")),
        notes=writer.notes,
        settings=described(settings),
        others={name: digest for name, digest in list_files(folder).items() if name not in {one.file for one in files}},
    )


def _folder(exported: Exported, settings: ExportJob) -> Path:
    """Return where to write."""
    if settings.out is not None:
        return Path(settings.out)
    if exported.folder is not None:
        return exported.folder / EXPORTS_FOLDER / settings.to
    raise InvalidValue("An export needs a folder.", expected="out=FOLDER: the network comes from no run's folder")


def _put_in_place(partial: Path, out: Path) -> None:
    """Rename the finished folder into place; an older export is removed only now."""
    try:
        if out.exists():
            shutil.rmtree(out)
        partial.rename(out)
    except OSError as error:
        raise OutputError(f"Cannot write {out}.", received=error.strerror, remedy="choose another --out") from error
