"""Weights of teachers and of fused students: equal, by accuracy, or fitted, on validation samples alone."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from limbeck.data import Samples, Views
from limbeck.distillation.predictions import Predictions, predictions_of
from limbeck.errors import InvalidValue
from limbeck.pooling import accuracy_weights, fit_weights
from limbeck.training import Runtime


def weights_on(
    modules: Sequence[nn.Module],
    how: str,
    validation: Samples | None,
    views: Views,
    *,
    pooling: str,
    runtime: Runtime,
) -> list[float] | None:
    """Return one weight for each network; None for equal ones.

    Args:
        modules: that give logits (batch, classes).
        how: "equal"; "accuracy", in proportion to each one's on the validation samples; "fitted", under which their
            labels are most likely (:func:`limbeck.pooling.fit_weights`).
        validation: what is chosen by; of those without a label nothing is used.
        views: only the normalisation is used.
        pooling: of the mean that they are for, "arithmetic" or "geometric".
        runtime: device and precision.
    Raises:
        InvalidValue: weights that need validation samples with one class each, where there are none.
    """
    if how == "equal":
        return None
    require_choosable(validation, what=f"{how} weights")
    assert validation is not None, "required"
    found = [predictions_of(module, validation, views, runtime=runtime).labelled for module in modules]
    return weights_of(found, how, pooling=pooling)


def weights_of(found: Sequence[Predictions], how: str, *, pooling: str) -> list[float] | None:
    """Return weights from what networks predicted on the same labelled validation samples; see ``weights_on``."""
    if how == "equal":
        return None
    logits, labels = [one.logits for one in found], found[0].labels
    return fit_weights(logits, labels, pooling=pooling) if how == "fitted" else accuracy_weights(logits, labels)


def require_choosable(validation: Samples | None, *, what: str) -> None:
    """Raise InvalidValue unless there are validation samples with one class each to choose by."""
    labels = None if validation is None else validation.labels
    if labels is None or labels.dim() > 1 or not len(validation.labelled_positions() if validation else ()):
        raise InvalidValue(
            f"Nothing tells {what}.",
            received="no validation split" if labels is None else "validation labels that are not one class each",
            expected="validation samples with a class each, which no network learned from",
            remedy="hold some out (validation_fraction), or take equal weights",
        )


def weights_text(weights: Sequence[float]) -> str:
    """Return weights for a note.

    Example:
        >>> weights_text([0.5, 0.25, 0.25])
        '0.500, 0.250, 0.250'
    """
    return ", ".join(f"{weight:.3f}" for weight in weights)
