"""Stacked training: many small networks of one shape trained in one pass, each as :func:`fit` alone would train it.

A step of a small network costs more in calls than in arithmetic. Here one call serves all networks: parameters have a
leading axis of networks, networks that share an order share their inputs, the teacher is asked once, and the
objectives are computed together. Nothing runs over the networks one by one within a step.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from limbeck.data import Samples, Views
from limbeck.errors import InvalidValue
from limbeck.objectives import Objective
from limbeck.ranks.launched import refuse_ranks
from limbeck.settings import TrainConfig
from limbeck.teachers import Teacher
from limbeck.training.checks import check_teacher, count_batches
from limbeck.training.compiler import refuse_compiler
from limbeck.training.interrupt import stop_requests
from limbeck.training.loop import CHECKPOINT_SECONDS
from limbeck.training.progress import Progress, SilentProgress
from limbeck.training.run import FitResult
from limbeck.training.runtime import Runtime
from limbeck.training.sharded import refuse_sharding
from limbeck.training.stacked_checks import one_each, require_count, require_plain_labels
from limbeck.training.stacked_run import StackedRun
from limbeck.training.steps import do_steps


def fit_stacked(
    students: Sequence[nn.Module],
    train: Samples,
    objectives: Objective | Sequence[Objective],
    *,
    recipe: TrainConfig,
    teacher: Teacher | None = None,
    validation: Samples | None = None,
    views: Views | Sequence[Views] | None = None,
    seeds: Sequence[int],
    steps_per_epoch: int | None = None,
    runtime: Runtime | None = None,
    name: str = "students",
    progress: Progress | None = None,
) -> list[FitResult]:
    """Train networks of one shape side by side, in place.

    Result k equals ``fit(students[k], train, objectives[k], seed=seeds[k], ...)`` up to the rounding of floating-point
    sums: its own initial weights, order, temperature, loss weights, gradient clipping, averages, selected epoch and
    history. The recipe is shared. Networks with the same seed (and views) see the same batches, which are then made
    once; a sweep over temperatures and seeds is fastest when every seed has the same number of networks.

    Nets of linear layers and ReLUs run as batched matrix products, other modules through ``torch.vmap``. There are no
    checkpoints: a stopped pass begins anew.

    Args:
        students: map inputs (batch, ...) to logits (batch, classes); they differ in their numbers alone, and have no
            dropout and no batch norm. Moved to the runtime's device.
        train: the samples; unlabelled ones serve objectives with a teacher.
        objectives: one for all, or one for each student: :class:`Distillation` and :class:`HardLabels`, mixed at will;
            or the same :class:`MutualLearning` for all: students of one seed (and views) are then peers, as many for
            each seed, and learn as ``fit_cohort(..., update="simultaneous")`` would teach them.
        recipe: settings of the optimiser and the schedule.
        teacher: gives soft targets; needed where an objective says so. Where views are constant it is asked once per
            sample.
        validation: chooses each network's epoch: fewest errors, then the lower NLL.
        views: normalisation and augmentation; one for all, or one for each student, which may differ in their seed.
        seeds: of the order, one for each student.
        steps_per_epoch: steps between evaluations, one pass over ``train`` where not given.
        runtime: device and precision; chosen automatically where not given.
        name: of the whole pass, in progress and errors.
        progress: what a person sees: means over the networks.
    Returns:
        One result for each student, in order. ``elapsed_seconds`` and ``samples_per_second`` are those of the whole
        pass, all networks together.
    Raises:
        ModelError: students of different shapes (the first difference is named), with dropout or batch norm, or that
            share weights.
        InvalidValue: another number of objectives, views or seeds than of students; an objective of another kind;
            fp16, whose loss scale would tie the networks together.
        TrainingDiverged: a network's loss became NaN or infinite; says which. The others do not depend on it: without
            it they train the same.
        TrainingInterrupted: Ctrl-C or SIGTERM.
        TeacherError: see :func:`fit`.
    Example:
        >>> import torch
        >>> from limbeck.objectives import HardLabels
        >>> samples = Samples("toy", torch.arange(8), torch.rand(8, 4), torch.arange(8) % 2, ("no", "yes"))
        >>> nets = [nn.Linear(4, 2) for _ in range(3)]
        >>> recipe = TrainConfig(num_epochs=2, batch_size=4)
        >>> results = fit_stacked(nets, samples, HardLabels(), recipe=recipe, seeds=[0, 1, 2])
        >>> [result.num_steps for result in results]
        [4, 4, 4]
    """
    num_networks = len(students)
    refuse_ranks()
    runtime = runtime or Runtime.resolve()
    refuse_compiler(runtime.compiles)
    refuse_sharding(runtime.student_sharding)
    if runtime.precision == "fp16":
        raise InvalidValue(
            "Networks that train in one pass cannot use fp16.", received="fp16", expected="fp32 or bf16",
            remedy="its loss scale is one for all, so that one network's overflow would cost the others a step",
        )  # fmt: skip
    each_objective = one_each("objectives", objectives, num_networks)
    each_view = one_each("views", views or Views(), num_networks)
    require_count("seeds", seeds, num_networks)
    require_plain_labels(train, recipe)
    teacher = teacher if any(objective.needs_teacher for objective in each_objective) else None
    for student, objective, view in zip(students, each_objective, each_view, strict=True):
        check_teacher(objective, teacher, student, train, view)
    run = StackedRun(
        students=students,
        train=train,
        objectives=each_objective,
        recipe=recipe,
        teacher=teacher,
        validation=validation,
        views=each_view,
        seeds=seeds,
        steps_per_epoch=steps_per_epoch or count_batches(len(train), recipe.batch_size),
        runtime=runtime,
        name=name,
        progress=progress or SilentProgress(),
    )
    with stop_requests() as stop:
        run.begin()
        do_steps(
            [run], run.do_step, save=lambda: None, stop=stop, checkpoint_seconds=CHECKPOINT_SECONDS,
            progress=run.progress, name=run.name,
        )  # fmt: skip
    return run.results()
