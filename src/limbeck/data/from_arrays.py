"""Samples out of what a user already has: arrays, data frames, lists, data sets, loaders."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, SubsetRandomSampler, TensorDataset
from torch.utils.data.dataloader import default_collate

from limbeck.data.arrays import as_inputs, as_labels
from limbeck.data.arrow_images import ArrowImages, image_column
from limbeck.data.checks import Task, numbered_classes
from limbeck.data.collate import Collate
from limbeck.data.columns import is_weight, left_out, split_item
from limbeck.data.data_set_labels import read_labels
from limbeck.data.data_sets import DatasetInputs, read_item
from limbeck.data.encoded_images import EncodedSet
from limbeck.data.image_decoding import EXTENSIONS
from limbeck.data.image_inputs import ImageSettings, load_images
from limbeck.data.images import image_list
from limbeck.data.loading import ReadSettings
from limbeck.data.samples import Samples
from limbeck.data.sources import RawInputs, is_in_memory
from limbeck.data.splits import Splits
from limbeck.data.tables import frame_columns, is_frame
from limbeck.errors import DataError
from limbeck.inputs import named_tensors, num_rows

SPLIT_NAMES = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation", "test": "test"}


@dataclasses.dataclass
class _Taken:
    """What a kind of data was found to hold."""

    inputs: RawInputs
    labels: Any = None
    weights: Any = None
    class_names: tuple[str, ...] = ()
    notes: list[str] = dataclasses.field(default_factory=list)


def as_samples(
    data: Any,
    *,
    name: str = "data",
    class_names: Sequence[str] | None = None,
    ids: Tensor | Sequence[int] | None = None,
    weights: Any = None,
    task: Task | None = None,
    label_column: str | None = None,
    collate: Collate | None = None,
    image_size: int | None = None,
) -> Samples:
    """Bring data into the form that everything here works on.

    uint8 inputs are images: (n, H, W), (n, C, H, W) or (n, H, W, C) with C 1 or 3, channel first where both would fit.
    Floats are features (n, ...), kept as float32 in the layout given, and never scaled; integers, such as token ids,
    stay integers (int64). A mapping or tuple of arrays is several inputs of one network.

    Args:
        data: ``Samples``; a pair (inputs, labels) or triple (inputs, labels, weights) of arrays, tensors or lists;
            inputs alone, then unlabelled; a mapping of columns or a data frame; a list of image paths in place of
            inputs; a map-style data set (torch's, or a Hugging Face ``Dataset``), read on demand
            (:class:`DatasetInputs`); or a ``DataLoader`` of one: its collate function, workers and memory are used,
            its sampler is replaced. Labels are class indices, -1 or None where unknown, words, or what ``Samples``
            takes.
        name: for messages.
        class_names: in the order of the indices. By default the data set's ``classes``, the words in alphabetical
            order, or "0" up to the largest label.
        ids: unique integers, shape (n,); by default the position.
        weights: of the samples in the loss, shape (n,), in place of those in the data.
        task: "multi_label" where each label is for itself; see ``Samples``.
        label_column: of a mapping, a data frame or items that are mappings, where it is not called label or target.
        collate: makes a batch of items, for sequences of different lengths: ``pad_collate()`` or a function of yours.
        image_size: of image paths, and of the images of a Hugging Face ``Dataset``; see ``load_image_folder``.
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
        return dataclasses.replace(
            data,
            name=data.name if name == "data" else name,
            ids=data.ids if ids is None else _as_ids(ids),
            class_names=data.class_names if class_names is None else tuple(class_names),
            weights=data.weights if weights is None else _as_weights(weights, name),
            task=task or data.task,
        )
    taken = _take(data, name, label_column=label_column, collate=collate, image_size=image_size)
    known = tuple(class_names or taken.class_names)
    in_memory = taken.inputs if is_in_memory(taken.inputs) else None
    count = len(taken.inputs) if in_memory is None else num_rows(in_memory)
    lengths = [part.shape[1] for _, part in named_tensors(in_memory) if part.dim() > 1] if in_memory is not None else []
    labels, words = as_labels(taken.labels, count, known, name, task=task, input_lengths=lengths)
    return Samples(
        name,
        torch.arange(count) if ids is None else _as_ids(ids),
        taken.inputs,
        labels,
        known or words or _numbered(labels),
        weights=_as_weights(taken.weights if weights is None else weights, name),
        task=task,  # type: ignore[arg-type]  # resolved there
        notes=tuple(taken.notes),
    )


def is_data_set_dict(data: Any) -> bool:
    """Whether data is a mapping from split names to data sets, such as Hugging Face's ``DatasetDict``."""
    return isinstance(data, Mapping) and "train" in data and not hasattr(data["train"], "__array__")


def as_splits(data: Mapping[str, Any], *, name: str = "", **settings: Any) -> Splits:
    """Return the splits of a mapping from "train", "validation" (or "valid", "val") and "test" to data sets.

    Args:
        data: each value is what :func:`as_samples` takes.
        name: of the whole.
        **settings: of :func:`as_samples`, for every split.
    Raises:
        DataError: no training split, two of one kind, or what ``as_samples`` refuses.
    """
    found: dict[str, Samples] = {}
    others = [key for key in data if key not in SPLIT_NAMES]
    if "train" not in data:
        raise DataError(f"{name or 'The data'} has no training split.", received=", ".join(map(str, data)))
    for key in [key for key in SPLIT_NAMES if key in data]:
        split = SPLIT_NAMES[key]
        if split in found:
            raise DataError(f"{name or 'The data'} has two {split} splits.", received=", ".join(map(str, data)))
        if found and not settings.get("class_names"):
            settings = {**settings, "class_names": found["train"].class_names}
        found[split] = as_samples(data[key], name=f"{name}/{split}" if name else split, **settings)
    notes = list(dict.fromkeys(note for samples in found.values() for note in samples.notes))
    if others:
        notes.append(f"Splits that were not used: {', '.join(map(str, others))}.")
    return Splits(found["train"], found.get("validation"), found.get("test"), name=name, notes=tuple(notes))


def _take(data: Any, name: str, *, label_column: str | None, collate: Collate | None, image_size: int | None) -> _Taken:
    if isinstance(data, DataLoader):
        return _take_loader(data, name, label_column=label_column, collate=collate)
    if isinstance(data, TensorDataset) and len(data.tensors) <= 3:
        data = tuple(data.tensors) if len(data.tensors) > 1 else data.tensors[0]
    _refuse_streams(data)
    if is_frame(data):
        data, class_names = frame_columns(data, label_column=label_column, name=name)
        return _Taken(as_inputs(data.inputs, name), data.label, data.weight, class_names)
    if is_data_set_dict(data):
        raise DataError(
            f"{name} holds several splits.",
            received=", ".join(map(str, data)),
            expected="one data set",
            remedy='take one, data["train"], or all of them with limbeck.data.as_splits(data)',
        )
    if _is_data_set(data):
        taken = _take_data_set(data, name, label_column=label_column, collate=collate)
        column = None if collate else image_column(data, label_column=label_column, name=name)
        if column is not None:
            images = EncodedSet(ArrowImages(data, column, name=name))
            loaded, on_exif = load_images({"all": images}, ImageSettings(image_size))
            taken = dataclasses.replace(taken, inputs=loaded["all"], notes=[*taken.notes, *on_exif])
        return taken
    if isinstance(data, Mapping):
        example = split_item(data, label_column=label_column, name=name)
        notes = _notes_on(data, label_column)
        return _Taken(as_inputs(example.inputs, name), example.label, example.weight, notes=notes)
    parts = data if isinstance(data, tuple) and len(data) in (2, 3) else (data,)
    if len(parts) == 3 and not is_weight(parts[2]):
        split_item(parts, name=name)  # refuses
    inputs: RawInputs = image_list(parts[0], image_size) if _are_paths(parts[0]) else as_inputs(parts[0], name)
    return _Taken(inputs, *parts[1:])


def _take_data_set(
    data: Any, name: str, *, label_column: str | None, collate: Collate | None, reading: ReadSettings | None = None
) -> _Taken:
    inputs = DatasetInputs(data, name=name, collate=collate, label_column=label_column, reading=reading)
    labels, weights = read_labels(data, name=name, label_column=label_column)
    notes = _notes_on(read_item(data, 0, name), label_column) if hasattr(data, "column_names") and len(data) else []
    return _Taken(inputs, labels, weights, _classes_of(data, label_column), notes)


def _take_loader(loader: DataLoader[Any], name: str, *, label_column: str | None, collate: Collate | None) -> _Taken:
    data, sampler = loader.dataset, loader.sampler
    _refuse_streams(data)
    notes = []
    if isinstance(sampler, SubsetRandomSampler):
        data = Subset(data, list(sampler.indices))
    if loader.batch_size is None or type(sampler).__name__ != "SequentialSampler":
        replaced = type(sampler if loader.batch_size is not None else loader.batch_sampler).__name__
        notes.append(
            f"The DataLoader's {replaced} was replaced: the order of {name} is a function of (seed, epoch, id)."
        )
    own: Any = loader.collate_fn
    reading = ReadSettings(
        num_workers=loader.num_workers,
        prefetch=loader.prefetch_factor or 2,
        pin_memory=loader.pin_memory,
        batch_size=loader.batch_size,
    )
    taken = _take_data_set(
        data,
        name,
        label_column=label_column,
        collate=collate or (None if own is default_collate or loader.batch_size is None else own),
        reading=reading,
    )
    taken.notes += notes
    return taken


def _refuse_streams(data: Any) -> None:
    if isinstance(data, IterableDataset) or (
        callable(getattr(data, "__iter__", None)) and not hasattr(data, "__len__")
    ):
        raise DataError(
            "A stream cannot be sampled by id.",
            received=type(data).__name__,
            expected="arrays, or a map-style data set with __len__ and __getitem__: stored targets, the order of an "
            "epoch and an exact resume all go by each sample's id, which a stream does not have",
            remedy="read it once: as_samples(list(stream)); or save it, and give the files",
        )


def _is_data_set(data: Any) -> bool:
    if isinstance(data, Dataset) or hasattr(data, "column_names"):
        return True
    if isinstance(data, list):
        first = data[0] if data else None
        is_pair = isinstance(first, tuple) and bool(first) and not isinstance(first[0], (int, float, np.number))
        is_picture = hasattr(first, "convert") and hasattr(first, "mode")
        return is_pair or is_picture or isinstance(first, Mapping)
    is_array = isinstance(data, (Tensor, tuple, Mapping)) or hasattr(data, "__array__")
    return not is_array and hasattr(data, "__getitem__") and hasattr(data, "__len__")


def _are_paths(values: Any) -> bool:
    first = values[0] if isinstance(values, (list, tuple)) and values else None
    return isinstance(first, (str, Path)) and str(first).lower().endswith(EXTENSIONS)


def _notes_on(item: Any, label_column: str | None) -> list[str]:
    columns = left_out(item, label_column)
    return [f"Columns that are no inputs were left out: {', '.join(columns)}."] if columns else []


def _numbered(labels: Tensor) -> tuple[str, ...]:
    """Class names "0" and up, as many as the labels show."""
    if labels.dim() == 2 and labels.dtype != torch.int64:
        return tuple(str(index) for index in range(labels.shape[1]))
    if not labels.numel():
        return ()
    return numbered_classes(int(labels.max()), num_labels=labels.numel(), name="the data")


def _as_ids(ids: Tensor | Sequence[int]) -> Tensor:
    return ids if isinstance(ids, Tensor) else torch.tensor(ids)


def _as_weights(weights: Any, name: str) -> Tensor | None:
    if weights is None:
        return None
    try:
        return torch.as_tensor(weights).detach().to(torch.float32).reshape(-1)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"The sample weights of {name} are not numbers.", received=str(error)) from error


def _classes_of(dataset: Any, label_column: str | None) -> tuple[str, ...]:
    """The data set's ``classes``, or those of the label among a Hugging Face data set's features."""
    while isinstance(dataset, Subset) and not hasattr(dataset, "classes"):
        dataset = dataset.dataset
    if hasattr(dataset, "datasets") and not hasattr(dataset, "classes"):
        known = {_classes_of(part, label_column) for part in dataset.datasets}
        return known.pop() if len(known) == 1 else ()
    features = getattr(dataset, "features", None)
    if isinstance(features, Mapping):
        for column in (label_column,) if label_column else ("label", "labels", "target", "targets", "y"):
            feature = features.get(column)
            names = getattr(feature, "names", None) or getattr(getattr(feature, "feature", None), "names", None)
            if names:
                return tuple(str(one) for one in names)
    classes = getattr(dataset, "classes", None)
    return tuple(str(item) for item in classes) if isinstance(classes, (list, tuple)) else ()
