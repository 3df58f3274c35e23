"""A picture of one utterance, as a file: features, posteriors of systems over time, alignment, words."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.errors import InvalidValue, unknown_name
from limbeck.records import write_bytes
from limbeck.reports.class_sets import DOTS_PER_INCH, METADATA
from limbeck.reports.style import drawing_style

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from matplotlib.axes import Axes

    Matrix = npt.NDArray[np.floating[Any]]

WIDTH_INCHES, FEATURES_INCHES, POSTERIORS_INCHES = 9.0, 1.3, 2.6
ALIGNED_COLOUR = "#d55e00"
SHADES = 0.4  # exponent of posteriors, so that what is unlikely is seen


@dataclass(frozen=True)
class DrawnWord:
    """A word with its frames: from ``start`` up to ``end``."""

    word: str
    start: int
    end: int


@dataclass(frozen=True, eq=False)
class UtterancePicture:
    """What is drawn of an utterance.

    Args:
        name: of the utterance.
        text: what was said.
        features: energies of filters, shape (filters, frames).
        posteriors: of each system, shape (states, frames).
        state_names: of the rows.
        alignment: the row of each frame's aligned state; -1 where it is not drawn.
        words: of each system, as decoded.
        temperature: of the posteriors.
        frames_per_second: of the time axis.
    """

    name: str
    text: str
    features: Matrix
    posteriors: Mapping[str, Matrix]
    state_names: Sequence[str]
    alignment: Sequence[int]
    words: Mapping[str, Sequence[DrawnWord]]
    temperature: float
    frames_per_second: float


def save_utterance_picture(path: Path | str, picture: UtterancePicture) -> None:
    """Draw features above the posteriors of each system, with the aligned state and the decoded words.

    Posteriors are shaded by their power 0.4, on one scale for all: neighbouring states share the soft targets' mass at
    the seams of the alignment, and confusable ones within it.

    Args:
        path: a file .png, .svg or .pdf.
        picture: what is drawn.
    Raises:
        InvalidValue: no system, or another number of names or frames than of rows or columns.
        UnknownName: a file of another kind.
        OutputError: the folder cannot be written.
    """
    kind = Path(path).suffix.lower().removeprefix(".")
    if kind not in METADATA:
        raise unknown_name("kind of picture", kind, METADATA)
    _check(picture)
    with drawing_style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        from matplotlib.figure import Figure

        systems = list(picture.posteriors)
        rows = max(8, len(picture.state_names))
        height = POSTERIORS_INCHES * rows / 18
        figure = Figure(figsize=(WIDTH_INCHES, 0.8 + FEATURES_INCHES + (height + 0.35) * len(systems)))
        panels = figure.subplots(
            1 + len(systems), 1, sharex=True, height_ratios=[FEATURES_INCHES, *([height] * len(systems))], squeeze=True
        )
        _draw_features(panels[0], picture)
        for axes, system in zip(panels[1:], systems, strict=True):
            _draw_posteriors(axes, picture, system)
        panels[-1].set_xlabel("seconds")
        figure.tight_layout()
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, dpi=DOTS_PER_INCH, facecolor="white", metadata=METADATA[kind])
    write_bytes(Path(path), buffer.getvalue())


def _check(picture: UtterancePicture) -> None:
    num_frames = picture.features.shape[1]
    shapes = {name: each.shape for name, each in picture.posteriors.items()}
    expected = (len(picture.state_names), num_frames)
    if not shapes or any(shape != expected for shape in shapes.values()) or len(picture.alignment) != num_frames:
        raise InvalidValue(
            "The parts of a picture of an utterance do not go together.",
            received=f"{shapes}, an alignment of {len(picture.alignment)}",
            expected=f"posteriors of shape {expected} for at least one system",
        )


def _draw_features(axes: Axes, picture: UtterancePicture) -> None:
    end = picture.features.shape[1] / picture.frames_per_second
    axes.imshow(
        picture.features, aspect="auto", origin="lower", cmap="Greys", extent=(0, end, 0, len(picture.features))
    )
    axes.set_title(f"{picture.name}: {picture.text}")
    axes.set_ylabel("filter")


def _draw_posteriors(axes: Axes, picture: UtterancePicture, system: str) -> None:
    posteriors, count = picture.posteriors[system], len(picture.state_names)
    end = posteriors.shape[1] / picture.frames_per_second
    axes.imshow(
        posteriors**SHADES, aspect="auto", origin="lower", cmap="Blues", vmin=0, vmax=1, extent=(0, end, 0, count),
        interpolation="nearest",
    )  # fmt: skip
    times = [(frame + 0.5) / picture.frames_per_second for frame, row in enumerate(picture.alignment) if row >= 0]
    axes.plot(times, [row + 0.5 for row in picture.alignment if row >= 0], ".", color=ALIGNED_COLOUR, markersize=1.6)
    others = 1 + max(picture.alignment, default=-1)  # rows from here on belong to states that are not aligned
    if 0 < others < count:
        axes.axhline(others, color=ALIGNED_COLOUR, linewidth=0.6)
    axes.set_yticks([row + 0.5 for row in range(count)], list(picture.state_names), fontsize=6)
    for spoken in picture.words.get(system, ()):
        start, stop = (frame / picture.frames_per_second for frame in (spoken.start, spoken.end))
        axes.axvline(start, color="#000000", linewidth=0.5, alpha=0.5)
        axes.text((start + stop) / 2, count * 1.01, spoken.word, ha="center", va="bottom", fontsize=7.5)
    axes.set_title(f"{system}, T = {picture.temperature:g}; dots: alignment; above: what was decoded", pad=14)
