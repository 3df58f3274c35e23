"""``limbeck report``: pages drawn again from records."""

from __future__ import annotations

from pathlib import Path

from limbeck.records import make_folder, write_text
from limbeck.reports import read_results, redraw_report, results_markdown, results_pages


def run(path: Path, *, out: Path | None) -> Path:
    """Draw the page of a run or a reproduction, whichever the record is of; return the file."""
    return redraw_report(path, out)


def results(folder: Path, markdown: Path) -> Path:
    """Write the page of all reproductions whose records are in a folder, and a page of each in the folder beside it.

    Returns:
        The first page. ``docs/results.md`` has the recipes' pages and figures in ``docs/results/``.
    """
    records = read_results(folder)
    beside = markdown.with_suffix("")
    make_folder(beside)
    for name, text in results_pages(records).items():
        write_text(beside / name, text)
    write_text(markdown, results_markdown(records, folder=beside.name))
    return markdown
