"""One plain style for every figure: colours, dashes, markers, sizes of text.

Pages, ``plot()`` and the pictures of the guides draw with it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK = "#000000"
PAPER = "#fffffe"  # the page itself: digits on dark cells
PALETTE = {  # Okabe and Ito's colours, each a CSS variable that the style sheet sets for light, dark and paper
    "#0072b2": "--blue",
    "#d55e00": "--vermillion",
    "#009e73": "--green",
    "#cc79a7": "--purple",
    "#004b78": "--cell-right",
    "#b34700": "--cell-wrong",
    PAPER: "--page",
}


@dataclass(frozen=True)
class RoleStyle:
    """How a network looks in every figure: told apart by colour, by dashes and by marker."""

    colour: str
    dashes: tuple[float, ...]  # lengths on and off in line widths; empty: a whole line
    marker: str


ROLE_STYLES = {
    "teacher": RoleStyle(INK, (1.2, 1.4), "s"),
    "baseline": RoleStyle("#d55e00", (4.5, 2.0), "^"),
    "distilled": RoleStyle("#0072b2", (), "o"),
}
OTHER_STYLES = (
    RoleStyle("#009e73", (5, 1.5, 1.2, 1.5), "D"),
    RoleStyle("#cc79a7", (2.5, 1.2), "v"),
    RoleStyle("#009e73", (1.2, 2.4), "P"),
    RoleStyle("#cc79a7", (6, 1.2, 1.2, 1.2, 1.2, 1.2), "X"),
    RoleStyle("#0072b2", (3, 1.5, 1, 1.5), "*"),
    RoleStyle("#d55e00", (1.2, 3), "<"),
    RoleStyle("#0072b2", (6, 3), ">"),
)
SERIES_STYLES = (  # of series in their order, told apart by colour, dashes and marker
    ROLE_STYLES["distilled"],
    ROLE_STYLES["baseline"],
    OTHER_STYLES[0],
    OTHER_STYLES[1],
    ROLE_STYLES["teacher"],
    *OTHER_STYLES[2:],
)


def role_style(role: str, roles: list[str]) -> RoleStyle:
    """Return the style of a role; roles without a style of their own take turns, in the order of ``roles``."""
    if role in ROLE_STYLES:
        return ROLE_STYLES[role]
    if len(roles) == 1:
        return ROLE_STYLES["distilled"]
    others = [other for other in roles if other not in ROLE_STYLES]
    return OTHER_STYLES[others.index(role) % len(OTHER_STYLES)]


def css_colour(colour: str) -> str:
    """Return a drawing's colour as the page names it."""
    return "currentColor" if colour == INK else f"var({PALETTE[colour]}, {colour})"


@contextlib.contextmanager
def drawing_style() -> Iterator[None]:
    """Draw with these settings, whatever the user's own matplotlib settings are; they are restored at the end."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "svg.fonttype": "none",
                "svg.hashsalt": "limbeck",
                "text.parse_math": False,  # class names are not formulas
                "axes.unicode_minus": True,
                "font.size": 9,
                "axes.titlesize": 9.5,
                "axes.titleweight": "bold",
                "axes.titlelocation": "left",
                "axes.labelsize": 9,
                "xtick.labelsize": 8.5,
                "ytick.labelsize": 8.5,
                "axes.spines.top": False,
                "axes.spines.right": False,
                "axes.linewidth": 0.8,
                "lines.linewidth": 1.8,
                "lines.markersize": 5.5,
                "axes.axisbelow": True,
                "figure.autolayout": False,
                "figure.constrained_layout.use": False,
            }
        )
        yield


def light_grid(axes: Axes, *, axis: str = "both") -> None:
    """Draw faint grid lines."""
    axes.grid(axis=axis, color=INK, alpha=0.13, linewidth=0.7)  # type: ignore[arg-type]
