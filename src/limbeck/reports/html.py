"""The report as one HTML file that asks nothing of the network and runs no script."""

from __future__ import annotations

from pathlib import Path

from limbeck.errors import RecordError
from limbeck.records import RunRecord, from_json, write_text
from limbeck.reports.facts import (
    confused_table,
    data_facts,
    flattened,
    key_facts,
    last_epoch_table,
    moment,
    network_table,
    summary_tables,
)
from limbeck.reports.figures import draw_figures
from limbeck.reports.summary import summarise_run
from limbeck.reports.wording import printable

RECORD_NAME = "record.json"
REPORT_NAME = "report.html"


def render_report(record: RunRecord) -> str:
    """Return the report of a run as the text of one HTML page.

    The same record gives the same text. Parts that the record has no data for are left out. Every string of the record
    is taken for untrusted and escaped.

    Args:
        record: of ``limbeck distill`` or ``limbeck train``.
    Returns:
        HTML with its style sheet, figures (SVG) and pictures inside.
    """
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
    summary = summarise_run(record)
    page = environment.get_template("report.html.j2").render(
        record=record,
        summary=summary,
        facts=key_facts(record, summary),
        tables=summary_tables(summary),
        meanings=[(column.quantity.heading, column.quantity.meaning) for column in summary.columns],
        last_epoch=last_epoch_table(summary),
        figures=draw_figures(record, summary),
        confused=confused_table(record),
        networks=network_table(record, summary),
        data=data_facts(record),
        config=flattened(record.config),
        environment=flattened(record.environment),
        created=moment(record.created),
    )
    return page.encode("utf-8", "replace").decode("utf-8")


def write_report(record: RunRecord, path: Path | str) -> Path:
    """Render the report and write it as a whole, or not at all.

    Args:
        record: of ``limbeck distill`` or ``limbeck train``.
        path: the file to write, or an existing folder, where it becomes ``report.html``.
    Returns:
        The path of the file.
    Raises:
        OutputError: the folder cannot be written.
    """
    target = Path(path)
    if target.is_dir():
        target = target / REPORT_NAME
    write_text(target, render_report(record))
    return target


def read_record(path: Path | str) -> RunRecord:
    """Read the record of a run.

    Args:
        path: a run directory, or its ``record.json``.
    Raises:
        RecordError: there is none, or it cannot be read.
    """
    source = Path(path)
    if source.is_dir():
        source = source / RECORD_NAME
    try:
        text = source.read_text(encoding="utf-8")
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
    return from_json(text, source=str(source))
