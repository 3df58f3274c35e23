"""One figure of many benchmarks: each ratio over the target that it has, so that 1 is where all targets lie."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import Any

from limbeck.reports.drawing import new_figure
from limbeck.reports.style import drawing_style, light_grid
from limbeck.reports.wording import printable

REACHED, MISSED = "#0072b2", "#d55e00"
ROW_POINTS, FRAME_POINTS, WIDTH_POINTS = 13.0, 70.0, 430.0


def ratios_over_targets(results: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return each ratio of time or memory over its target, by "BENCH: WAY".

    Example:
        >>> ratios_over_targets({"loss": {"ratios": {"ready": 0.22, "other": 3.0}, "targets": {"ready": 0.33}}})
        {'loss: ready': 0.6666666666666666}
    """
    found: dict[str, float] = {}
    for name, result in results.items():
        for kind, what in (("", ""), ("memory_", ", memory")):
            ratios, targets = result.get(f"{kind}ratios", {}), result.get(f"{kind}targets", {})
            found |= {f"{name}: {way}{what}": ratios[way] / target for way, target in targets.items() if way in ratios}
    return {label: value for label, value in found.items() if value > 0 and math.isfinite(value)}


def bench_svg(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return an SVG: a row for each target, a mark at ratio / target; left of the line a target is reached.

    Args:
        results: of benchmarks, by name, with ``ratios`` and ``targets``.
    """
    found = ratios_over_targets(results)
    with drawing_style():
        figure = new_figure(width=WIDTH_POINTS, height=FRAME_POINTS + ROW_POINTS * max(1, len(found)))
        axes = figure.subplots()
        for row, value in enumerate(found.values()):
            colour, marker = (REACHED, "o") if value <= 1 else (MISSED, "s")
            axes.plot([value], [row], marker=marker, color=colour, linestyle="none")
        axes.axvline(1.0, color="#000000", linewidth=1.0)
        axes.set_xscale("log")
        axes.set_yticks(range(len(found)), [printable(label, limit=50) for label in found])
        axes.set_ylim(max(1, len(found)) - 0.5, -0.5)
        axes.set_xlabel("ratio to the floor, over its target (1: just reached)")
        light_grid(axes, axis="x")
        figure.tight_layout()
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
