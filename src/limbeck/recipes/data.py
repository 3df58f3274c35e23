"""The data of a recipe: what is learned from, and what is evaluated on at the end."""

from __future__ import annotations

from limbeck.data import Samples, hold_out, load_data
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.splits import JobData
from limbeck.errors import DataError, require_not_negative

SMOKE_TRAIN, SMOKE_TEST = 600, 300  # samples that a smoke run keeps, stratified
SPLIT_SEED = 0


def open_data(
    experiment: Experiment,
    name: str,
    *,
    held_out: int = 0,
    num_train: int = 0,
    num_validation: int = 0,
    own_validation: bool = False,
    num_test: int = 0,
    image_size: int | None = None,
) -> Samples:
    """Open the data set that a recipe is about, once, cut as it asks; return the training samples.

    No two parts share a sample.

    Args:
        experiment: gets the data, and notes of what was cut.
        name: as ``load_data`` takes it.
        held_out: so many training samples, stratified, are taken out of it and evaluated *instead of the test set*,
            which is then not read: for the search of settings. 0 in the run whose numbers are published.
        num_train: how many of the other training samples are learned from, stratified; 0 for all.
        num_validation: so many others, stratified, are kept apart as ``experiment.validation``, in every run.
        own_validation: whether the data set's validation split is that, where it has one.
        num_test: so many training samples, stratified, are the test set in every run, where the data set has none.
        image_size: resize images and clips to this height and width.
    Raises:
        DataError: a data set that cannot be found, or has no test split where no ``num_test`` is given, or fewer
            samples than are asked for.
        InvalidValue: a negative number.
    """
    assert experiment.opened is None, "a recipe opens the data set that it is about once"
    counts = {"held_out": held_out, "num_train": num_train, "num_validation": num_validation, "num_test": num_test}
    for what, count in counts.items():
        require_not_negative(what, count)
    splits = load_data(name, image_size=image_size, validation_fraction=0.0)
    train, test, notes = splits.train, splits.test, list(splits.notes)
    if num_test and test is None:
        train, test = hold_out(train, count=num_test, seed=SPLIT_SEED)
        notes.append(f"{num_test:,} samples are the test set: the data set has none of its own.")
    if held_out:
        train, test = hold_out(train, count=held_out, seed=SPLIT_SEED)
        experiment.evaluated_split = "held_out"
        notes.append(
            f"{held_out:,} training samples were held out and measured instead of the test set, which was not read: "
            "this is a step of the search for settings."
        )
    if test is None:
        raise DataError(f"{name} has no test split.", expected="a data set with one", remedy="hold samples out")
    validation = splits.validation if own_validation else None
    if num_validation and validation is None:
        train, validation = hold_out(train, count=num_validation, seed=SPLIT_SEED)
        notes.append(f"{num_validation:,} training samples are not learned from: what is chosen is chosen by them.")
    if num_train:
        available = len(train)
        if num_train > available:
            raise DataError(
                f"{name} has not so many training samples.", received=f"num_train {num_train:,}",
                expected=f"at most {available:,}, or 0 for all",
            )  # fmt: skip
        train = _cut(train, num_train)
        notes.append(f"{num_train:,} of {available:,} training samples are learned from, stratified.")
    if experiment.smoke:
        sizes = len(train), len(test)
        train, test = _cut(train, SMOKE_TRAIN), _cut(test, SMOKE_TEST)
        validation = _cut(validation, SMOKE_TEST) if validation else None
        notes.append(
            f"Cut for a smoke run: {len(train):,} of {sizes[0]:,} training samples, {len(test):,} of {sizes[1]:,} "
            "samples measured."
        )
    experiment.opened = JobData(splits.name or name, train, validation, test, notes)
    experiment.results.notes += notes
    return train


def load_samples(experiment: Experiment, name: str, *, image_size: int | None = None) -> Samples:
    """Return the training samples of another data set, e.g. as a transfer set from elsewhere.

    Args:
        experiment: a smoke run cuts them.
        name: as ``load_data`` takes it.
        image_size: resize its images to this height and width.
    """
    train = load_data(name, image_size=image_size, validation_fraction=0.0).train
    return _cut(train, SMOKE_TRAIN) if experiment.smoke else train


def _cut(samples: Samples, count: int) -> Samples:
    """Return a stratified part of so many samples; all of them where there are no more."""
    return hold_out(samples, count=count, seed=SPLIT_SEED)[1] if len(samples) > count else samples
