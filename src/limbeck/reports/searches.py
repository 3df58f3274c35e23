"""A search for a reader: its candidates in one table."""

from __future__ import annotations

from limbeck.records.search_record import Point, SearchRecord
from limbeck.reports.html_table import HtmlTable
from limbeck.reports.text_table import text_table
from limbeck.reports.wording import percent, printable, scaled, short_time

COSTS = {
    "parameters": "parameters",
    "flops": "FLOP of a sample",
    "latency": "time of a sample",
    "onnx_latency": "time of a sample, ONNX",
}
HEADINGS = ["candidate", "parameters", "validation accuracy", "kept", "settings tried", "place"]


def headline_of(record: SearchRecord) -> str:
    """Return what the answer says of the chosen student alone."""
    return record.answer.partition("; ")[0].rstrip(".") + "."


def cost_text(record: SearchRecord, cost: float) -> str:
    """Return a cost in the search's measure for people."""
    return short_time(cost) if record.cost.endswith("latency") else scaled(cost)


def place_of(record: SearchRecord, point: Point) -> str:
    """Return where a candidate stands: "chosen", "front", or nothing."""
    if point.name == record.chosen:
        return "chosen"
    return "front" if point.name in record.front else ""


def candidate_table(record: SearchRecord) -> HtmlTable:
    """Return every candidate that was trained, cheapest first."""
    headings, rows = list(HEADINGS), []
    is_size = record.cost == "parameters"
    if not is_size:
        headings.insert(2, COSTS.get(record.cost, record.cost))
    for point in record.points:
        row = [
            printable(point.name),
            f"{point.num_parameters:,}",
            percent(point.accuracy, decimals=2),
            percent(point.accuracy / record.teacher_accuracy) if record.teacher_accuracy else "—",
            str(point.num_trials),
            place_of(record, point),
        ]
        if not is_size:
            row.insert(2, cost_text(record, point.cost))
        rows.append(row)
    caption = f"Candidates on {record.num_validation:,} validation samples; the teacher: "
    return HtmlTable(caption + percent(record.teacher_accuracy, decimals=2), headings, rows, printable(record.chosen))


def candidates_text(record: SearchRecord) -> str:
    """Return the candidates as plain text, with what a reader must know of them."""
    table = candidate_table(record)
    text = text_table([table.headings, *table.rows], words=(0, len(table.headings) - 1))
    return "\n".join([text, *map(printable, record.notes)])
