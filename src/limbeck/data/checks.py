"""What a set of samples must fulfil; each breach is a DataError that names the sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from limbeck.errors import DataError
from limbeck.inputs import Inputs, describe, named_tensors

Task: TypeAlias = Literal["single_label", "multi_label"]
UNLABELLED = -1  # label of a sample whose class is unknown; in a row over the classes, of every unknown entry
IGNORE_INDEX = -100  # label of a position that does not count, such as padding
SUM_TOLERANCE = 1e-3  # how far the sum of a soft label may be from 1
MAX_NUMBERED = 100_000  # classes that need no names, however few samples there are
_CHUNK = 1024


def has_positions(labels: Tensor) -> bool:
    """Return whether labels are class indices of positions, (samples, time), as in token tagging."""
    return labels.dim() == 2 and not labels.is_floating_point() and labels.dtype != torch.bool


def check_lengths(name: str, *, num_ids: int, num_inputs: int, num_labels: int) -> None:
    """Raise DataError unless there are samples, and as many ids and labels as inputs."""
    if num_ids == 0 or num_inputs == 0:
        raise DataError(f"{name} has no samples.", expected="at least one")
    if not num_ids == num_inputs == num_labels:
        raise DataError(
            f"{name} has ids, inputs and labels of different lengths.",
            received=f"{num_ids} ids, {num_inputs} inputs, {num_labels} labels",
            expected="one id and one label for each input",
        )


def numbered_classes(largest: int, *, num_labels: int, name: str) -> tuple[str, ...]:
    """Return class names "0" and up to the largest label.

    Raises:
        DataError: a label far beyond the others: one wrong one would make a class of every number below it.
    """
    limit = max(MAX_NUMBERED, num_labels)
    if largest >= limit:
        raise DataError(
            f"A label of {name} is too large for a class without a name.",
            received=f"label {largest}, {num_labels} labels",
            expected=f"labels below {limit:,}",
            remedy="mend the label; where there are so many classes, give class_names",
        )
    return tuple(str(index) for index in range(largest + 1))


def check_class_names(class_names: Sequence[str], name: str) -> None:
    """Raise DataError where two classes have one name: they could not be told apart in results, maps and plans."""
    if len(set(class_names)) < len(class_names):
        repeated, count = Counter(class_names).most_common(1)[0]
        raise DataError(
            f"Classes of {name} have the same name.",
            received=f"{repeated!r} {count} times",
            expected="a name for each class",
            remedy='add what tells them apart, such as "crane (bird)"',
        )


def check_ids(ids: Tensor, name: str) -> None:
    """Raise DataError unless ``ids`` is an int64 vector without repetition."""
    if ids.dtype != torch.int64 or ids.dim() != 1:
        raise DataError(
            f"The ids of {name} are not a vector of integers.",
            received=f"{ids.dtype} of shape {tuple(ids.shape)}",
            expected="int64 of shape (n,)",
        )
    ordered = ids.sort().values
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(repeated):
        raise DataError(
            f"The ids of {name} repeat.",
            received=f"id {int(repeated[0])} more than once",
            expected="one id for each sample",
        )


def check_labels(labels: Tensor, ids: Tensor, *, num_classes: int, task: Task, name: str) -> None:
    """Raise DataError unless ``labels`` are of one of the four kinds that ``Samples`` knows, and in range."""
    if len(labels) == 0:
        return
    if task == "multi_label":
        _check_multi_hot(labels, ids, num_classes, name)
    elif labels.dtype == torch.int64 and labels.dim() in (1, 2):
        unknown = UNLABELLED if labels.dim() == 1 else IGNORE_INDEX
        wrong = ((labels != unknown) & ((labels < 0) | (labels >= num_classes))).view(len(labels), -1).any(dim=1)
        _refuse_range(labels, wrong, ids, f"0 .. {num_classes - 1}", unknown, num_classes, name)
    elif labels.is_floating_point() and labels.dim() == 2:
        _check_distributions(labels, ids, num_classes, name)
    else:
        raise DataError(
            f"The labels of {name} are not a vector of integers.",
            received=f"{labels.dtype} of shape {tuple(labels.shape)}",
            expected="class indices: int64 of shape (n,), or (n, positions); rows over the classes: float (n, classes)",
        )


def check_weights(weights: Tensor, ids: Tensor, name: str) -> None:
    """Raise DataError unless ``weights`` are one finite number from 0 up for each sample, not all of them 0."""
    if weights.dtype != torch.float32 or weights.shape != ids.shape:
        raise DataError(
            f"The sample weights of {name} are not one number for each sample.",
            received=f"{weights.dtype} of shape {tuple(weights.shape)}",
            expected=f"float32 of shape ({len(ids)},)",
        )
    wrong = (~(torch.isfinite(weights) & (weights >= 0))).nonzero()[:, 0]
    if len(wrong):
        raise DataError(
            f"{name} has a sample weight that is no weight: the sample with id {int(ids[wrong[0]])}.",
            received=float(weights[wrong[0]]),
            expected="a finite number, 0 or more",
        )
    if not bool((weights > 0).any()):
        raise DataError(f"Every sample weight of {name} is 0.", expected="at least one above 0")


def check_inputs(inputs: Inputs, ids: Tensor, name: str) -> None:
    """Raise DataError for inputs of a wrong dtype, images of a wrong shape, and NaN or infinity."""
    if isinstance(inputs, Tensor):
        if inputs.dtype == torch.uint8:
            _check_images(inputs, name)
            return
        if inputs.dim() < 2:
            raise DataError(
                f"The inputs of {name} have a wrong type or shape.",
                received=describe(inputs),
                expected="uint8 images (n, C, H, W), or numbers (n, ...) of at least two axes",
            )
    for part, tensor in named_tensors(inputs):
        if tensor.is_complex() or tensor.is_quantized:
            raise DataError(
                f"The inputs of {name} have a wrong type or shape.",
                received=f"{part} {describe(tensor)}".strip(),
                expected="integers, booleans or floats",
            )
        if tensor.is_floating_point():
            _check_finite(tensor, ids, name, part)


def _check_images(images: Tensor, name: str) -> None:
    if images.dim() != 4 or images.shape[1] not in (1, 3):
        raise DataError(
            f"The images of {name} are not (n, channels, height, width).",
            received=f"uint8 of shape {tuple(images.shape)}",
            expected="1 or 3 channels, channel first; features are float32, token ids int64",
            remedy="limbeck.data.as_samples brings other layouts into this one",
        )


def _check_finite(inputs: Tensor, ids: Tensor, name: str, part: str) -> None:
    if bool(torch.isfinite(inputs.sum(dtype=torch.float32))):  # a finite sum holds no NaN and no infinity
        return
    for start in range(0, len(inputs), _CHUNK):
        finite = torch.isfinite(inputs[start : start + _CHUNK].flatten(1) if inputs.dim() > 1 else inputs[:, None])
        wrong = (~finite.view(len(finite), -1).all(dim=1)).nonzero()[:, 0]
        if len(wrong):
            sample_id = int(ids[start + int(wrong[0])])
            raise DataError(
                f"An input of {name} is not finite: the sample with id {sample_id}.",
                received="NaN or infinity" + (f" in {part}" if part else ""),
                expected="finite numbers",
                remedy="mend or leave out that sample",
            )


def _check_multi_hot(labels: Tensor, ids: Tensor, num_classes: int, name: str) -> None:
    if labels.dim() != 2 or not (labels.dtype == torch.bool or labels.is_floating_point()):
        raise DataError(
            f"The labels of {name} are not one row for each sample.",
            received=f"{labels.dtype} of shape {tuple(labels.shape)}, task multi_label",
            expected="bool or float of shape (n, labels)",
            remedy="give multi-hot rows: labels[i, c] says whether sample i has label c",
        )
    _check_width(labels, num_classes, name)
    if labels.dtype == torch.bool:
        return
    wrong = (~((labels >= 0) & (labels <= 1) | (labels == UNLABELLED))).any(dim=1)
    _refuse_range(labels, wrong, ids, "0 .. 1", UNLABELLED, num_classes, name)


def _check_distributions(labels: Tensor, ids: Tensor, num_classes: int, name: str) -> None:
    _check_width(labels, num_classes, name)
    unknown = (labels == UNLABELLED).all(dim=1)
    sound = (labels >= 0).all(dim=1) & ((labels.sum(dim=1, dtype=torch.float64) - 1).abs() <= SUM_TOLERANCE)
    wrong = (~(sound | unknown)).nonzero()[:, 0]
    if len(wrong):
        row = labels[wrong[0]]
        raise DataError(
            f"{name} has a soft label that is no distribution: the sample with id {int(ids[wrong[0]])}.",
            received=f"a row that sums to {float(row.sum()):.6g}, least {float(row.min()):.4g}",
            expected="numbers from 0 up that sum to 1",
            remedy='divide each row by its sum; for independent labels say task="multi_label"',
        )


def _check_width(labels: Tensor, num_classes: int, name: str) -> None:
    if labels.shape[1] != num_classes:
        raise DataError(
            f"The labels of {name} have another width than there are classes.",
            received=f"rows of {labels.shape[1]}, {num_classes} class names",
            expected="one column for each class",
        )


def _refuse_range(
    labels: Tensor, wrong: Tensor, ids: Tensor, allowed: str, unknown: int, num_classes: int, name: str
) -> None:
    if not bool(wrong.any()):
        return
    place = int(wrong.nonzero()[0, 0])
    row = labels[place].reshape(-1)
    high = num_classes - 1 if labels.dtype == torch.int64 else 1
    label = row[((row != unknown) & ~((row >= 0) & (row <= high))).nonzero()[0, 0]].item()
    raise DataError(
        f"{name} has a label out of range: {label:g} at the sample with id {int(ids[place])}.",
        received=f"{int(wrong.sum())} such label(s) of {len(labels)}",
        expected=f"{allowed}, or {unknown} where unknown" if num_classes else f"{unknown} (unknown): no class is named",
        remedy="mend the labels, or name every class in class_names",
    )
