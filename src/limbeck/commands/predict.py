"""``limbeck predict``: classes and probabilities of samples that are read as they are needed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from limbeck.errors import DataError
from limbeck.exporting.opened import open_student
from limbeck.exporting.predictions import Prediction, predictions
from limbeck.exporting.reading import read_batches, text_batches
from limbeck.training import set_threads


def run(
    student: Path,
    paths: Sequence[Path],
    *,
    lines: Iterable[str] | None,
    label_column: str | None = None,
    tokenizer: str | None,
    num_top: int,
    batch_size: int,
    factory: str | None,
    is_multi_label: bool,
    num_threads: int | None,
) -> Iterator[Prediction]:
    """Yield the predictions of images, rows of tables or lines of text, in order.

    Args:
        student: what predicts.
        paths: images, folders, tables; empty for text.
        lines: of text, from standard input; None where nothing is piped in.
        label_column: of tables, left out.
        tokenizer: folder of the tokenizer, for text.
        num_top: classes of each sample.
        batch_size: samples of a pass.
        factory: of a network of one's own.
        is_multi_label: the labels are independent.
        num_threads: of the CPU.
    """
    set_threads(num_threads)
    if num_top < 1 or batch_size < 1:
        raise DataError("Counts are at least 1.", received=f"--top {num_top}, --batch-size {batch_size}")
    if not paths and lines is None:
        raise DataError("There is nothing to predict.", expected="paths, or lines of text on standard input")
    predictor = open_student(student, factory=factory, is_multi_label=is_multi_label)
    if paths:
        batches = read_batches(paths, predictor, label_column=label_column, batch_size=batch_size)
    else:
        batches = text_batches(lines or (), predictor, tokenizer=tokenizer, batch_size=batch_size)
    return predictions(batches, predictor, num_top=num_top)


def as_text(prediction: Prediction) -> str:
    """Return a row of the table: name, then classes with their probabilities, separated by tabs."""
    pairs = zip(prediction.classes, prediction.probabilities, strict=True)
    return "\t".join([prediction.name, *(f"{name}\t{probability:.4f}" for name, probability in pairs)])


def as_json(prediction: Prediction) -> str:
    """Return a line of JSON."""
    pairs = list(zip(prediction.classes, prediction.probabilities, strict=True))
    content = {
        "input": prediction.name,
        "class": pairs[0][0] if pairs else None,
        "probability": pairs[0][1] if pairs else None,
        "classes": [{"class": name, "probability": probability} for name, probability in pairs],
    }
    return json.dumps(content, ensure_ascii=False)
