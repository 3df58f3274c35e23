"""The report of a run: a table for the terminal, and one self-contained HTML file with every figure, without torch."""

from limbeck.reports.claims import reproduction_table
from limbeck.reports.class_sets import save_class_sets_picture
from limbeck.reports.comparing import compare_runs, comparison_text
from limbeck.reports.html import (
    check_page,
    redraw_report,
    render_comparison,
    render_report,
    render_reproduction,
    write_report,
)
from limbeck.reports.plotting import plot_run, plot_search, summary_html
from limbeck.reports.reading import read_any_record, read_pictures, read_record, read_reproduction, read_results
from limbeck.reports.results import results_markdown, results_pages
from limbeck.reports.summary import RunSummary, SummaryRow, summarise_run
from limbeck.reports.terminal import summary_table, summary_text
from limbeck.reports.utterance import DrawnWord, UtterancePicture, save_utterance_picture

__all__ = [
    "DrawnWord",
    "RunSummary",
    "SummaryRow",
    "UtterancePicture",
    "check_page",
    "compare_runs",
    "comparison_text",
    "plot_run",
    "plot_search",
    "read_any_record",
    "read_pictures",
    "read_record",
    "read_reproduction",
    "read_results",
    "redraw_report",
    "render_comparison",
    "render_report",
    "render_reproduction",
    "reproduction_table",
    "results_markdown",
    "results_pages",
    "save_class_sets_picture",
    "save_utterance_picture",
    "summarise_run",
    "summary_html",
    "summary_table",
    "summary_text",
    "write_report",
]
