"""A picture of a plan of specialists, as a file."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.errors import unknown_name
from limbeck.records import write_bytes
from limbeck.reports.style import drawing_style

if TYPE_CHECKING:
    import numpy.typing as npt

METADATA: dict[str, dict[str, Any]] = {  # by kind of file: without dates, so that the same picture is the same file
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
DOTS_PER_INCH = 200


def save_class_sets_picture(
    path: Path | str,
    covariance: npt.ArrayLike,
    class_sets: Sequence[Sequence[int]],
    *,
    class_names: Sequence[str] | None = None,
    title: str = "Which classes each specialist learns",
) -> list[int]:
    """Draw the covariance of predictions with the classes of each specialist side by side.

    Classes follow in the order of the sets; one in several sets stands with the set that it varies most with, one in
    none at the end. Within a set each class is followed by the one it varies most with. A frame marks each set's
    classes; the columns at the right show all sets, so that what they share is seen. Colours are those of the
    covariances between different classes, on a scale of square roots; variances on the diagonal are grey.

    Args:
        path: a file .png, .svg or .pdf.
        covariance: shape (classes, classes), finite: ``limbeck.specialists.prediction_covariance(...).numpy()``.
        class_sets: class numbers of each specialist, as ``SpecialistPlan.class_numbers`` gives them.
        class_names: one per class; numbers where not given. Written out for up to 60 classes.
        title: of the picture.
    Returns:
        The class numbers in the order drawn.
    Raises:
        ShapeMismatch: a matrix that is not square, or another number of names.
        InvalidValue: a matrix that is not finite, no sets, or a class number that is unknown.
        UnknownName: a file of another kind.
        OutputError: the folder cannot be written.
    """
    from limbeck.reports.figures.class_sets import checked_covariance, draw_class_sets, order_by_set

    kind = Path(path).suffix.lower().removeprefix(".")
    if kind not in METADATA:
        raise unknown_name("kind of picture", kind, METADATA)
    values = checked_covariance(covariance, class_sets, class_names)
    blocks = order_by_set(values, class_sets)
    names = [str(number) for number in range(len(values))] if class_names is None else list(class_names)
    with drawing_style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = draw_class_sets(values, blocks, class_sets, names, title)
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, dpi=DOTS_PER_INCH, facecolor="white", metadata=METADATA[kind])
    write_bytes(Path(path), buffer.getvalue())
    return [number for block in blocks for number in block]
