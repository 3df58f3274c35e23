"""Training the specialists of a generalist, and the committee's folder.

The data's way: plan -> for each class set: labels as its classes and a dustbin -> the generalist's weights with a new
head -> ``fit`` on batches of half special samples -> the dustbin's offset by Bayes' rule -> a folder of its own,
found again by what decides it -> ``committee.json``, from which the whole is a teacher.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from limbeck.calibration import dustbin_offset
from limbeck.data import BalancedOrder, Samples, Views
from limbeck.errors import ModelError, RecordError, TeacherError
from limbeck.models import SavedModel, fingerprint, load_model, save_model, specialist_network
from limbeck.objectives import HardLabels
from limbeck.records import EpochRecord, decode_plain, decode_record, encode_record, make_folder, write_text
from limbeck.specialists import SpecialistPlan
from limbeck.teachers import SpecialistsTeacher
from limbeck.training import EventLog, Progress, Recipe, Runtime, SilentProgress, fit, training_identity

DUSTBIN = "(dustbin)"  # name of the class of all others
COMMITTEE_FILE = "committee.json"
FORMAT, VERSION = "limbeck-committee", 1
GENERALIST_FOLDER = "generalist"
KEY_DIGITS = 16


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


@dataclass(frozen=True, eq=False)
class TrainedSpecialist:
    """One specialist after its training: what a committee needs, and how the training went."""

    module: nn.Module
    class_set: list[str]
    dustbin_offset: float
    selected_epoch: int
    history: list[EpochRecord]
    elapsed_seconds: float
    folder: Path | None
    was_there: bool


def train_specialists(
    generalist: nn.Module,
    plan: SpecialistPlan,
    train: Samples,
    *,
    recipe: Recipe,
    validation: Samples | None = None,
    views: Views | None = None,
    special_share: float = 0.5,
    form: str = "exact",
    seed: int = 0,
    generalist_spec: str = "generalist",
    out: Path | None = None,
    runtime: Runtime | None = None,
    progress: Progress | None = None,
) -> list[TrainedSpecialist]:
    r"""Train a specialist for each class set of a plan, one after the other.

    Each starts from the generalist's weights (:func:`limbeck.models.specialist_network`), learns the labels of its
    classes and a dustbin for all others, on batches of which ``special_share`` is special, and stops at the epoch that
    its validation samples choose: those of its classes and as many others. Its dustbin's offset undoes the
    oversampling for the frequencies of ``train``.

    Args:
        generalist: gives logits (batch, classes); left as it is.
        plan: class sets, of this generalist.
        train: labelled samples of all classes; unlabelled ones are left out.
        recipe: of every specialist.
        validation: likewise; None takes the last epoch.
        views: normalisation and augmentation.
        special_share: rho, in (0, 1), of each batch.
        form: of the offset, "exact" or "paper"; see :func:`limbeck.calibration.dustbin_offset`.
        seed: of order and dropout.
        generalist_spec: from which ``load_model`` can build the generalist again.
        out: folder of ``specialist-NUMBER-KEY/``, where a specialist that is there already is not trained again, and
            one that was stopped goes on; nothing is written where not given.
        runtime: device and precision.
        progress: what a person sees.
    Returns:
        One for each class set, in order, in eval mode.
    Raises:
        TeacherError: a plan of another generalist.
        InvalidValue: another share or form.
        DataError: other classes than the plan's, or a set of which there are no samples.
        ModelError: a generalist without a last linear layer.
        TrainingDiverged, TrainingInterrupted: see ``fit``.
    References:
        Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 5.2.
    """
    own = fingerprint(generalist)
    if plan.generalist_fingerprint not in ("", own):
        raise TeacherError(
            "This plan was made for another generalist.",
            received=f"a generalist {own[:12]}...",
            expected=f"{plan.generalist_fingerprint[:12]}..., whose predictions were clustered",
            remedy="plan again with this generalist, or take the one of the plan",
        )
    if tuple(plan.class_names) != train.class_names:
        raise TeacherError(
            "The plan knows other classes than the data.",
            received=", ".join(train.class_names[:10]),
            expected=", ".join(plan.class_names[:10]),
        )
    runtime, progress, views = runtime or Runtime.resolve(), progress or SilentProgress(), views or Views()
    labelled = train.take(train.labelled_positions())
    trained = []
    for number, members in enumerate(plan.class_numbers()):
        start = specialist_network(generalist, members, num_classes=train.num_classes)
        trained.append(
            _train_one(
                f"specialist-{number}",
                start,
                _relabelled(labelled, members),
                _balanced(_relabelled(validation, members), seed=seed) if validation is not None else None,
                num_special=len(members),
                recipe=recipe,
                views=views,
                special_share=special_share,
                form=form,
                seed=seed,
                facts={"generalist": own, "spec": generalist_spec, "num_classes": train.num_classes},
                out=out,
                runtime=runtime,
                progress=progress,
            )
        )
    return trained


def save_committee(
    folder: Path,
    generalist: SavedModel,
    specialists: Sequence[TrainedSpecialist],
    *,
    normalise: Mapping[str, Any] | None,
) -> Path:
    """Write the generalist and ``committee.json`` beside the specialists that ``train_specialists`` wrote there.

    Args:
        folder: ``out`` of ``train_specialists``.
        generalist: as it was loaded.
        specialists: of it.
        normalise: of the inputs of all.
    Returns:
        The path of ``committee.json``, which ``limbeck distill --teacher FOLDER`` takes.
    Raises:
        OutputError: the folder cannot be written.
    """
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
    )
    path = folder / COMMITTEE_FILE
    write_text(path, encode_record(committee, format_name=FORMAT, version=VERSION))
    return path


def load_committee(
    folder: Path, *, adapt: Callable[[SavedModel], nn.Module] | None = None, num_top_classes: int = 1
) -> SpecialistsTeacher:
    """Return a committee's folder as a teacher.

    Args:
        folder: with ``committee.json``.
        adapt: makes a module of each saved network, such as one that takes otherwise normalised inputs.
        num_top_classes: n; see :class:`limbeck.teachers.SpecialistsTeacher`.
    Raises:
        RecordError: no whole ``committee.json``.
        ModelError: a network that is missing, damaged, or a specialist of another generalist.
    """
    path = folder / COMMITTEE_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RecordError(f"Cannot read {path}.", received=error.strerror) from error
    committee = decode_record(Committee, text, what="committee", format_name=FORMAT, version=VERSION, source=str(path))
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
        specialists.append(saved)
    return SpecialistsTeacher(
        adapt(generalist),
        [adapt(saved) for saved in specialists],
        class_sets=[member.class_set for member in committee.members],
        class_names=committee.class_names,
        dustbin_offsets=[member.dustbin_offset for member in committee.members],
        num_top_classes=num_top_classes,
        name=f"committee of {len(specialists)} specialists from {folder}",
    )


def load_specialist(folder: Path) -> SavedModel:
    """Load a specialist that ``train_specialists`` saved.

    Raises:
        ModelError: another kind of network, or a damaged one.
    """
    saved = load_model(folder)
    if "generalist" not in saved.extra:
        raise ModelError(f"{folder} holds no specialist.", expected="a folder that train_specialists wrote")
    return saved


def _train_one(
    name: str,
    start: nn.Module,
    samples: Samples,
    validation: Samples | None,
    *,
    num_special: int,
    recipe: Recipe,
    views: Views,
    special_share: float,
    form: str,
    seed: int,
    facts: dict[str, Any],
    out: Path | None,
    runtime: Runtime,
    progress: Progress,
) -> TrainedSpecialist:
    """Train one specialist, or take it as it is where it is there already."""
    order = BalancedOrder(classes=tuple(range(num_special)), share=special_share)
    num_steps = recipe.num_epochs * order.num_batches(samples, recipe.batch_size)
    offset = dustbin_offset(
        special_prior=float((samples.labels < num_special).double().mean()),
        special_share=order.num_special(recipe.batch_size) / recipe.batch_size,
        form=form,  # type: ignore[arg-type]  # checked there
    )
    identity = training_identity(
        start, samples, HardLabels(), recipe=recipe, teacher=None, validation=validation, views=views, num_views=None,
        seed=seed, num_steps=num_steps, precision=runtime.precision, order=order,
    )  # fmt: skip
    identity |= {"start": fingerprint(start), "form": form, "classes": json.dumps(samples.class_names)}
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:KEY_DIGITS]
    folder = out / f"{name}-{key}" if out is not None else None
    class_set = list(samples.class_names[:-1])
    if folder is not None and (folder / "model.json").is_file():
        saved = load_specialist(folder)
        history = [decode_plain(EpochRecord, one, f"{folder}, history") for one in saved.extra["history"]]
        return TrainedSpecialist(
            saved.module, class_set, offset, saved.extra["selected_epoch"], history, saved.extra["elapsed_seconds"],
            folder, was_there=True,
        )  # fmt: skip
    if folder is not None:
        make_folder(folder)
    fitted = fit(
        start,
        samples,
        HardLabels(),
        recipe=recipe,
        validation=validation,
        views=views,
        seed=seed,
        order=order,
        runtime=runtime,
        name=name,
        checkpoint=folder / "checkpoint.pt" if folder is not None else None,
        events=EventLog(folder / "events.jsonl" if folder is not None else None),
        progress=progress,
    )
    if folder is not None:
        save_model(
            folder,
            fitted.student,
            spec=facts["spec"],
            input_shape=samples.input_shape,
            class_names=samples.class_names,
            normalise=asdict(views.normalise) if views.normalise else None,
            role="specialist",
            extra={
                "generalist": facts["generalist"],
                "dustbin_offset": offset,
                "identity": identity,
                "selected_epoch": fitted.selected_epoch,
                "elapsed_seconds": fitted.elapsed_seconds,
                "history": [asdict(record) for record in fitted.history],
            },
        )
        (folder / "checkpoint.pt").unlink(missing_ok=True)
    return TrainedSpecialist(
        fitted.student, class_set, offset, fitted.selected_epoch, fitted.history, fitted.elapsed_seconds, folder,
        was_there=False,
    )  # fmt: skip


def _relabelled(samples: Samples, members: Sequence[int]) -> Samples:
    """Return labelled samples whose classes are the members, in order, and the dustbin."""
    labelled = samples.take(samples.labelled_positions())
    numbers = torch.full((samples.num_classes,), len(members))
    numbers[list(members)] = torch.arange(len(members))
    names = (*(samples.class_names[number] for number in members), DUSTBIN)
    labels = numbers[labelled.labels.cpu()].to(labelled.labels.device)
    return dataclasses.replace(labelled, labels=labels, class_names=names)


def _balanced(samples: Samples, *, seed: int) -> Samples | None:
    """Return all special samples and as many others, or the other way round; None where there is but one kind."""
    special = samples.num_classes - 1
    is_special = (samples.labels < special).cpu()
    count = min(int(is_special.sum()), int((~is_special).sum()))
    if count == 0:
        return None
    pairs = BalancedOrder(classes=tuple(range(special))).positions(samples, seed=seed, epoch=0, batch_size=2)
    return samples.take(pairs.view(-1, 2)[:count].flatten())
