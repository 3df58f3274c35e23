"""``limbeck report``: pages drawn again from records."""

from __future__ import annotations

from pathlib import Path

from limbeck.records import write_text
from limbeck.reports import read_any_record, read_results, results_markdown, write_report


def run(path: Path, *, out: Path | None) -> Path:
    """Draw the page of a run or a reproduction, whichever the record is of; return the file."""
    record = read_any_record(path)
    return write_report(record, out or (path if path.is_dir() else path.parent) / "report.html")


def results(folder: Path, markdown: Path) -> Path:
    """Write the page of all reproductions whose records are in a folder; return the file."""
    write_text(markdown, results_markdown(read_results(folder)))
    return markdown
