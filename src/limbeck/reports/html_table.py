"""A table of a page, which a reader can take away as CSV."""

from __future__ import annotations

import base64
import csv
import io
import re
from dataclasses import dataclass

FORMULA_STARTS = ("=", "+", "@", "\t", "\r")


@dataclass(frozen=True)
class HtmlTable:
    """A table of text: the first column heads its rows."""

    caption: str
    headings: list[str]
    rows: list[list[str]]
    emphasised: str = ""  # the row heading to stress

    @property
    def file_name(self) -> str:
        """The name of the CSV file, made of the caption's letters."""
        return (re.sub(r"[^a-z0-9]+", "-", self.caption.lower()).strip("-")[:60].strip("-") or "table") + ".csv"

    @property
    def csv_text(self) -> str:
        """The table as CSV (RFC 4180): thousands without commas, and no cell that a spreadsheet takes for a formula.

        Example:
            >>> print(HtmlTable("Errors", ["network", "errors"], [["a, b", "1,200 ± 3.5"], ["=1", "−2"]]).csv_text)
            network,errors
            "a, b",1200 ± 3.5
            '=1,-2
        """
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow([_plain(cell) for cell in self.headings])
        writer.writerows([[_plain(cell) for cell in row] for row in self.rows])
        return buffer.getvalue().rstrip("\n")

    @property
    def csv_link(self) -> str:
        """A link that holds the CSV file itself, with the mark by which spreadsheets know UTF-8."""
        content = ("\ufeff" + self.csv_text + "\n").encode("utf-8", "replace")
        return f"data:text/csv;charset=utf-8;base64,{base64.b64encode(content).decode('ascii')}"


def _plain(cell: str) -> str:
    if re.match(r"[−-]?[\d.,]+", cell):
        return re.sub(r"(?<=\d),(?=\d{3}\b)", "", cell).replace("−", "-")
    starts_formula = cell.startswith(FORMULA_STARTS) or (cell.startswith("-") and cell != "-")
    return f"'{cell}" if starts_formula else cell
