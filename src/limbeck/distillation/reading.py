"""One reading of a split: what is measured of a network's predictions, with many classes a block at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from limbeck.data import Samples, Views
from limbeck.distillation.predictions import Predictions
from limbeck.metrics import RowMeasures, most_confused_cells
from limbeck.metrics.confusions import cells_of, matrix_of
from limbeck.metrics.tasks import Measured, has_class_labels
from limbeck.training import Runtime, predict, predict_in_blocks

NUM_MOST_CONFUSED = 10
MOST_MATRIX_CLASSES = 100  # of more, the record keeps the cells that occur
MOST_CELLS = 10_000  # the most frequent ones


@dataclass(frozen=True, eq=False)
class Reading:
    """What one reading of a split gave.

    Args:
        measured: values and units by name.
        rows: what was measured of each labelled sample; None where labels are not of classes, or there are none.
    """

    measured: Measured
    rows: RowMeasures | None

    @staticmethod
    def of(found: Predictions, teacher_logits: Tensor | None = None) -> Reading:
        """Measure predictions that are held as a whole, perhaps beside a teacher's logits of the same samples."""
        measured = found.measured() | ({} if teacher_logits is None else found.compared(teacher_logits))
        rows = found.labelled
        is_measured = rows.has_classes and len(rows.labels) > 0
        return Reading(measured, RowMeasures.of(rows.logits, rows.labels) if is_measured else None)


def read_split(
    module: nn.Module,
    samples: Samples,
    views: Views,
    *,
    runtime: Runtime,
    teacher_logits: Tensor | None = None,
    weights: Mapping[str, Tensor] | None = None,
) -> Reading:
    """Return what a network's predictions measure, and beside a teacher's; with many classes a block at a time."""
    module = module.to(runtime.device)
    if not has_class_labels(samples.labels, samples.task):
        logits = predict(module, samples, views, runtime=runtime, weights=weights)
        return Reading.of(Predictions(logits, samples.labels.cpu(), samples.class_names, samples.task), teacher_logits)
    parts, compared, counts = [], [], []
    for place, logits in predict_in_blocks(module, samples, views, runtime=runtime, weights=weights):
        found = Predictions(logits, samples.labels[place].cpu(), samples.class_names, samples.task)
        if len((rows := found.labelled).labels):
            parts.append(RowMeasures.of(rows.logits, rows.labels))
        if teacher_logits is not None:
            compared.append(found.compared(teacher_logits[place]))
            counts.append(len(logits))
    joined = RowMeasures.joined(parts) if parts else None
    return Reading((joined.measured() if joined else {}) | _mean(compared, counts), joined)


def _mean(measured: Sequence[Measured], counts: Sequence[int]) -> Measured:
    """Return means of blocks as those of all samples."""
    if len(measured) <= 1:
        return measured[0] if measured else {}
    total = sum(counts)
    return {
        name: (sum(one[name][0] * count for one, count in zip(measured, counts, strict=True)) / total, unit)
        for name, (_, unit) in measured[0].items()
    }


def mistakes(rows: RowMeasures | None, class_names: Sequence[str]) -> dict[str, Any]:
    """Return confusion, reliability and the most confused pairs, as a record has them; nothing without labels."""
    if rows is None:
        return {}
    cells = cells_of(rows.labels, rows.predicted, num_classes=rows.num_classes)
    kept = cells[:MOST_CELLS]
    few = rows.num_classes <= MOST_MATRIX_CLASSES
    return {
        "confusion": matrix_of(cells, num_classes=rows.num_classes).tolist() if few else [],
        "confusion_cells": [] if few else kept.flatten().tolist(),
        "num_cells_left_out": 0 if few else len(cells) - len(kept),
        "reliability": rows.reliability(),
        "most_confused": most_confused_cells(cells, class_names, count=NUM_MOST_CONFUSED),
    }
