"""The report as one HTML file that asks nothing of the network and runs no script."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.errors import RecordError
from limbeck.records import RunRecord, write_text
from limbeck.records.export_record import ExportRecord
from limbeck.records.search_record import SearchRecord
from limbeck.reports.claims import (
    claim_table,
    headline,
    key_claims,
    observation_table,
    run_table,
    trained_table,
    training_time,
)
from limbeck.reports.comparing import compare_runs
from limbeck.reports.exports import compression_table, sentences
from limbeck.reports.facts import (
    confused_table,
    data_facts,
    duration,
    flattened,
    key_facts,
    last_epoch_table,
    moment,
    network_table,
    summary_tables,
)
from limbeck.reports.figures import draw_figures, draw_front, draw_observations
from limbeck.reports.reading import read_any_record, read_exports, read_pictures, read_search
from limbeck.reports.searches import candidate_table, headline_of
from limbeck.reports.summary import summarise_run
from limbeck.reports.wording import printable
from limbeck.reproduction import ReproductionRecord

if TYPE_CHECKING:
    from jinja2 import Environment

REPORT_NAME = "report.html"
_MARK, _END = "<!-- sha256 of all before: ", " -->\n"


def render_report(
    record: RunRecord, *, search: SearchRecord | None = None, exports: Sequence[ExportRecord] = ()
) -> str:
    """Return the report of a run as the text of one HTML page.

    The same record gives the same text. Parts that the record has no data for are left out. Every string of the record
    is taken for untrusted and escaped.

    Args:
        record: of ``limbeck distill``, ``limbeck train`` or ``limbeck search``.
        search: what lies beside it as ``search.json``.
        exports: what lies beside it as ``export/*/export.json``.
    Returns:
        HTML with its style sheet, figures (SVG) and pictures inside.
    """
    summary = summarise_run(record)
    return _rendered(
        "report.html.j2",
        record=record,
        summary=summary,
        verdict=headline_of(search) if search else summary.verdict,
        facts=key_facts(record, summary),
        tables=summary_tables(summary),
        meanings=[(column.quantity.heading, column.quantity.meaning) for column in summary.columns],
        last_epoch=last_epoch_table(summary),
        search=search,
        front=draw_front(search) if search else None,
        candidates=candidate_table(search) if search else None,
        exports=[(compression_table(one), [*sentences(one), *one.notes]) for one in exports],
        figures=draw_figures(record, summary),
        confused=confused_table(record),
        networks=network_table(record, summary),
        data=data_facts(record.data),
        config=flattened(record.config),
        environment=flattened(record.environment),
        created=moment(record.created),
    )


def render_reproduction(record: ReproductionRecord, *, pictures: Mapping[str, bytes] | None = None) -> str:
    """Return the page of a reproduction as the text of one HTML page; see :func:`render_report`.

    Args:
        record: of ``limbeck reproduce``.
        pictures: what lies beside it as PNG files, by the name that a note of the record calls each.
    """
    return _rendered(
        "reproduction.html.j2",
        record=record,
        headline=headline(record),
        facts=key_claims(record),
        claims=claim_table(record),
        figures=draw_observations(record),
        pictures=[_picture(name, content, record.notes) for name, content in (pictures or {}).items()],
        observed=observation_table(record),
        runs=run_table(record),
        networks=trained_table(record),
        data=data_facts(record.data) if record.data else [],
        settings=flattened(record.settings),
        environment=flattened(record.environment),
        created=moment(record.created),
        elapsed=duration(record.elapsed_seconds),
        training=training_time(record),
    )


def render_comparison(records: Mapping[str, RunRecord]) -> str:
    """Return several runs side by side as the text of one HTML page; see :func:`render_report`.

    Args:
        records: by the name that the page shows.
    """
    return _rendered("comparison.html.j2", comparison=compare_runs(records))


def write_report(
    record: RunRecord | ReproductionRecord,
    path: Path | str,
    *,
    search: SearchRecord | None = None,
    exports: Sequence[ExportRecord] = (),
    pictures: Mapping[str, bytes] | None = None,
) -> Path:
    """Render the report and write it as a whole, or not at all.

    Args:
        record: of ``limbeck distill``, ``limbeck train`` or ``limbeck reproduce``.
        path: the file to write, or an existing folder, where it becomes ``report.html``.
        search: see :func:`render_report`.
        exports: likewise.
        pictures: see :func:`render_reproduction`.
    Returns:
        The path of the file.
    Raises:
        OutputError: the folder cannot be written.
    """
    target = Path(path)
    if target.is_dir():
        target = target / REPORT_NAME
    if isinstance(record, RunRecord):
        page = render_report(record, search=search, exports=exports)
    else:
        page = render_reproduction(record, pictures=pictures)
    write_text(target, f"{page}{_MARK}{_digest(page)}{_END}")
    return target


def redraw_report(folder: Path, out: Path | None = None) -> Path:
    """Draw the page of a run or a reproduction again from the records in its folder; return the file.

    Raises:
        RecordError: there is no record, or one that cannot be read.
        OutputError: the file cannot be written.
    """
    record = read_any_record(folder)
    if folder.is_file():
        folder = folder.parent
    target = out or folder / REPORT_NAME
    if isinstance(record, ReproductionRecord):
        return write_report(record, target, pictures=read_pictures(folder, record))
    return write_report(record, target, search=read_search(folder, record), exports=read_exports(folder, record))


def check_page(text: str, *, source: str) -> bool:
    """Return whether a page tells its SHA-256, in a comment at its end; one of an earlier release does not.

    Raises:
        RecordError: it was changed after it was written.
    """
    page, mark, seal = text.rpartition(_MARK)
    if not mark and text.endswith("</html>"):
        return False
    if not mark or seal != _digest(page) + _END:
        raise RecordError(
            f"{source} was changed after it was written.", remedy="limbeck report draws it again from record.json"
        )
    return True


def _picture(name: str, content: bytes, notes: Sequence[str]) -> dict[str, str]:
    """Return a picture as the page shows it: itself, and the note that names it."""
    told = next((note for note in notes if name in note), name)
    return {"name": name, "told": told, "link": f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}"}


def _digest(page: str) -> str:
    return hashlib.sha256(page.encode("utf-8")).hexdigest()


def _rendered(template: str, **content: Any) -> str:
    page = _templates().get_template(template).render(**content)
    return page.encode("utf-8", "replace").decode("utf-8")


@functools.cache
def _templates() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("limbeck.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["printable"] = printable
    environment.filters["drawn"] = Markup  # our own SVG, whose texts are escaped already
    return environment
