"""Panels: small matplotlib drawings turned into SVG that follows the page's colours, fonts and width.

Panels are drawn narrow (248 or 302 pt) with 9 pt text, so that a phone shows them at full size or larger; the page sets
them side by side where there is room. Black becomes the page's ink and each colour of the palette a CSS variable, so
that one drawing serves light, dark and paper.
"""

from __future__ import annotations

import io
import re
import unicodedata
import warnings
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from limbeck.reports.style import INK, PALETTE, PAPER, RoleStyle, css_colour
from limbeck.reports.wording import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

POINTS_PER_INCH = 72
WIDTH = {2: 302.0, 3: 248.0}  # points, by the number of panels that a wide page shows side by side
LARGE = 430.0  # points; such a panel scrolls on a phone
SPOT, TIP = "spot-", "tip-"  # how the ids of marks with a tip, and of tips, begin
_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"


@dataclass(frozen=True)
class Panel:
    """One drawing of a figure."""

    svg: str
    alternative: str  # what the drawing shows, for those who cannot see it
    heading: str = ""
    image: str = ""  # data URI of a picture shown above the drawing
    image_alternative: str = ""
    is_strip: bool = False  # the picture is several side by side, three times as wide as high
    wide: bool = False  # scrolls inside its own box on a phone, because its text would be too small otherwise


@dataclass(frozen=True)
class LegendEntry:
    """A line of a figure's legend, which stands outside the drawings."""

    label: str
    colour: str  # CSS
    dashes: str = ""  # of the line, as SVG writes them
    line: bool = True
    marker: str = ""  # SVG path around (0, 0)
    opacity: float | None = None  # of a filled cell instead of a line


@dataclass(frozen=True)
class ReportFigure:
    """Panels that belong together, with their legend and a paragraph on how to read them."""

    key: str
    title: str
    how_to_read: str
    panels: list[Panel]
    legend: list[LegendEntry] = field(default_factory=list)
    columns: int = 2  # panels side by side on a wide page


def legend_entry(label: str, style: RoleStyle, *, line: bool = True, marker: bool = True) -> LegendEntry:
    """Return the legend's entry of a role: its line, its marker, or both."""
    from matplotlib.markers import MarkerStyle

    path = ""
    if marker:  # a path 9 units wide
        shape = MarkerStyle(style.marker)
        corners: Any = shape.get_path().transformed(shape.get_transform()).to_polygons()[0]
        path = "M" + "L".join(f"{9 * x:.1f} {-9 * y:.1f}" for x, y in corners) + "z"
    dashes = " ".join(f"{2 * length:g}" for length in style.dashes)
    return LegendEntry(printable(label, limit=40), css_colour(style.colour), dashes, line, path)


def new_figure(*, columns: int = 2, width: float | None = None, height: float | None = None) -> Figure:
    """Return an empty figure for a page that shows ``columns`` of them side by side; sizes in points."""
    from matplotlib.figure import Figure

    width = WIDTH[columns] if width is None else width
    height = 0.7 * width if height is None else height
    return Figure(figsize=(width / POINTS_PER_INCH, height / POINTS_PER_INCH))


def add_tip(axes: Axes, gid: str, x: float, y: float, text: str) -> None:
    """Write a text beside a mark that the page shows while a pointer is on it.

    Args:
        axes: with their final limits; the text stands towards the middle.
        gid: of the mark, "spot-...".
        x: of the mark.
        y: of the mark.
        text: one or more lines.
    """
    across, up = axes.transAxes.inverted().transform(axes.transData.transform((x, y)))
    is_left, is_low = across < 0.5, up < 0.5
    axes.annotate(
        text,
        (x, y),
        xytext=(9 if is_left else -9, 6 if is_low else -6),
        textcoords="offset points",
        ha="left" if is_left else "right",
        va="bottom" if is_low else "top",
        gid=f"{TIP}{gid}",
        zorder=9,
        bbox={"boxstyle": "round,pad=0.5", "facecolor": PAPER, "edgecolor": INK, "linewidth": 0.8},
    )


def set_margins(figure: Figure, *, square: bool = False, turned: bool = False, gap: float = 0.0) -> None:
    """Make room for labels by the length of their texts: browsers write them in other fonts than matplotlib measures.

    Args:
        figure: one column of axes, complete but for its margins.
        square: change the figure's height so that the drawing area is as high as wide.
        turned: the texts below the figure stand upright.
        gap: between axes above one another, in points.
    """
    width, height = (POINTS_PER_INCH * inches for inches in figure.get_size_inches())
    lowest = figure.axes[-1]
    left = max(_label_room(axes.yaxis, axes) for axes in figure.axes)
    lines = max(text.count("\n") for text in [*_tick_texts(lowest.xaxis), ""]) + 1
    bottom = 8.0 + (max(map(text_width, _tick_texts(lowest.xaxis)), default=0) if turned else 11.5 * lines)
    bottom += 13.0 if lowest.get_xlabel() else 0.0
    top, right = 19.0 if figure.axes[0].get_title(loc="left") else 6.0, 12.0
    if square:
        height = width - left - right + bottom + top
        figure.set_size_inches(width / POINTS_PER_INCH, height / POINTS_PER_INCH)
    figure.subplots_adjust(
        left=left / width,
        right=1 - right / width,
        bottom=bottom / height,
        top=1 - top / height,
        hspace=gap * len(figure.axes) / max(height - bottom - top - gap * (len(figure.axes) - 1), 1.0),
    )


def text_width(text: str, size: float = 8.5) -> float:
    """Return about how wide a browser writes one line of text, in points."""
    return size * sum(_character_width(c) for c in text)


def _character_width(character: str) -> float:
    """Return the width over the font size, as in the wide fonts."""
    if character in "MWmw@%" or unicodedata.east_asian_width(character) in "WF":
        return 1.05
    return 0.75 if character.isupper() else 0.62


def _label_room(axis: Axis, axes: Axes) -> float:
    return 8.0 + max(map(text_width, _tick_texts(axis)), default=0) + (14.0 if axes.get_ylabel() else 0.0)


def _tick_texts(axis: Axis) -> list[str]:
    low, high = sorted(axis.get_view_interval())
    places = [place for place in axis.get_majorticklocs() if low <= place <= high]
    return axis.get_major_formatter().format_ticks(places)


def to_svg(figure: Figure, key: str) -> str:
    """Return the figure as an SVG element for the page.

    Args:
        figure: drawn within :func:`drawing_style`.
        key: unique within the page; prefixes every id.
    Returns:
        Text of one <svg> element without metadata, style sheet, fixed size, background or fonts of its own.
    """
    buffer = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # the browser's fonts draw the text
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    root = ET.fromstring(buffer.getvalue())
    for child in [c for c in root if c.tag == f"{_SVG}metadata" or c.find(f"{_SVG}style") is not None]:
        root.remove(child)
    _join_tips(root)
    referenced = set(re.findall(r"(?:url\(|\")#([\w.-]+)", buffer.getvalue()))
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        element.attrib = {
            name.replace(_HREF, "href"): _attribute(name, value, key)
            for name, value in element.attrib.items()
            if name != "id" or value in referenced
        }
        element.tail = None
        if element.tag not in ("text", "tspan"):
            element.text = None
    root.attrib = {
        "xmlns": "http://www.w3.org/2000/svg",
        "viewBox": root.attrib["viewBox"],
        "fill": "currentColor",
        "stroke-linejoin": "round",
        "aria-hidden": "true",
        "focusable": "false",
    }
    return ET.tostring(root, encoding="unicode")


def _join_tips(root: ET.Element) -> None:
    """Move each tip to the end, together with its mark, so that no other mark lies above it."""
    parents = {child: parent for parent in root.iter() for child in parent}
    groups = {element.get("id", ""): element for element in root.iter() if element.get("id")}
    for gid, mark in groups.items():
        tip = groups.get(f"{TIP}{gid}")
        if not gid.startswith(SPOT) or tip is None:
            continue
        group = ET.SubElement(root, f"{_SVG}g", {"class": "spot"})
        for part, name in ((mark, "mark"), (tip, "tip")):
            parents[part].remove(part)
            part.set("class", name)
            group.append(part)


def _attribute(name: str, value: str, key: str) -> str:
    if name == "id":
        return f"{key}-{value}"
    if name == _HREF:
        return f"#{key}-{value[1:]}" if value.startswith("#") else value.replace("\n", "")
    if name == "clip-path":
        return value.replace("url(#", f"url(#{key}-")
    if name == "style":
        return _style(value)
    if name in ("d", "x", "y", "width", "height"):
        return " ".join(re.sub(r"-?\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", value).split())
    return value


def _style(value: str) -> str:
    """Return a style without fonts, with the page's colours in place of those drawn."""
    value = re.sub(r"font-family:[^;]*;? ?", "", value)
    value = re.sub(r"font: (\d+|bold) ([\d.]+px)[^;]*;?", r"font-weight: \1; font-size: \2;", value)
    value = re.sub(r"font: ([\d.]+px)[^;]*;?", r"font-size: \1;", value)
    value = re.sub(r"image-rendering:[^;]*;? ?", "", value)
    return re.sub(
        r"#[0-9a-f]{6}", lambda c: css_colour(c[0]) if c[0] == INK or c[0] in PALETTE else c[0], value.strip()
    )
