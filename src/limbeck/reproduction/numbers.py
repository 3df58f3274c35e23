"""How observed numbers are written."""

from __future__ import annotations

from limbeck.statistics import Summary

UNITS = {  # factor, suffix, decimals
    "count": (1.0, "", 1),
    "fraction": (100.0, " %", 2),
    "points": (1.0, " points", 2),  # differences of percentages
    "nats": (1.0, " nats", 4),
}


def value_text(value: float, unit: str) -> str:
    """Return one number with its unit, without decimals that say nothing.

    Example:
        >>> value_text(67.0, "count"), value_text(0.473, "fraction"), value_text(0.98126, "fraction")
        ('67', '47.3 %', '98.13 %')
    """
    return _short(_number(value, unit)) + unit_text(unit)


def summary_text(summary: Summary, unit: str) -> str:
    """Return "mean ± sample standard deviation (n = count)".

    Example:
        >>> summary_text(Summary(mean=73.25, spread=1.5, count=4), "count")
        '73.2 ± 1.5 (n = 4)'
        >>> summary_text(Summary(mean=67.0, spread=None, count=1), "count")
        '67 (n = 1)'
    """
    if summary.spread is None:
        return f"{value_text(summary.mean, unit)} (n = 1)"
    return f"{spread_text(summary, unit)}{unit_text(unit)} (n = {summary.count})"


def spread_text(summary: Summary, unit: str) -> str:
    """Return "mean ± sample standard deviation" without unit; the mean alone for a single run.

    Example:
        >>> spread_text(Summary(mean=0.9125, spread=0.01, count=3), "fraction")
        '91.25 ± 1.00'
        >>> spread_text(Summary(mean=12.5, spread=0.8125, count=3), "points")
        '12.50 ± 0.81'
    """
    mean = _number(summary.mean, unit)
    return _short(mean) if summary.spread is None else f"{mean} ± {_number(summary.spread, unit)}"


def unit_text(unit: str) -> str:
    """Return what follows a number of this unit.

    Example:
        >>> unit_text("count"), unit_text("fraction"), unit_text("nats")
        ('', ' %', ' nats')
    """
    return UNITS[unit][1] if unit in UNITS else f" {unit}"


def drawn_factor(unit: str) -> float:
    """Return what figures multiply values of a unit by: fractions are drawn in percent."""
    return UNITS[unit][0] if unit in UNITS else 1.0


def _number(value: float, unit: str) -> str:
    if unit not in UNITS:
        return f"{value:.4g}".replace("-", "−")
    factor, _, decimals = UNITS[unit]
    text = f"{factor * value:,.{decimals}f}"
    return "0" if float(text.replace(",", "")) == 0 else text.replace("-", "−")


def _short(number: str) -> str:
    return number.rstrip("0").rstrip(".") if "." in number else number
