"""Predictions of samples, one after the other: class and probability."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from limbeck.errors import DataError, LimbeckError
from limbeck.exporting.opened import Predictor
from limbeck.exporting.reading import NamedBatch
from limbeck.inputs import describe
from limbeck.models.factory import failure


@dataclass(frozen=True)
class Prediction:
    """What a network says of one sample.

    Args:
        name: of the sample: its path, row or text.
        classes: the likeliest first; of independent labels those above one half, which may be none.
        probabilities: of these.
    """

    name: str
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]


def predictions(batches: Iterable[NamedBatch], predictor: Predictor, *, num_top: int = 1) -> Iterator[Prediction]:
    """Yield the predictions of batches, which are read as they are needed.

    Args:
        batches: of raw samples.
        predictor: the network.
        num_top: classes of each, the likeliest; of independent labels all above one half are given.
    Raises:
        DataError: samples that the network does not take.
    """
    names = predictor.facts.class_names
    for batch in batches:
        try:
            probs = predictor.probabilities(batch.raw)
        except LimbeckError:
            raise
        except Exception as error:
            raise DataError(
                "The network does not take these samples.",
                received=f"{describe(batch.raw)}: {failure(error)[:200]}",
                expected=f"samples of shape {predictor.facts.input_shape}",
            ) from error
        for name, row in zip(batch.names, probs, strict=True):
            top = row.topk(min(num_top, len(names)))
            chosen = top.indices.tolist()
            if predictor.facts.task == "multi_label":
                chosen = [place for place in row.argsort(descending=True).tolist() if float(row[place]) > 0.5]
            yield Prediction(name, tuple(names[place] for place in chosen), tuple(float(row[p]) for p in chosen))
