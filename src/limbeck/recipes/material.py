"""The data of a recipe: what is learned from, and what is examined at the end."""

from __future__ import annotations

from dataclasses import dataclass

from limbeck.data import Samples, hold_out, load_data
from limbeck.errors import DataError, require_not_negative
from limbeck.records import DataRecord

SMOKE_TRAIN, SMOKE_EXAM = 1200, 500  # samples that a smoke run keeps, stratified
SPLIT_SEED = 0


@dataclass(frozen=True, eq=False)
class Material:
    """Samples to learn from and to choose by, and samples to be examined on, which the laboratory alone reads.

    ``validation`` is None where none was asked for. ``exam_name`` begins the names of what is observed: "test", or
    "held_out" where training samples are measured in the test set's place.
    """

    train: Samples
    validation: Samples | None
    exam: Samples
    exam_name: str
    record: DataRecord
    notes: list[str]


def material_of(
    name: str, *, held_out: int, num_train: int = 0, num_validation: int = 0, smoke: bool = False
) -> Material:
    """Load a data set and cut it as a recipe asks: no two of its parts share a sample.

    Args:
        name: as ``load_data`` takes it.
        held_out: training samples, stratified, to examine instead of the test set; 0 for the test set.
        num_train: how many of the other training samples are learned from, stratified; 0 for all.
        num_validation: training samples, stratified, that are not learned from, to choose by; 0 for none.
        smoke: keep a small stratified part of each.
    Raises:
        DataError: a data set that cannot be found, or has no test split, or fewer samples than are asked for.
        InvalidValue: a negative number.
    """
    for what, count in (("held_out", held_out), ("num_train", num_train), ("num_validation", num_validation)):
        require_not_negative(what, count)
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
    validation = None
    if num_validation:
        train, validation = hold_out(train, count=num_validation, seed=SPLIT_SEED)
        notes.append(f"{num_validation:,} training samples are not learned from: what is chosen is chosen by them.")
    if num_train:
        available = len(train)
        if num_train > available:
            raise DataError(
                f"{name} has not so many training samples.", received=f"num_train {num_train:,}",
                expected=f"at most {available:,}, or 0 for all",
            )  # fmt: skip
        train = cut(train, num_train)
        notes.append(f"{num_train:,} of {available:,} training samples are learned from, stratified.")
    if smoke:
        sizes = len(train), len(exam)
        train, exam = cut(train, SMOKE_TRAIN), cut(exam, SMOKE_EXAM)
        validation = cut(validation, SMOKE_EXAM) if validation else None
        notes.append(
            f"Cut for a smoke run: {len(train):,} of {sizes[0]:,} training samples, {len(exam):,} of {sizes[1]:,} "
            "samples measured."
        )
    record = DataRecord(
        name=splits.name or name,
        fingerprint=train.fingerprint,
        class_names=list(train.class_names),
        input_shape=list(train.input_shape),
        num_train=len(train),
        num_labelled=len(train.labelled_positions()),
        num_validation=len(exam) if held_out else len(validation) if validation else 0,
        num_test=0 if held_out else len(exam),
    )
    return Material(train, validation, exam, "held_out" if held_out else "test", record, notes)


def cut(samples: Samples, count: int) -> Samples:
    """Return a stratified part of so many samples; all of them where there are no more."""
    return hold_out(samples, count=count, seed=SPLIT_SEED)[1] if len(samples) > count else samples
