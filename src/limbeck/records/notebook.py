"""How records show themselves in a notebook: small tables, every text escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from statistics import fmean


def html_table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str = "") -> str:
    """Return a table as HTML, for ``_repr_html_``.

    Args:
        headings: of the columns.
        rows: the first cell of each heads it.
        caption: a sentence above it.
    Example:
        >>> html_table(["network", "errors"], [["<mlp>", "7"]])
        '<table><thead><tr><th>network</th><th>errors</th></tr></thead><tbody><tr><th>&lt;mlp&gt;</th><td>7</td></tr></tbody></table>'
    """
    above = f"<caption>{escape(caption)}</caption>" if caption else ""
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "".join(
        f"<tr><th>{escape(row[0])}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in row[1:])}</tr>" for row in rows
    )
    return f"<table>{above}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def mean_text(values: Sequence[float], *, factor: float = 1.0, decimals: int = 1) -> str:
    """Return the mean of numbers, "—" of none.

    Example:
        >>> mean_text([0.975, 0.985], factor=100), mean_text([])
        ('98.0', '—')
    """
    return f"{factor * fmean(values):,.{decimals}f}" if values else "—"
