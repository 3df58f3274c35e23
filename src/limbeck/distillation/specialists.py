"""Training the specialists of a generalist.

The data's way: plan -> for each class set: labels as its classes and a dustbin -> the generalist's weights with a new
head, or with the old one -> ``fit`` on batches of half special samples -> the dustbin's offset by Bayes' rule -> a
folder of its own, found again by what decides it.
"""

from __future__ import annotations

import copy
import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from limbeck.calibration import dustbin_offset
from limbeck.data import BalancedOrder, Samples, Views
from limbeck.distillation.cache import NetworkCache
from limbeck.distillation.specialist_task import VARIANTS, TrainedSpecialist
from limbeck.distillation.task import TrainingTask
from limbeck.errors import TeacherError, unknown_name
from limbeck.models import FullSoftmaxSpecialist, check_output, fingerprint, specialist_network
from limbeck.objectives import HardLabels, HardSpecialSoftRest, Objective
from limbeck.specialists import SpecialistPlan
from limbeck.teachers import ModuleTeacher, collect_logits
from limbeck.training import Progress, Runtime, SilentProgress, TrainConfig

DUSTBIN = "(dustbin)"  # name of the class of all others


def train_specialists(
    generalist: nn.Module,
    plan: SpecialistPlan,
    train: Samples,
    *,
    recipe: TrainConfig,
    validation: Samples | None = None,
    views: Views | None = None,
    variant: Literal["dustbin", "full_softmax"] = "dustbin",
    temperature: float = 2.0,
    hard_weight: float = 1.0,
    soft_weight: float = 1.0,
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

    Each starts from the generalist's weights, learns the labels of its classes and a dustbin for all others, on batches
    of which ``special_share`` is special, and stops at the epoch that its validation samples choose: those of its
    classes and as many others. Its dustbin's offset undoes the oversampling for the frequencies of ``train``.

    There are two variants. "dustbin" (section 5.2) has a softmax of its classes and the dustbin
    (:func:`limbeck.models.specialist_network`). "full_softmax" (section 6.1) keeps the generalist's head and softmax of
    all classes; its dustbin is their mass outside the set. It learns the same labels, and of samples of other classes
    also the generalist's soft targets over those, so that it forgets them less; the same offset corrects it
    (:class:`limbeck.objectives.HardSpecialSoftRest` says why). The generalist runs once beforehand where every pass
    shows the same views, in every step otherwise.

    Args:
        generalist: gives logits (batch, classes); left as it is.
        plan: class sets, of this generalist.
        train: labelled samples of all classes; unlabelled ones are left out.
        recipe: of every specialist.
        validation: likewise; None takes the last epoch.
        views: normalisation and augmentation.
        variant: "dustbin" or "full_softmax".
        temperature: T > 0 of the generalist's soft targets; of the full softmax alone, as the two that follow.
        hard_weight: > 0, of the labels.
        soft_weight: >= 0, of the soft targets.
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
        InvalidValue: a share, weight or temperature outside its range.
        UnknownName: another variant, form or runner.
        DataError: other classes than the plan's, or a set of which there are no samples.
        ModelError: a generalist without a last linear layer, or with other classes.
        JobsFailed: trainings that failed, such as one that diverged; the others are done.
        TrainingInterrupted: Ctrl-C or SIGTERM.
    References:
        Hinton, Vinyals, Dean 2015, arXiv:1503.02531, sections 5.2 and 6.1.
    """
    own = _checked(generalist, plan, train, variant=variant)
    runtime, views = runtime or Runtime.resolve(), views or Views()
    labelled = train.take(train.labelled_positions())
    guide = copy.deepcopy(generalist).requires_grad_(False)
    tasks = []
    for number, members in enumerate(plan.class_numbers()):
        samples = _relabelled(labelled, members)
        order = BalancedOrder(classes=tuple(range(len(members))), share=special_share)
        objective: Objective = HardLabels()
        if variant == "full_softmax":
            objective = HardSpecialSoftRest(
                tuple(members), temperature=temperature, hard_weight=hard_weight, soft_weight=soft_weight
            )
        offset = dustbin_offset(
            special_prior=float((samples.labels < len(members)).double().mean()),
            special_share=order.num_special(recipe.batch_size) / recipe.batch_size,
            form=form,
        )
        tasks.append(
            TrainingTask(
                name="specialist",
                title=f"specialist-{number}",
                spec=generalist_spec,
                student=_start(generalist, members, variant=variant, num_classes=train.num_classes),
                samples=samples,
                objective=objective,
                recipe=recipe,
                seed=seed,
                views=views,
                num_views=None,
                teacher=guide if objective.needs_teacher else None,
                validation=_balanced(_relabelled(validation, members), seed=seed) if validation is not None else None,
                steps_per_epoch=order.num_batches(samples, recipe.batch_size),
                precision=runtime.precision,
                order=order,
                class_names=samples.class_names if variant == "dustbin" else train.class_names,
                extra={"generalist": own, "variant": variant, "dustbin_offset": offset},
            )
        )
    with tempfile.TemporaryDirectory() as nowhere:
        cache = NetworkCache(Path(nowhere) if out is None else out, runtime, progress or SilentProgress())
        networks = cache.train_as_jobs(
            _with_soft_targets(tasks, cache, labelled), jobs=jobs, threads_per_job=threads_per_job, retries=retries
        )
    return [
        TrainedSpecialist(
            network, list(task.samples.class_names[:-1]), task.extra["dustbin_offset"], is_cached=out is not None
        )
        for task, network in zip(tasks, networks, strict=True)
    ]


def _checked(generalist: nn.Module, plan: SpecialistPlan, train: Samples, *, variant: str) -> str:
    """Return the generalist's fingerprint when the plan is its own, of these classes, and the variant is known."""
    if variant not in VARIANTS:
        raise unknown_name("variant of specialists", variant, VARIANTS)
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
    if variant == "full_softmax":
        check_output(generalist, input_shape=train.input_shape, num_classes=train.num_classes)
    return own


def _start(generalist: nn.Module, members: Sequence[int], *, variant: str, num_classes: int) -> nn.Module:
    """Return what a specialist starts from; the generalist stays as it is."""
    if variant == "dustbin":
        return specialist_network(generalist, members, num_classes=num_classes)
    return FullSoftmaxSpecialist(copy.deepcopy(generalist).requires_grad_(True), members)


def _with_soft_targets(tasks: list[TrainingTask], cache: NetworkCache, labelled: Samples) -> list[TrainingTask]:
    """Let the generalist run once for all that are still to be trained, where all passes show the same views."""
    first = tasks[0]
    if not isinstance(first.teacher, nn.Module) or all(cache.has(task) for task in tasks):
        return tasks
    if not first.views.is_constant or not labelled.is_replayable:
        return tasks
    guide = copy.deepcopy(first.teacher).to(cache.runtime.device)
    collected = collect_logits(ModuleTeacher(guide), labelled, first.views)
    return [dataclasses.replace(task, teacher=collected) for task in tasks]


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
