"""The three splits of a job, whatever was given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from limbeck.data import Samples, Splits, as_samples, hold_out, label_part, require_classes
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

    @property
    def labelled(self) -> Samples:
        """The labelled part of the training set."""
        positions = self.train.labelled_positions()
        return self.train if len(positions) == len(self.train) else self.train.take(positions)

    def build(self, network: Network, *, seed: int) -> nn.Module:
        """Return a new module of the right shape for the data; one that does not fit raises here, before any work."""
        return network.build(input_shape=self.train.input_shape, num_classes=self.train.num_classes, seed=seed)

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


def job_data(train: Any, settings: JobArguments) -> JobData:
    """Make the splits of a job: what is given is used, what is missing is held out of train, stratified and seeded.

    Args:
        train: Splits, Samples, an (inputs, labels) pair, or a torch data set.
        settings: validation and test set, class names, what is held out, and how many labels the training set keeps.
    Raises:
        DataError: splits that do not go together, or a training set with fewer than two labelled classes.
    """
    validation, test = settings.validation, settings.test
    notes: list[str] = []
    if isinstance(train, Splits):
        notes += train.notes
        name = train.name or train.train.name
        validation, test, train = validation or train.validation, test or train.test, train.train
        samples: Samples = train
    else:
        samples = as_samples(train, name="train", class_names=settings.class_names)
        name = samples.name
    if test is None:
        samples, test = hold_out(samples, fraction=TEST_FRACTION, seed=settings.split_seed)
        notes.append(f"No test split was given: {len(test)} samples of the training set were held out as the test set.")
    if validation is None and settings.validation_fraction > 0:
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
    require_classes(samples, "the training set")
    require_classes(test, "the test set")
    return JobData(name, samples, validation, test, notes)


def _check_fits(train: Samples, split: Samples | None) -> None:
    if split is None:
        return
    if split.input_shape != train.input_shape:
        raise DataError(
            f"{split.name} and {train.name} hold inputs of different shapes.",
            received=f"{split.input_shape} and {train.input_shape}",
            expected="one shape",
            remedy="resize the images (--image-size), or pass arrays of one shape",
        )
    if split.class_names != train.class_names:
        raise DataError(
            f"{split.name} and {train.name} do not have the same classes.",
            received=f"{split.num_classes} and {train.num_classes} classes",
            expected="the same class names in the same order",
        )
