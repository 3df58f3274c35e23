"""The record of an export: what was written, and how it was compared with the network."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limbeck.errors import RecordError
from limbeck.records.codec import decode_record, encode_record
from limbeck.records.files import hash_file, read_text
from limbeck.records.notebook import html_table, mean_text

EXPORT_FORMAT = "limbeck-export"
EXPORT_VERSION = 1
EXPORT_FILE = "export.json"
EXPORTS_FOLDER = "export"  # of a run's folder: one folder for each kind of export


@dataclass(frozen=True)
class ExportedInput:
    """One input of the files: names of axes stand where any size is taken."""

    name: str
    dtype: str  # "uint8", "float32", "int64"
    shape: list[int | str]  # with the batch first


@dataclass(frozen=True)
class ExportedFile:
    """One file, as it was measured on every sample of the split."""

    precision: str  # "float32", "float16", "int8"
    file: str
    sha256: str
    num_bytes: int
    num_samples: int
    max_logit_difference: float  # from the network's logits, largest of all samples and classes
    mean_logit_difference: float
    num_changed_predictions: int
    accuracy: float | None  # None where the split has no labels
    accuracy_lost: float  # the network's less the file's; 0 without labels
    seconds_per_sample_batch1: float | None = None  # None where the file was not timed
    seconds_per_sample_batch64: float | None = None
    how: str = ""  # of int8: what was measured on what


@dataclass(frozen=True)
class ExportRecord:
    """One export of one network."""

    created: str  # ISO 8601, UTC
    to: str  # "onnx", "torch" or "hf"
    network: str  # spec
    fingerprint: str  # of the trained network
    num_parameters: int
    class_names: list[str]
    task: str  # "single_label" or "multi_label"
    inputs: list[ExportedInput]
    preprocess: str
    normalise: dict[str, Any] | None
    data: str
    split: str
    tolerance: float  # of a logit, for float32
    max_lost: float  # of accuracy, for the others
    accuracy: float | None  # of the network itself on the split
    seconds_per_sample_batch1: float  # of the network itself, in torch
    seconds_per_sample_batch64: float
    files: list[ExportedFile]
    environment: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    others: dict[str, str] = field(default_factory=dict)  # SHA-256 of every other file but the model card
    settings: dict[str, Any] | None = None  # that the files depend on; None in a record of an earlier release

    def sha256_of(self) -> dict[str, str]:
        """Return the SHA-256 of every file that has one, by its path from the folder."""
        return {**{one.file: one.sha256 for one in self.files}, **self.others}

    def __repr__(self) -> str:
        return f"ExportRecord({self.network} to {self.to}: {', '.join(file.file for file in self.files)})"

    def _repr_html_(self) -> str:
        """Return the files beside the network, for a notebook."""
        rows = [
            [
                file.file,
                file.precision,
                mean_text([] if file.accuracy is None else [file.accuracy], factor=100, decimals=2),
                f"{file.num_changed_predictions} of {file.num_samples}",
                f"{file.max_logit_difference:.2g}",
                f"{file.num_bytes:,}",
            ]
            for file in self.files
        ]
        headings = [
            "file",
            "precision",
            "accuracy (%)",
            "predictions changed",
            "largest difference of a logit",
            "bytes",
        ]
        return html_table(headings, rows, caption=f"{self.network} on {self.data}, {self.split}")


def export_to_json(record: ExportRecord) -> str:
    """Return the record as sealed JSON text."""
    return encode_record(record, format_name=EXPORT_FORMAT, version=EXPORT_VERSION)


def export_from_json(text: str, *, source: str = "the record") -> ExportRecord:
    """Return the record that :func:`export_to_json` wrote.

    Raises:
        RecordError: not JSON, another format or version, or a field missing, unknown or of the wrong type.
    """
    return decode_record(
        ExportRecord,
        text,
        what="record of an export",
        format_name=EXPORT_FORMAT,
        version=EXPORT_VERSION,
        source=source,
    )


def read_export(folder: Path) -> ExportRecord:
    """Return the record in an export's folder.

    Raises:
        RecordError: it cannot be read, or as :func:`export_from_json`.
    """
    path = folder / EXPORT_FILE
    return export_from_json(read_text(path), source=str(path))


def check_exported(path: Path) -> None:
    """Raise RecordError where a file lies in an export's folder, and is not what its record says."""
    if not (path.parent / EXPORT_FILE).is_file() or not path.is_file():
        return
    digest = read_export(path.parent).sha256_of().get(path.name)
    if digest is not None and (found := hash_file(path)) != digest:
        raise RecordError(
            f"{path} was changed after it was exported.",
            received=f"SHA-256 {found}",
            expected=f"SHA-256 {digest}, as {EXPORT_FILE} says",
            remedy="export the network again",
        )
