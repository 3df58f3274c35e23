"""The figures of a report. Each module draws one; a figure that the record has no data for is left out."""

from __future__ import annotations

from limbeck.records import RunRecord
from limbeck.records.search_record import SearchRecord
from limbeck.reports.drawing import ReportFigure
from limbeck.reports.figures.comparisons import comparisons_figure
from limbeck.reports.figures.confusion import confusion_figure
from limbeck.reports.figures.curves import curves_figure
from limbeck.reports.figures.dark_knowledge import dark_knowledge_figure
from limbeck.reports.figures.early_exits import early_exits_figure, exit_shares_figure
from limbeck.reports.figures.heat_map import heat_map_figure
from limbeck.reports.figures.lines import lines_figure
from limbeck.reports.figures.points import points_figure
from limbeck.reports.figures.reliability import reliability_figure
from limbeck.reports.figures.search_front import search_front_figure
from limbeck.reports.figures.seeds import seeds_figure
from limbeck.reports.figures.tradeoff import tradeoff_figure
from limbeck.reports.figures.training_times import training_times_figure
from limbeck.reports.style import drawing_style
from limbeck.reports.summary import RunSummary
from limbeck.reproduction import ReproductionRecord

DRAWERS = {"points": points_figure, "curves": lines_figure, "heat_map": heat_map_figure}
NUM_FOR_RESULTS = 2


def draw_figures(record: RunRecord, summary: RunSummary) -> dict[str, ReportFigure]:
    """Return the figures that the record has data for, by key, in the order of the report."""
    with drawing_style():
        figures = [
            seeds_figure(record, summary),
            comparisons_figure(record, summary),
            early_exits_figure(record, summary),
            exit_shares_figure(record, summary),
            tradeoff_figure(record, summary),
            curves_figure(record, summary),
            confusion_figure(record),
            reliability_figure(record, summary),
            dark_knowledge_figure(record),
        ]
    return {figure.key: figure for figure in figures if figure is not None}


def draw_front(record: SearchRecord) -> ReportFigure | None:
    """Return the figure of a search; None where no candidate was trained."""
    with drawing_style():
        return search_front_figure(record)


def draw_observations(record: ReproductionRecord) -> list[ReportFigure]:
    """Return the figures that a reproduction asks for, in order."""
    with drawing_style():
        return [
            DRAWERS[figure.kind](record, figure, f"figure-{number}")
            for number, figure in enumerate(record.figures, start=1)
        ]


def draw_for_results(record: ReproductionRecord) -> list[ReportFigure]:
    """Return two figures for the page of results: the first two without pictures; training times where one is missing.

    A record without networks and with fewer figures gives fewer.
    """
    chosen = sorted(record.figures, key=lambda figure: bool(figure.strips))[:NUM_FOR_RESULTS]
    with drawing_style():
        drawn = [DRAWERS[figure.kind](record, figure, f"figure-{n}") for n, figure in enumerate(chosen, start=1)]
        times = training_times_figure(record, "training-times") if len(drawn) < NUM_FOR_RESULTS else None
    return drawn + ([times] if times is not None else [])
