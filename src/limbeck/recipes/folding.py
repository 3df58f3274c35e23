"""Generalist and specialists back in one network: its students, and what they keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from torch import nn

from limbeck.data import Samples, Views
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.predictions import Predictions
from limbeck.distillation.task import Training
from limbeck.distillation.trained import TrainedNetwork
from limbeck.objectives import Distillation
from limbeck.recipes.committee_tables import observe_gain_over_generalist
from limbeck.recipes.committees import to_train_further
from limbeck.recipes.comparing import observe_gain, observe_gain_kept
from limbeck.recipes.soft_targets import collect_targets
from limbeck.teachers import Teacher
from limbeck.training import TrainConfig

STUDENTS = ("from_generalist", "folded")


def folded_students(
    experiment: Experiment,
    images: Samples,
    generalist: TrainedNetwork,
    committee: Teacher,
    *,
    recipe: TrainConfig,
    views: Views,
    num_views: int,
    objective: Distillation,
    seeds: Sequence[int],
    jobs: str,
) -> list[TrainedNetwork]:
    """Train two networks further from the generalist by one recipe, on the same views in the same order.

    "folded" learns from the committee, "from_generalist" from the generalist itself: what training further gives
    without a better teacher. Both teachers run once for every view, into stores.

    Args:
        experiment: where they are trained.
        images: what both learn from.
        generalist: where they start, and a teacher.
        committee: generalist and specialists.
        recipe: of both.
        views: augmented.
        num_views: of each image.
        objective: of both.
        seeds: of both.
        jobs: where they run; see ``limbeck.jobs.runner_from``.
    """
    collected = partial(collect_targets, experiment, samples=images, views=views, num_views=num_views)
    teachers = dict(zip(STUDENTS, (collected(generalist), collected(committee)), strict=True))
    wanted: list[tuple[str, nn.Module, Training]] = [
        (
            name,
            to_train_further(generalist),
            {
                "samples": images,
                "objective": objective,
                "recipe": recipe,
                "seed": seed,
                "views": views,
                "num_views": num_views,
                "teacher": teachers[name],
            },
        )
        for seed in seeds
        for name in STUDENTS
    ]
    return experiment.train_all(wanted, jobs=jobs)


def observe_folding(
    experiment: Experiment, predictions: Mapping[str, Mapping[int, Predictions]], *, folded_seed: int
) -> None:
    """Record what the committee's student gains, and which share of the committee's own gain that is.

    "gain_kept" is counted from the generalist to the committee; see ``observe_gain_kept``.

    Args:
        experiment: where the students' predictions are recorded.
        predictions: by condition and seed: "generalist" (one), "committee", "folded".
        folded_seed: of the committee that the students learned from.
    """
    (generalist,) = predictions["generalist"].values()
    for name in STUDENTS:
        observe_gain_over_generalist(experiment, generalist, predictions[name], condition=name)
    what = "Accuracy of the committee's student, less the generalist's student"
    observe_gain(experiment, "folded", "from_generalist", what=what, quantity="accuracy_over_from_generalist")
    committee_errors = predictions["committee"][folded_seed].errors
    observe_gain_kept(experiment, "folded", generalist.errors, teacher_errors=committee_errors)
