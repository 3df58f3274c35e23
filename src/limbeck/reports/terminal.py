"""The summary for a terminal of 80 columns, and as plain text."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from limbeck.records import RunRecord
from limbeck.reports.quantities import Column, column_for
from limbeck.reports.summary import RunSummary, SummaryRow, summarise_run
from limbeck.reports.wording import printable

if TYPE_CHECKING:
    from rich.table import Table

TEXT_WIDTH = 80  # columns
LABEL_WIDTH = 14  # columns
TITLES = {
    "errors": "On the test set, at the epoch that validation selected",
    "probabilities": "Probabilities on the test set",
    "cost": "Cost",
}


def summary_table(record: RunRecord) -> Table:
    """Return the summary as one rich table of small tables: errors, probabilities, cost, last epoch, verdict.

    Args:
        record: of ``limbeck distill`` or ``limbeck train``.
    Returns:
        A table that fits 80 columns. Networks are rows; each cell is mean ± spread over seeds.
    """
    from rich.table import Table
    from rich.text import Text

    summary = summarise_run(record)
    table = Table.grid()
    parts = [(title, summary.columns_of(group), summary.rows) for group, title in TITLES.items()]
    parts.append(("On the test set, at the last epoch", last_columns(summary), summary.last_rows))
    for title, columns, rows in parts:
        if columns:
            table.add_row(Text(title, style="bold"))
            table.add_row(_small_table(columns, rows))
            table.add_row("")
    table.add_row(Text(printable(f"{summary.verdict} {summary.evidence}"), style="bold"))
    return table


def summary_text(record: RunRecord) -> str:
    """Return the summary as plain text of at most 80 columns, the same content as :func:`summary_table`."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=TEXT_WIDTH, color_system=None, force_terminal=False, emoji=False)
    with console.capture() as capture:
        console.print(summary_table(record))
    return "\n".join(line.rstrip() for line in capture.get().splitlines()).strip("\n") + "\n"


def last_columns(summary: RunSummary) -> list[Column]:
    """Return the columns of the last epoch's table: errors and the accuracies, in units of their own."""
    quantities = [column.quantity for column in summary.columns_of("errors")]
    return [
        column_for(q, [row.values[q.name] for row in summary.last_rows if q.name in row.values])
        for q in quantities
        if any(q.name in row.values for row in summary.last_rows)
    ]


def _small_table(columns: list[Column], rows: list[SummaryRow]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    table.padding = (0, 1, 0, 0)
    table.add_column("network", overflow="fold", max_width=LABEL_WIDTH)
    table.add_column("n", justify="right")
    for column in columns:
        table.add_column(Text(column.heading), justify="right", vertical="bottom")
    for row in rows:
        cells = [column.format(row.values.get(column.quantity.name)) for column in columns]
        table.add_row(Text(printable(row.label)), str(row.count), *(Text(cell) for cell in cells))
    return table
