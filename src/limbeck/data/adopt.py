"""Samples out of what a user already has: arrays, tensors, lists, torch data sets."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from limbeck.data.checks import UNLABELLED
from limbeck.data.samples import InputSource, Samples
from limbeck.errors import DataError

_PROBES = 256  # inputs of a data set that are read for its fingerprint


def as_samples(
    data: Any,
    *,
    name: str = "data",
    class_names: Sequence[str] | None = None,
    ids: Tensor | Sequence[int] | None = None,
) -> Samples:
    """Bring data into the form that everything here works on.

    uint8 inputs are images: (n, H, W), (n, C, H, W) or (n, H, W, C) with C 1 or 3, channel first where both would fit.
    Other inputs are features (n, ...): floats are kept as float32 in the layout given, and never scaled; integers of
    shape (n, d) become float32.

    Args:
        data: ``Samples``; a pair (inputs, labels) of arrays, tensors or lists; inputs alone, then unlabelled; or a
            map-style ``torch.utils.data.Dataset`` of (input, label) pairs, which is read on demand
            (:class:`DatasetInputs`). Labels are class indices, -1 or None where unknown, or words.
        name: for messages.
        class_names: in the order of the indices. By default the data set's ``classes``, the words in alphabetical
            order, or "0" up to the largest label.
        ids: unique integers, shape (n,); by default the position.
    Returns:
        The samples. ``Samples`` come back with the arguments that are given replaced.
    Raises:
        DataError: a layout, type or label that cannot be understood, or what ``Samples`` refuses.
    Example:
        >>> samples = as_samples((np.zeros((3, 28, 28, 1), dtype=np.uint8), ["cat", "dog", "cat"]))
        >>> samples.input_shape, samples.class_names, samples.labels.tolist()
        ((1, 28, 28), ('cat', 'dog'), [0, 1, 0])
    """
    if isinstance(data, Samples):
        return Samples(
            data.name if name == "data" else name,
            data.ids if ids is None else _as_ids(ids),
            data.inputs,
            data.labels,
            data.class_names if class_names is None else tuple(class_names),
        )
    if isinstance(data, TensorDataset):
        data = data.tensors[0] if len(data.tensors) == 1 else tuple(data.tensors[:2])
    if isinstance(data, IterableDataset) or (
        callable(getattr(data, "__iter__", None)) and not hasattr(data, "__len__")
    ):
        raise DataError(
            "A stream cannot be sampled by id.",
            received=type(data).__name__,
            expected="arrays, or a map-style data set with __len__ and __getitem__",
        )
    inputs: InputSource
    is_array = isinstance(data, (Tensor, list, tuple)) or hasattr(data, "__array__")
    if isinstance(data, Dataset) or (not is_array and hasattr(data, "__getitem__") and hasattr(data, "__len__")):
        known = tuple(class_names or _classes_of(data))
        inputs, given = DatasetInputs(data, name=name), _labels_of(data, name)
    else:
        known = tuple(class_names or ())
        first, given = data if isinstance(data, tuple) and len(data) == 2 else (data, None)
        inputs = as_inputs(first, name)
    labels, words = as_labels(given, len(inputs), known, name)
    if not known:
        known = words or tuple(str(index) for index in range(int(labels.max()) + 1 if len(labels) else 0))
    return Samples(name, torch.arange(len(inputs)) if ids is None else _as_ids(ids), inputs, labels, known)


class DatasetInputs:
    """The inputs of a map-style data set of (input, label) pairs, read on demand.

    An input may be a tensor, an array, a number sequence or a PIL image; uint8 ones are brought into (C, H, W).

    Transforms inside the data set run whenever an input is read. Random ones make every reading another input, so
    stored targets cannot be replayed on it: ``is_replayable`` is then False. Better augment with ``Views``.

    The digest covers length, type, shape and up to 256 evenly spread inputs, each read twice to find random transforms.

    Args:
        dataset: with ``__len__`` and ``__getitem__(int)``.
        name: for messages.
    """

    def __init__(self, dataset: Any, *, name: str = "data") -> None:
        self.dataset = dataset
        self.name = name
        self._replayable: bool | None = None

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, positions: Tensor) -> Tensor:
        inputs = [self._read(position) for position in positions.tolist()]
        shapes = {tuple(item.shape) for item in inputs}
        if len(shapes) > 1:
            other = next(i for i, item in enumerate(inputs) if item.shape != inputs[0].shape)
            raise DataError(
                f"The inputs of {self.name} have different shapes.",
                received=f"{tuple(inputs[0].shape)} at position {int(positions[0])}, "
                f"{tuple(inputs[other].shape)} at position {int(positions[other])}",
                expected="one shape",
                remedy="resize in the data set's transform",
            )
        return torch.stack(inputs)

    @property
    def is_replayable(self) -> bool:
        """Whether a few inputs, read twice, came out the same."""
        if self._replayable is None:
            positions = torch.arange(len(self))[:: max(1, len(self) // 8)]
            self._replayable = torch.equal(self[positions], self[positions])
        return self._replayable

    def content_digest(self, positions: Tensor) -> str:
        """Return a digest of the number of positions and of up to 256 inputs at them."""
        probed = positions[:: max(1, -(-len(positions) // _PROBES))]
        inputs = self[probed]
        digest = hashlib.sha256(f"{len(positions)} {inputs.dtype} {tuple(inputs.shape[1:])}".encode())
        if torch.equal(inputs, self[probed]):
            digest.update(inputs.contiguous().numpy().tobytes())
        else:
            self._replayable = False
            digest.update(b"random")
        return digest.hexdigest()

    def _read(self, position: int) -> Tensor:
        item = self.dataset[position]
        raw = item[0] if isinstance(item, (tuple, list)) else item
        if callable(getattr(raw, "convert", None)) and getattr(raw, "mode", "L") != "L":
            raw = raw.convert("RGB")  # a PIL image
        value = raw if isinstance(raw, Tensor) else torch.from_numpy(np.array(raw))
        return as_inputs(value[None], self.name)[0]


def as_inputs(inputs: Any, name: str) -> Tensor:
    """Return uint8 images (n, C, H, W) or float32 features (n, ...); see :func:`as_samples` for the rule."""
    tensor = inputs.detach() if isinstance(inputs, Tensor) else torch.from_numpy(_as_array(inputs, name))
    if tensor.dtype == torch.uint8 and tensor.dim() >= 3:
        return _channel_first(tensor, name)
    if tensor.dim() >= 2 and (tensor.is_floating_point() or (tensor.dim() == 2 and not tensor.is_complex())):
        return tensor.to(torch.float32)
    raise DataError(
        f"The inputs of {name} have a type that is neither image nor feature.",
        received=f"{tensor.dtype} of shape {tuple(tensor.shape)}",
        expected="uint8 images, or float features",
        remedy="convert 0..255 pixels to uint8, other numbers to float32",
    )


def as_labels(labels: Any, count: int, class_names: tuple[str, ...], name: str) -> tuple[Tensor, tuple[str, ...]]:
    """Return int64 class indices (n,) and, where labels are words and no names are known, the words in order."""
    if labels is None:
        return torch.full((count,), UNLABELLED), ()
    if not isinstance(labels, Tensor):
        if isinstance(labels, (list, tuple)):
            labels = [UNLABELLED if label is None else label for label in labels]
        labels = _as_array(labels, name)
        if labels.dtype.kind in "US":
            return _indices_of_words(labels.astype(str), class_names, name)
        labels = torch.from_numpy(labels)
    if labels.is_floating_point() or labels.is_complex() or labels.dim() != 1:
        raise DataError(
            f"The labels of {name} are not class indices.",
            received=f"{labels.dtype} of shape {tuple(labels.shape)}",
            expected="integers of shape (n,)",
            remedy="give class indices: .argmax(1) of one-hot rows, .long() of whole floats",
        )
    return labels.detach().to(torch.int64), ()


def _as_ids(ids: Tensor | Sequence[int]) -> Tensor:
    return ids if isinstance(ids, Tensor) else torch.tensor(ids)


def _as_array(values: Any, name: str) -> np.ndarray[Any, Any]:
    try:
        if isinstance(values, (list, tuple)) and values and all(isinstance(value, Tensor) for value in values):
            values = torch.stack(list(values)).numpy()
        array = np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataError(
            f"{name} holds rows of different shapes or types.", received=str(error), expected="one shape for all"
        ) from error
    if array.dtype.kind not in "biufUS":
        raise DataError(f"{name} holds values that are not numbers.", received=f"an array of {array.dtype}")
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.int64)
    return np.ascontiguousarray(array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("=")))


def _channel_first(images: Tensor, name: str) -> Tensor:
    if images.dim() == 3:
        return images[:, None]
    if images.dim() == 4 and images.shape[1] in (1, 3):
        return images
    if images.dim() == 4 and images.shape[3] in (1, 3):
        return images.permute(0, 3, 1, 2).contiguous()
    has_alpha = images.dim() == 4 and 4 in (images.shape[1], images.shape[3])
    raise DataError(
        f"The images of {name} have neither one nor three channels.",
        received=f"uint8 of shape {tuple(images.shape)}",
        expected="(n, H, W), (n, C, H, W) or (n, H, W, C) with C 1 or 3",
        remedy="convert RGBA or CMYK to RGB" if has_alpha else "features must be float32",
    )


def _indices_of_words(words: Any, class_names: tuple[str, ...], name: str) -> tuple[Tensor, tuple[str, ...]]:
    present, indices = np.unique(words, return_inverse=True)
    known = class_names or tuple(str(word) for word in present)
    places = {word: index for index, word in enumerate(known)}
    for word in present.tolist():
        if word not in places:
            where = int(np.flatnonzero(words == word)[0])
            raise DataError(
                f"{name} has a label that is no class: {word!r} at position {where}.",
                expected="one of " + ", ".join(known),
            )
    order = torch.tensor([places[str(word)] for word in present])
    return order[torch.from_numpy(indices.reshape(-1))], known


def _classes_of(dataset: Any) -> tuple[str, ...]:
    while isinstance(dataset, Subset) and not hasattr(dataset, "classes"):
        dataset = dataset.dataset
    classes = getattr(dataset, "classes", None)
    return tuple(str(item) for item in classes) if isinstance(classes, (list, tuple)) else ()


def _labels_of(dataset: Any, name: str) -> Any:
    """The labels, from ``targets`` or ``labels`` where they are what the data set returns, else from one pass."""
    if isinstance(dataset, Subset):
        labels = _labels_of(dataset.dataset, name)
        indices = torch.as_tensor(dataset.indices)
        return labels[indices] if isinstance(labels, (Tensor, np.ndarray)) else [labels[i] for i in indices.tolist()]
    if getattr(dataset, "target_transform", None) is None:
        for attribute in ("targets", "labels"):
            labels = getattr(dataset, attribute, None)
            if isinstance(labels, (list, tuple, Tensor, np.ndarray)) and len(labels) == len(dataset):
                return labels
    labels = []
    for position in range(len(dataset)):
        item = dataset[position]
        if not (isinstance(item, (tuple, list)) and len(item) >= 2):
            return None  # inputs alone
        labels.append(item[1].item() if isinstance(item[1], (Tensor, np.generic)) else item[1])
    return labels
