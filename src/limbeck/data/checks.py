"""What a set of samples must fulfil; each breach is a DataError that names the sample."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.errors import DataError

UNLABELLED = -1  # label of a sample whose class is unknown
_CHUNK = 1024


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


def check_labels(labels: Tensor, ids: Tensor, *, num_classes: int, name: str) -> None:
    """Raise DataError unless ``labels`` is an int64 vector of class indices or UNLABELLED."""
    if labels.dtype != torch.int64 or labels.dim() != 1:
        raise DataError(
            f"The labels of {name} are not a vector of integers.",
            received=f"{labels.dtype} of shape {tuple(labels.shape)}",
            expected="int64 of shape (n,)",
        )
    wrong = ((labels < UNLABELLED) | (labels >= num_classes)).nonzero()[:, 0]
    if len(wrong):
        label, sample_id = int(labels[wrong[0]]), int(ids[wrong[0]])
        raise DataError(
            f"{name} has a label out of range: {label} at the sample with id {sample_id}.",
            received=f"{len(wrong)} such label(s) of {len(labels)}",
            expected=f"0 .. {num_classes - 1}, or {UNLABELLED} where unknown"
            if num_classes
            else f"{UNLABELLED} (unknown): no class is named",
            remedy="mend the labels, or name every class in class_names",
        )


def check_inputs(inputs: Tensor, ids: Tensor, name: str) -> None:
    """Raise DataError for inputs of a wrong dtype, images of a wrong shape, and NaN or infinity."""
    if inputs.dtype == torch.uint8:
        if inputs.dim() != 4 or inputs.shape[1] not in (1, 3):
            raise DataError(
                f"The images of {name} are not (n, channels, height, width).",
                received=f"uint8 of shape {tuple(inputs.shape)}",
                expected="1 or 3 channels, channel first; features are float32",
                remedy="limbeck.data.as_samples brings other layouts into this one",
            )
        return
    if not inputs.is_floating_point() or inputs.dim() < 2:
        raise DataError(
            f"The inputs of {name} have a wrong type or shape.",
            received=f"{inputs.dtype} of shape {tuple(inputs.shape)}",
            expected="uint8 images (n, C, H, W) or float features (n, ...)",
        )
    if bool(torch.isfinite(inputs.sum(dtype=torch.float32))):  # a finite sum holds no NaN and no infinity
        return
    for start in range(0, len(inputs), _CHUNK):
        finite = torch.isfinite(inputs[start : start + _CHUNK]).flatten(1).all(dim=1)
        wrong = (~finite).nonzero()[:, 0]
        if len(wrong):
            sample_id = int(ids[start + int(wrong[0])])
            raise DataError(
                f"An input of {name} is not finite: the sample with id {sample_id}.",
                received="NaN or infinity",
                expected="finite numbers",
                remedy="mend or leave out that sample",
            )
