"""Generalist and specialists back in one network: its students, and what they keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from limbeck.data import Samples, Views
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.predictions import Predictions
from limbeck.distillation.trained import TrainedNetwork
from limbeck.objectives import Distillation, HardLabels, Objective
from limbeck.recipes.committee_tables import observe_gain_over_generalist
from limbeck.recipes.comparing import observe_gain, observe_gain_kept
from limbeck.recipes.soft_targets import collect_targets
from limbeck.teachers import Teacher
from limbeck.training import TrainConfig

STUDENTS = ("student_alone", "from_generalist", "folded", "folded_large")


def folded_students(
    experiment: Experiment,
    images: Samples,
    generalist: TrainedNetwork,
    committee: Teacher,
    *,
    student: str,
    recipe: TrainConfig,
    views: Views,
    num_views: int,
    temperature: float,
    soft_weight: float,
    hard_weight: float,
    seeds: Sequence[int],
) -> list[TrainedNetwork]:
    """Train four kinds of students by one recipe, on the same views in the same order.

    "student_alone" learns from labels, "from_generalist" from the generalist, "folded" from the committee;
    "folded_large" is a network of the generalist's shape that learns from the committee. Both teachers run once
    for every view, into stores.

    Args:
        experiment: where they are trained.
        images: what all learn from.
        generalist: a teacher, and the shape of "folded_large".
        committee: generalist and specialists.
        student: spec of the small students.
        recipe: of all.
        views: augmented.
        num_views: of each image.
        temperature: T of the soft targets.
        soft_weight: of T² KL(teacher || student).
        hard_weight: of the labels, beside a teacher.
        seeds: of all kinds.
    """
    collected = partial(collect_targets, experiment, samples=images, views=views, num_views=num_views)
    soft_targets = Distillation(temperature=temperature, soft_weight=soft_weight, hard_weight=hard_weight)
    of_generalist, of_committee = collected(generalist), collected(committee)
    kinds: list[tuple[str, Objective, Teacher | None]] = [
        (student, HardLabels(), None),
        (student, soft_targets, of_generalist),
        (student, soft_targets, of_committee),
        (generalist.name, soft_targets, of_committee),
    ]
    return [
        experiment.train(
            name,
            spec,
            samples=images,
            objective=own,
            recipe=recipe,
            seed=seed,
            views=views,
            num_views=num_views,
            teacher=teacher,
        )
        for seed in seeds
        for name, (spec, own, teacher) in zip(STUDENTS, kinds, strict=True)
    ]


def observe_folding(
    experiment: Experiment, predictions: Mapping[str, Mapping[int, Predictions]], *, folded_seed: int
) -> None:
    """Record what students gain from their teachers, and which share of the committee's gain they keep.

    "gain_kept" is counted from the generalist's student to the committee ("folded"), or from the generalist to the
    committee ("folded_large"); "gain_passed_on" sets what the committee saves of the generalist's errors against what
    its student saves of the other student's. See ``observe_gain_kept``.

    Args:
        experiment: where the students' predictions are recorded.
        predictions: by condition and seed: "generalist" (one), "committee", "folded_large".
        folded_seed: of the committee that the students learned from.
    """
    (generalist,) = predictions["generalist"].values()
    what = "Accuracy of the generalist's student, less labels alone"
    observe_gain(experiment, "from_generalist", "student_alone", what=what)
    what = "Accuracy of the committee's student, less the generalist's student"
    observe_gain(experiment, "folded", "from_generalist", what=what)
    observe_gain_over_generalist(experiment, generalist, predictions["folded_large"], condition="folded_large")
    kept = partial(observe_gain_kept, experiment, teacher_errors=predictions["committee"][folded_seed].errors)
    kept("folded", "from_generalist")
    kept("folded", "from_generalist", counted_from=generalist.errors, quantity="gain_passed_on")
    kept("folded_large", generalist.errors)
