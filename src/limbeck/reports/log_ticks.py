"""Round numbers in digits along a logarithmic axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axis import Axis

FEW, MANY = 4, 8  # ticks that a reader needs, and that have room
LEADING_DIGITS = ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0), (1.0, 1.2, 1.5, 2.0, 2.5, 3.0))
MOST_PLACES = 18  # of wanted ticks that have room side by side


def write_log_ticks(axis: Axis) -> None:
    """Mark round numbers between the axis' limits: the coarsest steps that give four of them.

    Args:
        axis: logarithmic, everything drawn.
    """
    from matplotlib.ticker import LogLocator

    low, high = axis.get_view_interval()
    for digits in LEADING_DIGITS:
        ticks = LogLocator(base=10, subs=digits, numticks=20).tick_values(low, high)
        inside = [float(tick) for tick in ticks if low <= tick <= high]
        if len(inside) >= FEW:
            break
    _set(axis, inside[:: -(-len(inside) // MANY)])


def write_wanted_ticks(axis: Axis, wanted: list[float]) -> None:
    """Mark the wanted numbers of a logarithmic axis, thinned out to those that have room."""
    chosen: list[float] = []
    for place in sorted(set(wanted)):
        if not chosen or place / chosen[-1] > (max(wanted) / min(wanted)) ** (1 / MOST_PLACES):
            chosen.append(place)
    _set(axis, chosen)


def _set(axis: Axis, ticks: list[float]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    axis.set_minor_locator(NullLocator())
