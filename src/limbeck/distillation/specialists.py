"""Training the specialists of a generalist, and the committee's folder.

The data's way: plan -> for each class set: labels as its classes and a dustbin -> the generalist's weights with a new
head -> ``fit`` on batches of half special samples -> the dustbin's offset by Bayes' rule -> a folder of its own,
found again by what decides it -> ``committee.json``, from which the whole is a teacher.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from limbeck.calibration import dustbin_offset
from limbeck.data import BalancedOrder, Samples, Views
from limbeck.errors import ModelError, RecordError, TeacherError
from limbeck.jobs import Job, job_key, run_jobs
from limbeck.models import ModelFactory, SavedModel, fingerprint, load_model, save_model, specialist_network
from limbeck.objectives import HardLabels
from limbeck.records import EpochRecord, decode_plain, decode_record, encode_record, write_text
from limbeck.specialists import SpecialistPlan
from limbeck.teachers import SpecialistsTeacher
from limbeck.training import EventLog, Progress, Recipe, Runtime, SilentProgress, fit, training_identity

DUSTBIN = "(dustbin)"  # name of the class of all others
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
    form: Literal["exact", "paper"] = "exact",
    seed: int = 0,
    generalist_spec: str = "generalist",
    out: Path | None = None,
    jobs: str = "serial",
    threads_per_job: int | None = None,
    retries: int = 1,
    runtime: Runtime | None = None,
    progress: Progress | None = None,
) -> list[TrainedSpecialist]:
    r"""Train a specialist for each class set of a plan, each a job of its own.

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
            one that was stopped goes on; nothing is kept where not given.
        jobs: where they run: "serial", "processes:2", "ray", ...; see :func:`limbeck.jobs.runner_from`.
        threads_per_job: CPU threads of each; see :func:`limbeck.jobs.run_jobs`.
        retries: attempts at a specialist after its first has failed.
        runtime: device and precision.
        progress: what a person sees.
    Returns:
        One for each class set, in order, in eval mode.
    Raises:
        TeacherError: a plan of another generalist.
        InvalidValue: another share or form.
        DataError: other classes than the plan's, or a set of which there are no samples.
        ModelError: a generalist without a last linear layer.
        JobsFailed: trainings that failed, such as one that diverged; the others are done.
        TrainingInterrupted: Ctrl-C or SIGTERM.
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
    runtime, views = runtime or Runtime.resolve(), views or Views()
    labelled = train.take(train.labelled_positions())
    specialties = [
        _Specialty(
            start=specialist_network(generalist, members, num_classes=train.num_classes),
            spec=generalist_spec,
            generalist=own,
            samples=(samples := _relabelled(labelled, members)),
            validation=_balanced(_relabelled(validation, members), seed=seed) if validation is not None else None,
            order=(order := BalancedOrder(classes=tuple(range(len(members))), share=special_share)),
            dustbin_offset=dustbin_offset(
                special_prior=float((samples.labels < len(members)).double().mean()),
                special_share=order.num_special(recipe.batch_size) / recipe.batch_size,
                form=form,
            ),
            recipe=recipe,
            views=views,
            seed=seed,
            runtime=runtime,
        )
        for members in plan.class_numbers()
    ]
    with tempfile.TemporaryDirectory() as nowhere:
        root = Path(nowhere) if out is None else out
        shown = (progress or SilentProgress()) if jobs == "serial" else None  # others run where nobody looks
        made = [
            Job(f"specialist-{number}", job_key(specialty.identity()), train_specialist, (specialty, shown))
            for number, specialty in enumerate(specialties)
        ]
        say = progress.say if progress is not None else None
        outcomes = run_jobs(made, root, runner=jobs, threads_per_job=threads_per_job, retries=retries, progress=say)
        return [
            specialty.taken(outcome.folder, is_kept=out is not None, was_there=outcome.was_there)
            for specialty, outcome in zip(specialties, outcomes, strict=True)
        ]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Specialty:
    """One specialist to be trained: all that decides it, picklable."""

    start: nn.Module
    spec: str
    generalist: str  # fingerprint
    samples: Samples
    validation: Samples | None
    order: BalancedOrder
    dustbin_offset: float
    recipe: Recipe
    views: Views
    seed: int
    runtime: Runtime

    def identity(self) -> dict[str, str]:
        """Return everything that decides the specialist, as text."""
        num_batches = self.order.num_batches(self.samples, self.recipe.batch_size)
        decided = training_identity(
            self.start,
            self.samples,
            HardLabels(),
            recipe=self.recipe,
            teacher=None,
            validation=self.validation,
            views=self.views,
            num_views=None,
            seed=self.seed,
            num_steps=self.recipe.num_epochs * num_batches,
            precision=self.runtime.precision,
            order=self.order,
        )
        own = {"start": fingerprint(self.start), "classes": json.dumps(self.samples.class_names)}
        return {**own, "dustbin offset": repr(self.dustbin_offset), **decided}

    def taken(self, folder: Path, *, is_kept: bool, was_there: bool) -> TrainedSpecialist:
        """Return what ``train_specialist`` wrote."""
        saved = load_specialist(folder, factory=ModelFactory(self.spec, lambda: copy.deepcopy(self.start)))
        return TrainedSpecialist(
            module=saved.module,
            class_set=list(self.samples.class_names[:-1]),
            dustbin_offset=self.dustbin_offset,
            selected_epoch=saved.extra["selected_epoch"],
            history=[decode_plain(EpochRecord, one, f"{folder}, history") for one in saved.extra["history"]],
            elapsed_seconds=saved.extra["elapsed_seconds"],
            folder=folder if is_kept else None,
            was_there=was_there,
        )


def train_specialist(folder: Path, specialty: _Specialty, progress: Progress | None) -> None:
    """Train one specialist into a folder, from where an attempt before stopped: the work of a job."""
    checkpoint = folder / "checkpoint.pt"
    fitted = fit(
        copy.deepcopy(specialty.start),
        specialty.samples,
        HardLabels(),
        recipe=specialty.recipe,
        validation=specialty.validation,
        views=specialty.views,
        seed=specialty.seed,
        order=specialty.order,
        runtime=specialty.runtime,
        name=folder.name.partition(".")[0].rpartition("-")[0],
        checkpoint=checkpoint,
        events=EventLog(folder / "events.jsonl"),
        progress=progress,
    )
    save_model(
        folder,
        fitted.student,
        spec=specialty.spec,
        input_shape=specialty.samples.input_shape,
        class_names=specialty.samples.class_names,
        normalise=asdict(specialty.views.normalise) if specialty.views.normalise else None,
        role="specialist",
        extra={
            "generalist": specialty.generalist,
            "dustbin_offset": specialty.dustbin_offset,
            "identity": specialty.identity(),
            "selected_epoch": fitted.selected_epoch,
            "elapsed_seconds": fitted.elapsed_seconds,
            "history": [asdict(record) for record in fitted.history],
        },
    )
    checkpoint.unlink(missing_ok=True)


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


def load_specialist(folder: Path, *, factory: ModelFactory | None = None) -> SavedModel:
    """Load a specialist that ``train_specialists`` saved.

    Args:
        folder: of its own.
        factory: of a network that is not of the zoo.
    Raises:
        ModelError: another kind of network, or a damaged one.
    """
    saved = load_model(folder, factory=factory)
    if "generalist" not in saved.extra:
        raise ModelError(f"{folder} holds no specialist.", expected="a folder that train_specialists wrote")
    return saved


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
