"""How words and numbers from a record are written for people."""

from __future__ import annotations


def printable(text: str, *, limit: int | None = None) -> str:
    """Return text without control characters, its white space single, cut to ``limit`` characters.

    Example:
        >>> printable("tab\\tnew\\nline \\x1b[31mred")
        'tab new line �[31mred'
        >>> printable("a very long name", limit=8)
        'a very …'
    """
    clean = "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))
    return clean if limit is None or len(clean) <= limit else clean[: limit - 1] + "…"


def plain_number(value: float) -> str:
    """Return a count without decimals where it is whole, and with one otherwise.

    Example:
        >>> plain_number(12.0), plain_number(-3.2), plain_number(1200.5)
        ('12', '−3.2', '1,200.5')
    """
    rounded = round(value, 1)
    text = f"{rounded:,.0f}" if rounded == int(rounded) else f"{rounded:,.1f}"
    return "0" if text == "-0" else text.replace("-", "−")


def percent(fraction: float, *, decimals: int = 1) -> str:
    """Return a fraction as "97.5 %"; a positive one that would read as zero as "<0.1 %".

    Example:
        >>> percent(0.975), percent(0.0002), percent(0.0)
        ('97.5 %', '<0.1 %', '0.0 %')
    """
    smallest = 10.0**-decimals
    if 0 < 100 * fraction < smallest / 2:
        return f"<{smallest:.{decimals}f} %"
    return f"{100 * fraction:.{decimals}f} %"


def scaled(value: float) -> str:
    """Return a large number with k, M, G: "79.5 k".

    Example:
        >>> scaled(79510), scaled(850), scaled(1_238_730), scaled(10_000)
        ('79.5 k', '850', '1.24 M', '10 k')
    """
    for factor, suffix in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= factor:
            return f"{value / factor:.3g}{suffix}"
    return f"{value:.3g}"


def short_time(seconds: float) -> str:
    """Return a time in the unit that suits it.

    Example:
        >>> short_time(0.0123), short_time(61e-6), short_time(2.0)
        ('12.3 ms', '61 µs', '2 s')
    """
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs"), (1e9, "ns")):
        if seconds * factor >= 0.9995:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e9:.2g} ns"


def listed(words: list[str]) -> str:
    """Return words as a person lists them.

    Example:
        >>> listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])
        ('a', 'a and b', 'a, b and c')
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""
