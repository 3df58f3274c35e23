"""``limbeck report``: pages drawn again from records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from limbeck.errors import InvalidValue
from limbeck.records import make_folder, write_text
from limbeck.reports import (
    compare_runs,
    comparison_text,
    read_record,
    read_results,
    redraw_report,
    render_comparison,
    results_markdown,
    results_pages,
)


def run(path: Path, *, out: Path | None) -> Path:
    """Draw the page of a run or a reproduction, whichever the record is of; return the file."""
    return redraw_report(path, out)


def compare(paths: Sequence[Path], *, out: Path | None) -> tuple[Path, str]:
    """Draw runs side by side; return the file, and the comparison for a terminal.

    Raises:
        RecordError: a folder without a run's record.
        OutputError: the file cannot be written.
    """
    records = {name: read_record(path) for name, path in zip(_names(paths), paths, strict=True)}
    target = out or Path("comparison.html")
    write_text(target, render_comparison(records))
    return target, comparison_text(compare_runs(records))


def _names(paths: Sequence[Path]) -> list[str]:
    """Return the folders' names; whole paths where two have the same, numbered where one stands twice."""
    folders = [path.parent if path.suffix == ".json" else path for path in paths]
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    return [f"{name} ({place + 1})" if name in names[:place] else name for place, name in enumerate(names)]


def only(folders: Sequence[Path]) -> Path:
    """Return the one folder of reproductions.

    Raises:
        InvalidValue: there are several.
    """
    if len(folders) > 1:
        raise InvalidValue("--markdown is of one folder of reproductions.", received=" ".join(map(str, folders)))
    return folders[0]


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
