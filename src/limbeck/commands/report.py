"""``limbeck report``: pages drawn again from records."""

from __future__ import annotations

from pathlib import Path

from limbeck.records import write_text
from limbeck.reports import read_results, redraw_report, results_markdown


def run(path: Path, *, out: Path | None) -> Path:
    """Draw the page of a run or a reproduction, whichever the record is of; return the file."""
    return redraw_report(path, out)


def results(folder: Path, markdown: Path) -> Path:
    """Write the page of all reproductions whose records are in a folder; return the file."""
    write_text(markdown, results_markdown(read_results(folder)))
    return markdown
