"""A report's figure as an SVG file of its own: white ground, legend inside, readable on a light and on a dark page."""

from __future__ import annotations

import re
from html import escape

from limbeck.reports.drawing import LegendEntry, ReportFigure, text_width

INK, GROUND = "#1c1c1c", "#ffffff"
SCALE = 1.25  # of the file's size in pixels over the drawing's in points
FONT = "system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', Arial, sans-serif"
PAD, LINE, KEY, GAP, SIZE = 8.0, 15.0, 30.0, 16.0, 8.5  # points: margins, legend rows, its keys, between entries, text
_VARIABLE = re.compile(r"var\(--[\w-]+, (#[0-9a-f]{6})\)")
_VIEW_BOX = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')


def standalone_svg(figure: ReportFigure) -> str:
    """Return a file with the figure's drawing and its legend; pictures above the drawing are left out.

    Args:
        figure: with at least one panel that is a drawing; the first of them is taken.
    Returns:
        Text of an SVG file in fixed colours that asks nothing of the network.
    """
    panel = next(panel for panel in figure.panels if panel.svg)
    view = _VIEW_BOX.search(panel.svg)
    assert view is not None, "drawings carry a view box"
    width, height = float(view[1]), float(view[2])
    legend, rows = _legend(figure.legend, width)
    total, tall = width + 2 * PAD, height + 2 * PAD + LINE * rows
    drawing = panel.svg.replace("<svg ", f'<svg x="{PAD:g}" y="{PAD:g}" width="{width:g}" height="{height:g}" ', 1)
    text = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total:g} {tall:g}" width="{SCALE * total:.0f}" '
        f'height="{SCALE * tall:.0f}" role="img" font-family="{FONT}" fill="{INK}">'
        f"<title>{escape(panel.alternative)}</title>"
        f'<rect width="{total:g}" height="{tall:g}" rx="6" fill="{GROUND}"/>{drawing}'
        f'<g transform="translate({PAD:g} {height + PAD + 0.7 * LINE:g})" font-size="{SIZE:g}">{legend}</g></svg>\n'
    )
    return _VARIABLE.sub(r"\1", text).replace("currentColor", INK)


def _legend(entries: list[LegendEntry], width: float) -> tuple[str, int]:
    """Return the legend's drawing, folded to a width, and its number of rows."""
    drawn, x, row = [], 0.0, 0
    for entry in entries:
        room = KEY + text_width(entry.label, SIZE) + GAP
        if x and x + room > width:
            x, row = 0.0, row + 1
        drawn.append(f'<g transform="translate({x:.1f} {row * LINE:g})">{_entry(entry)}</g>')
        x += room
    return "".join(drawn), row + 1 if entries else 0


def _entry(entry: LegendEntry) -> str:
    dashes = f' stroke-dasharray="{entry.dashes}"' if entry.dashes else ""
    line = f'<path d="M0 -3H24" stroke="{entry.colour}" stroke-width="1.8"{dashes}/>' if entry.line else ""
    marker = f'<path d="{entry.marker}" fill="{entry.colour}" transform="translate(12 -3) scale(0.8)"/>'
    cell = f'<rect x="4" y="-8" width="16" height="10" fill="{entry.colour}" opacity="{entry.opacity}"/>'
    key = cell if entry.opacity is not None else line + (marker if entry.marker else "")
    return f'{key}<text x="{KEY:g}">{escape(entry.label)}</text>'
