"""The three splits of a job, whatever was given."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from limbeck.data import (
    InputSource,
    ReadSettings,
    Samples,
    Splits,
    as_samples,
    as_splits,
    hold_out,
    is_data_set_dict,
    label_part,
    require_classes,
)
from limbeck.data.sources import Selected
from limbeck.distillation.job_arguments import JobArguments
from limbeck.distillation.sources import Network
from limbeck.errors import DataError
from limbeck.records import DataRecord

TEST_FRACTION = 0.2  # held out where no test split is given


@dataclass(frozen=True, eq=False)
class JobData:
    """Train, validation and test, with the labels that the job may use."""

    name: str
    train: Samples
    validation: Samples | None
    test: Samples
    notes: list[str]
    test_is_held_out: bool = False  # of the training set, so that ids mean the same
    has_own_test: bool = True  # False where it was held out here, or by the loader

    @property
    def has_labels(self) -> bool:
        """Whether any training sample has a label."""
        return len(self.train.labelled_positions()) > 0

    @property
    def labelled(self) -> Samples:
        """The labelled part of the training set."""
        positions = self.train.labelled_positions()
        return self.train if len(positions) == len(self.train) else self.train.take(positions)

    @property
    def choosing(self) -> Samples | None:
        """The validation split where it has labels to choose by."""
        has_labels = self.validation is not None and len(self.validation.labelled_positions()) > 0
        return self.validation if has_labels else None

    def build(self, network: Network, *, seed: int) -> nn.Module:
        """Return a new module of the right shape for the data; one that does not fit raises here, before any work."""
        return network.build_for(self.train, seed=seed)

    def describe(self) -> DataRecord:
        """Return the record of the data."""
        return DataRecord(
            name=self.name,
            fingerprint=self.train.fingerprint,
            class_names=list(self.train.class_names),
            input_shape=list(self.train.input_shape),
            num_train=len(self.train),
            num_labelled=len(self.train.labelled_positions()),
            num_validation=len(self.validation) if self.validation else 0,
            num_test=len(self.test),
        )


def job_data(
    train: Any, settings: JobArguments, *, name_classes: Callable[[Samples], Sequence[str]] | None = None
) -> JobData:
    """Make the splits of a job: what is given is used, what is missing is held out of train, stratified and seeded.

    Args:
        train: Splits, a dictionary of data sets by split (Hugging Face's ``DatasetDict``), or anything that
            ``as_samples`` takes.
        settings: validation and test set, class names, what is held out, and how many labels the training set keeps.
        name_classes: of a job that needs no labels: names the classes of samples that know none. Without labels the
            test set is held out at random, and no validation set.
    Raises:
        DataError: splits that do not go together, or labels of a single class. A training set without any label is
            taken: a teacher alone can be learned from.
    """
    validation, test = settings.validation, settings.test
    notes: list[str] = []
    loaded_own_test = test is not None or getattr(train, "has_own_test", True)
    train = as_splits(train, class_names=settings.class_names) if is_data_set_dict(train) else train
    if isinstance(train, Splits):
        notes += train.notes
        name = train.name or train.train.name
        validation, test, train = validation or train.validation, test or train.test, train.train
        samples: Samples = train
    else:
        samples = as_samples(train, name="train", class_names=settings.class_names)
        name = samples.name
    needs_labels = name_classes is None or len(samples.labelled_positions()) > 0
    if name_classes is not None and not needs_labels and samples.num_classes < 2:
        samples = dataclasses.replace(samples, class_names=tuple(name_classes(samples)))
    has_given_test = test is not None
    has_own_test = has_given_test and loaded_own_test
    if test is None:
        samples, test = hold_out(samples, fraction=TEST_FRACTION, seed=settings.split_seed)
        notes.append(f"No test split was given: {len(test)} samples of the training set were held out as the test set.")
    if validation is None and settings.validation_fraction > 0 and needs_labels:
        samples, validation = hold_out(samples, fraction=settings.validation_fraction, seed=settings.split_seed)
    elif validation is None:
        notes.append("There is no validation split: the last epoch was kept.")
    if settings.num_labelled is not None:
        samples = label_part(samples, count=settings.num_labelled, seed=settings.split_seed)
    test = as_samples(test, name="test", class_names=samples.class_names)
    if validation is not None:
        validation = as_samples(validation, name="validation", class_names=samples.class_names)
    for split in (validation, test):
        _check_fits(samples, split)
    if needs_labels:
        require_classes(samples, "the training set")
        require_classes(test, "the test set")
    if settings.num_workers is not None:
        samples, test = _read_by(samples, settings.num_workers), _read_by(test, settings.num_workers)
        validation = validation and _read_by(validation, settings.num_workers)
    notes += dict.fromkeys(note for split in (samples, validation, test) if split for note in split.notes)
    return JobData(
        name, samples, validation, test, notes, test_is_held_out=not has_given_test, has_own_test=has_own_test
    )


def _read_by(samples: Samples, num_workers: int) -> Samples:
    """Return samples that so many processes read where they are read on demand; those in memory as they are."""
    if samples.in_memory:
        return samples
    source = cast(InputSource, samples.inputs)
    reading = dataclasses.replace(getattr(source, "reading", None) or ReadSettings(), num_workers=num_workers)
    inputs = Selected(source, torch.arange(len(samples)), reading=reading)
    return dataclasses.replace(samples, inputs=inputs)


def _check_fits(train: Samples, split: Samples | None) -> None:
    if split is None:
        return
    if _fixed_shapes(split) != _fixed_shapes(train):
        raise DataError(
            f"{split.name} and {train.name} hold inputs of different shapes.",
            received=f"{_shown(split)} and {_shown(train)}",
            expected="one shape",
            remedy="resize the images (--image-size), or pass arrays of one shape",
        )
    if split.class_names != train.class_names or split.task != train.task:
        raise DataError(
            f"{split.name} and {train.name} do not have the same classes.",
            received=f"{split.num_classes} ({split.task}) and {train.num_classes} ({train.task}) classes",
            expected="the same class names in the same order, and the same task",
        )


def _fixed_shapes(samples: Samples) -> dict[str, tuple[int, ...]]:
    """The shape of each part of an input, without the length of sequences where that varies."""
    varies = bool(getattr(samples.inputs, "is_ragged", False))
    return {name: shape[1:] if varies else shape for name, shape in samples.input_shapes.items()}


def _shown(samples: Samples) -> str:
    return ", ".join(f"{name} {shape}".strip() for name, shape in samples.input_shapes.items())
