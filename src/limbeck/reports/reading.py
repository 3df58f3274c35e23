"""Records from their files."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TypeVar

from limbeck import reproduction
from limbeck.errors import RecordError
from limbeck.records import RunRecord, format_of, from_json, is_sealed
from limbeck.records.export_record import EXPORT_FILE, EXPORTS_FOLDER, ExportRecord, export_from_json
from limbeck.records.search_record import SEARCH_FILE, SearchRecord, search_from_json
from limbeck.reproduction import ReproductionRecord, reproduction_from_json

RECORD_NAME = "record.json"
UNSEALED = "This record is unsealed: nothing shows whether it was changed since it was written."  # a note of the report
PICTURE_LIMIT_BYTES = 4 << 20
_PICTURE = re.compile(r"\b[\w-]+\.png\b")
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

R = TypeVar("R", RunRecord, ReproductionRecord)


def read_record(path: Path | str) -> RunRecord:
    """Read the record of a run of ``limbeck distill`` or ``limbeck train``.

    The seal of the record is checked; one of an earlier release, which has none, gets a note that says so.

    Args:
        path: a run directory, or its ``record.json``.
    Raises:
        RecordError: there is none, it cannot be read, or it was changed after it was written.
    """
    text, source = _text_of(Path(path))
    return _noted(from_json(text, source=source), text, source)


def read_reproduction(path: Path | str) -> ReproductionRecord:
    """Read the record of ``limbeck reproduce``; see :func:`read_record`."""
    text, source = _text_of(Path(path))
    return _noted(reproduction_from_json(text, source=source), text, source)


def read_any_record(path: Path | str) -> RunRecord | ReproductionRecord:
    """Read a record of either kind, as its format says; see :func:`read_record`."""
    text, source = _text_of(Path(path))
    if format_of(text, source=source) == reproduction.FORMAT:
        return _noted(reproduction_from_json(text, source=source), text, source)
    return _noted(from_json(text, source=source), text, source)


def read_search(folder: Path, run: RunRecord) -> SearchRecord | None:
    """Read what a search wrote beside its run's record; None where the run is no search.

    Raises:
        RecordError: it cannot be read.
    """
    path = folder / SEARCH_FILE
    if run.kind != "search" or not path.is_file():
        return None
    text, source = _text_of(path)
    return search_from_json(text, source=source)


def read_exports(folder: Path, run: RunRecord) -> list[ExportRecord]:
    """Read the exports in a run's folder, ``export/*/export.json``; those of a run that was overwritten are left out.

    Raises:
        RecordError: one that cannot be read.
    """
    found = []
    for path in sorted(folder.glob(f"{EXPORTS_FOLDER}/*/{EXPORT_FILE}")):
        text, source = _text_of(path)
        found.append(export_from_json(text, source=source))
    return [export for export in found if export.files and export.created >= run.created]


def read_pictures(folder: Path, record: ReproductionRecord) -> dict[str, bytes]:
    """Read the pictures beside a reproduction's record that its notes name, by name; those that are gone are left out.

    What is no PNG file, or one larger than ``PICTURE_LIMIT_BYTES``, is left out, too.
    """
    names = dict.fromkeys(name for note in record.notes for name in _PICTURE.findall(note))
    found: dict[str, bytes] = {}
    for name in names:
        path = folder / name
        if path.is_file() and path.stat().st_size <= PICTURE_LIMIT_BYTES:
            content = path.read_bytes()
            if content.startswith(_PNG_SIGNATURE):
                found[name] = content
    return found


def read_results(folder: Path | str) -> dict[str, ReproductionRecord]:
    """Read the committed records under ``FOLDER/NAME/record.json``, by NAME, in alphabetical order.

    Raises:
        RecordError: no such folder, or a record that cannot be read.
    """
    root = Path(folder)
    if not root.is_dir():
        raise RecordError(
            f"There is no folder {root}.", received=str(folder), expected=f"a folder of NAME/{RECORD_NAME}"
        )
    return {path.parent.name: read_reproduction(path) for path in sorted(root.glob(f"*/{RECORD_NAME}"))}


def _noted(record: R, text: str, source: str) -> R:
    if is_sealed(text, source=source):
        return record
    return dataclasses.replace(record, notes=[*record.notes, UNSEALED])


def _text_of(path: Path) -> tuple[str, str]:
    source = path / RECORD_NAME if path.is_dir() else path
    try:
        return source.read_text(encoding="utf-8"), str(source)
    except FileNotFoundError as error:
        raise RecordError(
            f"There is no record at {source}.",
            received=str(path),
            expected=f"a run directory with {RECORD_NAME}, which a run writes when it ends",
            remedy="give the --out folder of a finished run, or let the run finish",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(
            f"Cannot read {source}.",
            received=getattr(error, "strerror", None) or str(error),
            expected=f"a readable {RECORD_NAME} in UTF-8",
            remedy="check the path and its permissions",
        ) from error
