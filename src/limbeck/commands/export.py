"""``limbeck export``: a run's network as files, and how they compare with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from limbeck.exporting import export
from limbeck.records.export_record import ExportRecord
from limbeck.reports.exports import export_table
from limbeck.training import set_threads


def run(
    student: Path,
    *,
    settings: dict[str, Any],
    data: str | None,
    loading: dict[str, Any],
    factory: str | None,
    num_threads: int | None,
) -> ExportRecord:
    """Export a network as the flags say; return the record."""
    set_threads(num_threads)
    return export(student, data=data, loading=loading, factory=factory, **settings)


def as_text(record: ExportRecord) -> str:
    """Return the table for a terminal."""
    return export_table(record)
