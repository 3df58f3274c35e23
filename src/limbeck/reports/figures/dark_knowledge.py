"""Dark knowledge: what the teacher says of a sample, at several temperatures."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

from limbeck.records import DarkKnowledge, RunRecord
from limbeck.reports.drawing import WIDTH, LegendEntry, Panel, ReportFigure, new_figure, set_margins, text_width, to_svg
from limbeck.reports.style import INK, css_colour
from limbeck.reports.wording import percent, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_SAMPLES = 6
MOST_TEMPERATURES = 3  # bar charts side by side
ROOM_FOR_NUMBERS = 42.0  # points, right of a whole bar
MOST_CLASSES = 10  # all are shown up to here, the most probable above
SHOWN_OF_MANY = 8
TRUE_COLOUR, OTHER_COLOUR = "#0072b2", "#d55e00"
HOW_TO_READ = (
    "The teacher's probabilities for a few samples. At T = 1 it is so sure of one class that the rest hardly shows; a "
    "higher temperature brings out which wrong classes it holds likelier than others, and by how much. That ranking is "
    "what the student learns beyond the label. "
)


def dark_knowledge_figure(record: RunRecord) -> ReportFigure | None:
    """Draw a picture and the tempered distributions of up to six samples; None where the record keeps none."""
    samples = [sample for sample in record.dark_knowledge if sample.temperatures and sample.probabilities]
    if not samples:
        return None
    names = record.data.class_names
    panels = [_panel(sample, names) for sample in samples[:MOST_SAMPLES]]
    how_to_read = HOW_TO_READ
    if len(samples) > MOST_SAMPLES:
        how_to_read += f"The record keeps {len(samples)} samples; the first {MOST_SAMPLES} are shown."
    legend = [LegendEntry("true class", css_colour(TRUE_COLOUR), opacity=1.0)] if samples[0].label >= 0 else []
    legend.append(LegendEntry("other classes", css_colour(OTHER_COLOUR), opacity=1.0))
    return ReportFigure("dark-knowledge", "What the teacher knows beyond the label", how_to_read, panels, legend)


def picture(image: list[Any]) -> str:
    """Return 8-bit pixels ([height][width] grey or [height][width][3]) as a PNG data URI; "" where they are none."""
    import numpy as np
    from PIL import Image

    try:
        pixels = np.asarray(image, dtype=np.float64)
    except (TypeError, ValueError):  # ragged, or not numbers
        return ""
    if pixels.size == 0 or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (1, 3))):
        return ""
    pixels = np.clip(pixels, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _panel(sample: DarkKnowledge, names: list[str]) -> Panel:
    label = names[sample.label] if 0 <= sample.label < len(names) else ""
    shown, others = _shown_classes(sample)
    columns = _spread_out(list(range(len(sample.temperatures))), MOST_TEMPERATURES)
    rows = [printable(_name(sample, c, names), limit=14) for c in shown]
    rows += [f"{_count(sample, names) - len(shown):,} others"] if others else []
    room = (WIDTH[2] - 20 - max(map(text_width, rows))) / len(columns)  # points for one chart and its numbers
    pitch = room / max(room - ROOM_FOR_NUMBERS, 10.0)  # from one chart's zero to the next one's
    figure = new_figure(height=48 + 14.0 * len(rows))
    axes = figure.add_subplot(xlabel="probability")
    for place, column in enumerate(columns):
        _draw_bars(axes, pitch * place, sample, column, shown, others)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.4, -1.45)
    axes.set_xlim(0, pitch * len(columns))
    axes.set_xticks([pitch * place + end for place in range(len(columns)) for end in (0, 1)], ["0", "1"] * len(columns))
    axes.tick_params(axis="y", length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    set_margins(figure)
    heading = f"Sample {sample.sample_id}" + (f", true class {printable(label, limit=40)}" if label else "")
    image = picture(sample.image)
    return Panel(
        to_svg(figure, f"dark-knowledge-{sample.sample_id}"),
        _described(sample, names, columns),
        heading=heading,
        image=image,
        image_alternative=f"Picture of {heading[0].lower()}{heading[1:]}" if image else "",
    )


def _shown_classes(sample: DarkKnowledge) -> tuple[list[int], list[int]]:
    """Return the columns of the classes with a bar of their own, and the rest."""
    softest = sample.probabilities[max(range(len(sample.temperatures)), key=sample.temperatures.__getitem__)]
    if len(softest) <= MOST_CLASSES:
        return list(range(len(softest))), []
    ranked = sorted(range(len(softest)), key=lambda c: (-softest[c], c))
    shown = ranked[:SHOWN_OF_MANY]
    label = sample.classes.index(sample.label) if sample.label in sample.classes else sample.label
    if 0 <= label < len(softest) and label not in shown:
        shown[-1] = label
    return shown, [c for c in ranked if c not in shown]


def _class(sample: DarkKnowledge, column: int) -> int:
    return sample.classes[column] if column < len(sample.classes) else column


def _name(sample: DarkKnowledge, column: int, names: list[str]) -> str:
    number = _class(sample, column)
    return names[number] if number < len(names) else str(number)


def _count(sample: DarkKnowledge, names: list[str]) -> int:
    return len(names) if sample.classes else len(sample.probabilities[0])


def _rest(sample: DarkKnowledge, column: int, shown: list[int], others: list[int]) -> float:
    """Return the probability of all classes without a bar; those that the record does not keep are among them."""
    probabilities = sample.probabilities[column]
    if sample.classes:
        return max(0.0, 1.0 - sum(probabilities[c] for c in shown))
    return sum(probabilities[c] for c in others)


def _spread_out(items: list[int], count: int) -> list[int]:
    """Return at most ``count`` items, the first and the last among them."""
    if len(items) <= count:
        return items
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]


def _draw_bars(
    axes: Axes, start: float, sample: DarkKnowledge, column: int, shown: list[int], others: list[int]
) -> None:
    """Draw the bar chart of one temperature, its zero at ``start``."""
    probabilities = sample.probabilities[column]
    values = [probabilities[c] for c in shown] + ([_rest(sample, column, shown, others)] if others else [])
    colours = [TRUE_COLOUR if _class(sample, c) == sample.label else OTHER_COLOUR for c in shown] + [INK] * bool(others)
    bars = axes.barh(range(len(values)), values, left=start, height=0.72, color=colours, linewidth=0)
    if others:
        bars[-1].set_alpha(0.35)
    for row, value in enumerate(values):
        weight = "bold" if row < len(shown) and _class(sample, shown[row]) == sample.label else "normal"
        axes.text(start + value + 0.04, row, percent(value), va="center_baseline", fontsize=8, fontweight=weight)
    temperature = f"T = {sample.temperatures[column]:g}"
    axes.text(start, -1.05, temperature, va="center_baseline", fontsize=9, fontweight="bold")
    axes.vlines(start, -0.5, len(values) - 0.4, color=INK, linewidth=0.8)
    axes.hlines(len(values) - 0.4, start, start + 1, color=INK, linewidth=0.8, clip_on=False)


def _described(sample: DarkKnowledge, names: list[str], columns: list[int]) -> str:
    parts = []
    for column in columns:
        probabilities = sample.probabilities[column]
        best = sorted(range(len(probabilities)), key=lambda c: (-probabilities[c], c))[:3]
        told = ", ".join(f"{printable(_name(sample, c, names), limit=40)} {percent(probabilities[c])}" for c in best)
        parts.append(f"at T = {sample.temperatures[column]:g}: {told}")
    return f"The teacher's most probable classes {'; '.join(parts)}."
