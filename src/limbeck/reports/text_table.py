"""Tables of plain text."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def text_table(rows: Sequence[Sequence[str]], *, words: Collection[int] = (0,)) -> str:
    """Return rows of cells, the headings first, in columns of one width.

    Args:
        rows: of the same number of cells.
        words: columns that are set to the left; numbers are set to the right.
    Example:
        >>> print(text_table([("network", "errors"), ("mlp", "7"), ("convnet", "12")]))
        network  errors
        mlp           7
        convnet      12
    """
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place in words else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
