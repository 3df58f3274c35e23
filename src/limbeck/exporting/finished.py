"""An export that is there already: the one that was asked for, or another one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck.errors import OutputError, RecordError
from limbeck.records import hash_file
from limbeck.records.export_record import EXPORT_FILE, ExportRecord, read_export
from limbeck.settings import ExportSettings
from limbeck.settings.setting import as_plain, fields_of


@dataclass(frozen=True)
class Asked:
    """What decides what an export's files are.

    Args:
        network: its fingerprint.
        data: name of what the files are compared on.
        settings: of the export, as :func:`described` returns them.
    """

    network: str
    data: str
    settings: dict[str, Any]


def described(settings: ExportSettings) -> dict[str, Any]:
    """Return the settings that the files depend on, JSON-able."""
    found = {}
    for name, (_, _, setting) in fields_of(ExportSettings).items():
        if setting.is_key and setting.group != "machine":
            value = as_plain(getattr(settings, name))
            found[name] = list(value) if isinstance(value, tuple) else value
    return found


def finished_export(out: Path, asked: Asked, *, overwrite: bool) -> ExportRecord | None:
    """Return the record of the very export that is asked for, where its files are there and whole.

    Args:
        out: the export's folder.
        asked: what decides the files.
        overwrite: whether an export that is there is replaced.
    Returns:
        None where there is nothing in the way.
    Raises:
        OutputError: another export, or something else, is in the folder.
        RecordError: the export that is asked for, but a file of it was changed.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    is_export = (out / EXPORT_FILE).is_file()
    if is_export and overwrite:
        return None
    if not is_export:
        raise OutputError(
            f"{out} holds something else.", expected="an empty or missing folder", remedy="choose another --out"
        )
    record = read_export(out)
    if differing := _differences(record, asked):
        raise OutputError(
            f"{out} holds an export of another kind.",
            received="; ".join(received for received, _ in differing),
            expected="; ".join(expected for _, expected in differing),
            remedy="choose another --out, or add --overwrite to replace it",
        )
    for name, digest in record.sha256_of().items():
        found = hash_file(out / name) if (out / name).is_file() else None
        if found != digest:
            raise RecordError(
                f"{out / name} is not what was exported.",
                received="no such file" if found is None else f"SHA-256 {found}",
                expected=f"SHA-256 {digest}, as {EXPORT_FILE} says",
                remedy="add --overwrite to export the network again",
            )
    return record


def _differences(record: ExportRecord, asked: Asked) -> list[tuple[str, str]]:
    """Return what the record says and what was asked for, where they are not the same."""
    found = {"network": record.fingerprint, "data": record.data, **(record.settings or {})}
    wanted = {"network": asked.network, "data": asked.data, **asked.settings}
    return [
        (f"{name} {found.get(name, 'unknown')!s:.20}", f"{name} {value!s:.20}")
        for name, value in wanted.items()
        if found.get(name, "unknown") != value
    ]
