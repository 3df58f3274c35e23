"""The data of a recipe: what is learned from, and what is examined at the end."""

from __future__ import annotations

from dataclasses import dataclass

from limbeck.data import Samples, hold_out, load_data
from limbeck.errors import DataError
from limbeck.records import DataRecord

SMOKE_TRAIN, SMOKE_EXAM = 1200, 500  # samples that a smoke run keeps, stratified
SPLIT_SEED = 0


@dataclass(frozen=True, eq=False)
class Material:
    """Samples to learn from and samples to be examined on, which the laboratory alone reads.

    ``exam_name`` begins the names of what is observed: "test", or "held_out" where training samples are measured in
    the test set's place.
    """

    train: Samples
    exam: Samples
    exam_name: str
    record: DataRecord
    notes: list[str]


def material_of(name: str, *, held_out: int, smoke: bool) -> Material:
    """Load a data set and cut it as a recipe asks.

    Args:
        name: as ``load_data`` takes it.
        held_out: training samples, stratified, to examine instead of the test set; 0 for the test set.
        smoke: keep a small stratified part of both.
    Raises:
        DataError: a data set that cannot be found, or has no test split.
    """
    splits = load_data(name, validation_fraction=0.0)
    train, exam, notes = splits.train, splits.test, list(splits.notes)
    if held_out:
        train, exam = hold_out(train, count=held_out, seed=SPLIT_SEED)
        notes.append(
            f"{held_out:,} training samples were held out and measured instead of the test set, which was not read: "
            "this is a step of the search for settings."
        )
    if exam is None:
        raise DataError(f"{name} has no test split.", expected="a data set with one", remedy="hold samples out")
    if smoke:
        num_train, num_exam = len(train), len(exam)
        train, exam = cut(train, SMOKE_TRAIN), cut(exam, SMOKE_EXAM)
        notes.append(
            f"Cut for a smoke run: {len(train):,} of {num_train:,} training samples, {len(exam):,} of {num_exam:,} "
            "samples measured."
        )
    record = DataRecord(
        name=splits.name or name,
        fingerprint=train.fingerprint,
        class_names=list(train.class_names),
        input_shape=list(train.input_shape),
        num_train=len(train),
        num_labelled=len(train.labelled_positions()),
        num_validation=len(exam) if held_out else 0,
        num_test=0 if held_out else len(exam),
    )
    return Material(train, exam, "held_out" if held_out else "test", record, notes)


def cut(samples: Samples, count: int) -> Samples:
    """Return a stratified part of so many samples; all of them where there are no more."""
    return hold_out(samples, count=count, seed=SPLIT_SEED)[1] if len(samples) > count else samples
