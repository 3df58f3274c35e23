"""A committee's folder: the generalist, its specialists, and ``committee.json``, from which the whole is a teacher."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from limbeck.distillation.specialist_task import TrainedSpecialist, as_specialist, load_specialist
from limbeck.errors import ModelError
from limbeck.models import SavedModel, load_model, save_model
from limbeck.pooling import require_num_top_classes
from limbeck.records import decode_record, encode_record, write_text
from limbeck.records.files import read_text
from limbeck.teachers import SpecialistsTeacher

COMMITTEE_FILE = "committee.json"
FORMAT, VERSION = "limbeck-committee", 1
GENERALIST_FOLDER = "generalist"


@dataclass(frozen=True)
class CommitteeMember:
    """One specialist of a committee, in a folder beside ``committee.json``."""

    folder: str
    class_set: list[str]  # in the order of its logits; the dustbin follows
    dustbin_offset: float  # nats, to be added to the dustbin's logit


@dataclass(frozen=True)
class Committee:
    """A generalist and its specialists, as ``committee.json`` tells it."""

    generalist: str  # folder
    generalist_fingerprint: str
    class_names: list[str]
    members: list[CommitteeMember]
    num_top_classes: int = 1  # n: so many of the generalist's most probable classes wake specialists


def save_committee(
    folder: Path,
    generalist: SavedModel,
    specialists: Sequence[TrainedSpecialist],
    *,
    normalise: Mapping[str, Any] | None,
    num_top_classes: int = 1,
) -> Path:
    """Write the generalist and ``committee.json`` beside the specialists that ``train_specialists`` wrote there.

    Args:
        folder: ``out`` of ``train_specialists``.
        generalist: as it was loaded.
        specialists: of it.
        normalise: of the inputs of all.
        num_top_classes: n, from 1 to the generalist's classes; see :class:`limbeck.teachers.SpecialistsTeacher`.
    Returns:
        The path of ``committee.json``, which ``limbeck distill --teacher FOLDER`` takes.
    Raises:
        InvalidValue: n out of range.
        OutputError: the folder cannot be written.
    """
    require_num_top_classes(num_top_classes, num_classes=len(generalist.class_names))
    save_model(
        folder / GENERALIST_FOLDER,
        generalist.module,
        spec=generalist.spec,
        input_shape=generalist.input_shape,
        class_names=generalist.class_names,
        normalise=normalise,
        role="generalist",
    )
    committee = Committee(
        generalist=GENERALIST_FOLDER,
        generalist_fingerprint=generalist.fingerprint,
        class_names=list(generalist.class_names),
        members=[
            CommitteeMember(one.folder.name, one.class_set, one.dustbin_offset)
            for one in specialists
            if one.folder is not None
        ],
        num_top_classes=num_top_classes,
    )
    path = folder / COMMITTEE_FILE
    write_text(path, encode_record(committee, format_name=FORMAT, version=VERSION))
    return path


def read_committee(folder: Path) -> Committee:
    """Return what ``committee.json`` tells.

    Raises:
        RecordError: no whole ``committee.json``.
    """
    path = folder / COMMITTEE_FILE
    text = read_text(path)
    return decode_record(Committee, text, what="committee", format_name=FORMAT, version=VERSION, source=str(path))


def load_committee(
    folder: Path, *, adapt: Callable[[SavedModel], nn.Module] | None = None, num_top_classes: int | None = None
) -> SpecialistsTeacher:
    """Return a committee's folder as a teacher.

    Args:
        folder: with ``committee.json``.
        adapt: makes a module of each saved network, such as one that takes otherwise normalised inputs.
        num_top_classes: n, that of ``committee.json`` where not given.
    Raises:
        InvalidValue: n out of range.
        RecordError: no whole ``committee.json``.
        ModelError: a network that is missing, damaged, or a specialist of another generalist.
    """
    committee = read_committee(folder)
    adapt = adapt or (lambda saved: saved.module)
    generalist = load_model(folder / committee.generalist)
    if generalist.fingerprint != committee.generalist_fingerprint:
        raise ModelError(
            f"{folder / committee.generalist} is another generalist than the committee's.",
            received=f"{generalist.fingerprint[:12]}...",
            expected=f"{committee.generalist_fingerprint[:12]}...",
        )
    specialists = []
    for member in committee.members:
        saved = load_specialist(folder / member.folder)
        if saved.extra["generalist"] != committee.generalist_fingerprint:
            raise ModelError(
                f"{folder / member.folder} was trained for another generalist.",
                received=f"{saved.extra['generalist'][:12]}...",
                expected=f"{committee.generalist_fingerprint[:12]}...",
            )
        specialists.append(as_specialist(adapt(saved), saved, class_set=member.class_set))
    return SpecialistsTeacher(
        adapt(generalist),
        specialists,
        class_sets=[member.class_set for member in committee.members],
        class_names=committee.class_names,
        dustbin_offsets=[member.dustbin_offset for member in committee.members],
        num_top_classes=committee.num_top_classes if num_top_classes is None else num_top_classes,
        name=f"committee of {len(specialists)} specialists from {folder}",
    )
