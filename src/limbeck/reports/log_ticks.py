"""Round numbers in digits along a logarithmic axis."""

from __future__ import annotations

from collections.abc import Callable
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


def write_few_log_ticks(axis: Axis, write: Callable[[float], str]) -> None:
    """Mark at most four round numbers (1, 2, 5 or powers of 10) of a logarithmic axis, as ``write`` writes them."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    low, high = axis.get_view_interval()
    for digits in ((1.0, 2.0, 5.0), (1.0, 3.0), (1.0,)):
        ticks = LogLocator(base=10, subs=digits, numticks=12).tick_values(low, high)
        inside = [float(tick) for tick in ticks if low <= tick <= high]
        if len(inside) <= FEW:
            break
    if not inside:  # the whole axis lies between two of them
        inside = [float(tick) for tick in MaxNLocator(FEW - 1).tick_values(low, high) if low <= tick <= high]
    _set(axis, inside, write)


def write_wanted_ticks(axis: Axis, wanted: list[float]) -> None:
    """Mark the wanted numbers of a logarithmic axis, thinned out to those that have room."""
    chosen: list[float] = []
    for place in sorted(set(wanted)):
        if not chosen or place / chosen[-1] > (max(wanted) / min(wanted)) ** (1 / MOST_PLACES):
            chosen.append(place)
    _set(axis, chosen)


def _plain(value: float) -> str:
    return f"{value:,.6g}"


def _set(axis: Axis, ticks: list[float], write: Callable[[float], str] = _plain) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))
    axis.set_minor_locator(NullLocator())
