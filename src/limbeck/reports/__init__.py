"""The report of a run: a table for the terminal, and one self-contained HTML file with every figure, without torch."""

from limbeck.reports.html import read_record, render_report, write_report
from limbeck.reports.summary import RunSummary, SummaryRow, summarise_run
from limbeck.reports.terminal import summary_table, summary_text

__all__ = [
    "RunSummary",
    "SummaryRow",
    "read_record",
    "render_report",
    "summarise_run",
    "summary_table",
    "summary_text",
    "write_report",
]
