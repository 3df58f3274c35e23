"""Hinton 2015, section 2.1: at high temperature soft targets become the matching of zero-mean logits.

T² KL(teacher || student) tends to sum_c (z_c - v_c)² / 2C as T grows, with zero-mean logits z of the student and v of
the teacher, and so does its gradient. Students learn from the table's teacher at T = 1 to 1000, without any label, and
by that limit itself; those of one seed start from the same weights and see the same batches. If the argument holds,
those at T = 1000 are those of logit matching: they agree more than two of the latter with different seeds do, and their
errors are alike within 15, a fifth of what soft targets save in the paper's table, at 5 %. (Agreement of other seeds
counts each student several times: its interval is somewhat too narrow.)

The section goes on that a student much too small to keep all that the teacher knows does better at intermediate
temperatures, which ignore very negative logits. Tested with 30 units: the errors that T = 4, the upper end of what
section 3 found best at this width, saves against logit matching, with a 95 % interval; 300 units stand beside it.

About 30 minutes on two CPU cores once the teacher is there: 100 networks, nine temperatures in a pass.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass, replace
from statistics import fmean

from limbeck.distillation.experiment import Experiment
from limbeck.distillation.predictions import Predictions
from limbeck.metrics import logit_distance, top1_agreement
from limbeck.objectives import Distillation, LogitMatching
from limbeck.recipes import hinton2015_mnist as table
from limbeck.recipes.comparing import mean_by_seed, observe_difference, observe_likeness, observed
from limbeck.recipes.data import open_data
from limbeck.recipes.evaluation import evaluate
from limbeck.recipes.mnist_teacher import SMOKE_TEACHER_RECIPE, TEACHER, TEACHER_RECIPE, section_teacher
from limbeck.recipes.soft_targets import collect_targets
from limbeck.reproduction import Claim, Figure, Series
from limbeck.training import TrainConfig

PAPER = "Hinton, Vinyals, Dean 2015, Distilling the Knowledge in a Neural Network, arXiv:1503.02531, section 2.1"
CLAIMS = [
    Claim("wide", "test_agreement_gained_low_end",
          "Students at T = 1000 agree with those of logit matching more than two seeds of the latter do: low end of "
          "the difference.", at_least=0, unit="fraction"),
    Claim("wide", "test_errors_margin",
          "At T = 1000 and by logit matching the errors are alike within this margin.", at_most=15),
    Claim("narrow", "test_errors_saved_low_end",
          "With 30 units, T = 4 makes fewer errors than logit matching: low end of the errors saved.", at_least=0),
    Claim("wide", "test_errors_saved", "With 300 units, what T = 4 saves against logit matching."),
]  # fmt: skip
DEPARTURES = [*table.DEPARTURES, "The section argues without an experiment: data, networks, temperatures are ours."]
Evaluations = dict[str, dict[int, Predictions]]  # by condition, then by seed
MATCHING, OTHER = "logit matching", "logit matching, another seed"  # in place of a temperature
STUDENT_RECIPE = replace(table.STUDENT_RECIPE, num_epochs=table.STUDENT_RECIPE.num_epochs // 2)


@dataclass(frozen=True)
class Settings:
    """What a run is made of."""

    teacher: str = TEACHER  # paper
    jitter_pixels: int = 2  # paper; of the teacher's images
    teacher_recipe: TrainConfig = TEACHER_RECIPE  # ours
    teacher_seed: int = 0  # ours
    narrow: int = 30  # paper, section 3; units in each of two layers
    wide: int = 300  # paper, section 3
    temperatures: tuple[float, ...] = (1, 2, 4, 8, 20, 50, 100, 300, 1000)  # ours
    intermediate: float = 4  # paper, section 3; among the temperatures, as the next
    high: float = 1000  # ours; held against logit matching
    student_recipe: TrainConfig = STUDENT_RECIPE  # ours
    held_out: int = 0  # training images measured in place of the test set
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)


SMOKE = Settings(
    teacher_recipe=SMOKE_TEACHER_RECIPE,
    wide=60,
    student_recipe=replace(STUDENT_RECIPE, num_epochs=2, batch_size=100),
    seeds=(0, 1),
)


def run(settings: Settings, experiment: Experiment) -> None:
    """Train students at every temperature and by logit matching, read the test set, and compare."""
    images = open_data(experiment, "mnist", held_out=settings.held_out)
    collected = collect_targets(experiment, section_teacher(settings, experiment, images), images)
    soft = [Distillation(temperature=t, soft_weight=1.0, hard_weight=0.0) for t in settings.temperatures]
    matching, recipe, students = LogitMatching(centred=True), settings.student_recipe, []
    for units, seed in itertools.product((settings.narrow, settings.wide), settings.seeds):
        spec, seeds = f"mlp:widths={units}x{units}", [seed] * len(soft)
        networks = experiment.train_stacked(
            "student", spec, samples=images, objectives=soft, seeds=seeds, recipe=recipe, teacher=collected
        )
        matched = experiment.train(
            "student", spec, samples=images, objective=matching, seed=seed, recipe=recipe, teacher=collected
        )
        names = [*(condition(units, t) for t in settings.temperatures), condition(units, MATCHING)]
        students += [(name, seed, network) for name, network in zip(names, [*networks, matched], strict=True)]
    predictions: Evaluations = defaultdict(dict)
    for name, seed, network in students:
        predictions[name][seed] = evaluate(experiment, network, condition=name, seed=seed)
    compare(settings, experiment, predictions, size="narrow", units=settings.narrow)
    compare(settings, experiment, predictions, size="wide", units=settings.wide)
    draw(settings, experiment)


def condition(units: int, place: float | str) -> str:
    """Name the students of a width that learn at a temperature, or by "logit matching"."""
    return f"{units} units, {place if isinstance(place, str) else f'T = {place:g}'}"


def compare(settings: Settings, experiment: Experiment, predictions: Evaluations, *, size: str, units: int) -> None:
    """Observe how near to logit matching the students of one width come, and what a lower temperature saves."""
    quantities = "agreement", "logit_distance", "agreement_gained", "errors_margin", "errors_saved"
    agreement, distance, gained, margin, saved = map(experiment.quantity, quantities)
    matching = predictions[condition(units, MATCHING)]
    for seed, found in matching.items():
        for name in [condition(units, t) for t in settings.temperatures]:
            student = predictions[name][seed].logits
            experiment.results.observe(name, seed, agreement, top1_agreement(student, found.logits), "fraction")
            experiment.results.observe(name, seed, distance, logit_distance(student, found.logits), "fraction")
        if others := [top1_agreement(found.logits, other.logits) for key, other in matching.items() if key != seed]:
            experiment.results.observe(condition(units, OTHER), seed, agreement, fmean(others), "fraction")
    high, low = settings.high, settings.intermediate
    apart, near = (mean_by_seed(observed(experiment, [condition(units, p)], agreement)) for p in (OTHER, high))
    what = f"{units} units, agreement of T = {high:g} with logit matching less that of two seeds of the latter"
    observe_difference(experiment, size, gained, apart, near, what=what, unit="fraction")
    at_low, at_high, matched = (
        {seed: found.errors for seed, found in predictions[condition(units, place)].items()}
        for place in (low, high, MATCHING)
    )
    what = f"{units} units, errors at T = {high:g} and by logit matching"
    observe_likeness(experiment, size, margin, [at_high, matched], what=what)
    what = f"{units} units, errors that T = {low:g} saves against logit matching"
    observe_difference(experiment, size, saved, at_low, matched, what=what)


def draw(settings: Settings, experiment: Experiment) -> None:
    """Draw how students at a temperature come near to those of logit matching, and their errors."""
    places, sizes = [f"{t:g}" for t in settings.temperatures], (settings.narrow, settings.wide)
    swept = [Series(f"{u} units", [condition(u, t) for t in settings.temperatures]) for u in sizes]
    matching = [Series(f"{u} units, logit matching", [condition(u, MATCHING)] * len(places)) for u in sizes]
    other = [Series(f"{u} units, two seeds of matching", [condition(u, OTHER)] * len(places)) for u in sizes]
    images = f"{experiment.num_evaluated:,} images"
    for quantity, title, how_to_read, label, series in (
        ("logit_distance", "Distance from logit matching", "Zero-mean logits of two students of one seed: the root "
         "mean square of their difference over that of logit matching's own.", "distance, % of the logits", swept),
        ("agreement", "Agreement with logit matching", "Images that a student and that of logit matching give the same "
         "class; level lines: two seeds of logit matching.", f"same class on {images}, %", [*swept, *other]),
        ("errors", "Errors from T = 1 to logit matching", "Level lines: students of logit matching, where the others "
         "end.", f"errors on {images}", [*swept, *matching]),
    ):  # fmt: skip
        experiment.results.draw(
            Figure("curves", title, how_to_read, experiment.quantity(quantity), label, places, series, "temperature T",
                   log_places=True, log_values=quantity != "agreement")
        )  # fmt: skip
