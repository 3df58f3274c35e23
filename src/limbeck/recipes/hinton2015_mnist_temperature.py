"""Hinton 2015, section 3: which temperature suits a student depends on its width.

Students of 30 to 800 units in each of two layers learn from the table's teacher at eleven temperatures, and from the
labels alone, on images that are not jittered. The paper reports two trends without numbers: with 300 units or more
"all temperatures above 8 gave fairly similar results", and with 30 units "temperatures in the range 2.5 to 4 worked
significantly better than higher or lower temperatures".

Both are tested over seeds, on temperatures that were fixed beforehand. The second as it stands: the errors that T = 2.5
to 4 save, against T = 1 and against T = 8 and above, each with a 95 % interval. The first as a likeness, not as a
difference that was not found: the smallest margin within which every two temperatures above 8 are alike, at 5 %. Our
goal for it is 15 errors, a fifth of the 72 that soft targets save in the paper's table.

About an hour and a half on one CPU core once the teacher is there: 240 networks, twelve of one width and seed in each
pass. The five passes with 800 units take most of it, so that a stopped one costs at most twenty minutes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from limbeck.distillation.experiment import Experiment
from limbeck.objectives import Distillation, HardLabels, Objective
from limbeck.recipes import hinton2015_mnist as table
from limbeck.recipes.comparing import mean_by_seed, observe_difference, observe_likeness, observed
from limbeck.recipes.data import open_data
from limbeck.recipes.evaluation import evaluate
from limbeck.recipes.mnist_teacher import SMOKE_TEACHER_RECIPE, TEACHER, TEACHER_RECIPE, section_teacher
from limbeck.recipes.soft_targets import collect_targets
from limbeck.reproduction import Claim, Figure, Series
from limbeck.training import TrainConfig

PAPER = table.PAPER
CLAIMS = [
    Claim("wide", "test_errors_margin",
          "With 300 units or more, all temperatures above 8 give fairly similar results: every two are alike within "
          "this margin.", at_most=15),
    Claim("narrow", "test_errors_saved_against_low_T_low_end",
          "With 30 units, T = 2.5 to 4 is better than T = 1: low end of the errors saved.", at_least=0),
    Claim("narrow", "test_errors_saved_against_high_T_low_end",
          "With 30 units, T = 2.5 to 4 is better than T = 8 and above: low end of the errors saved.", at_least=0),
]  # fmt: skip
DEPARTURES = [
    *table.DEPARTURES,
    "The students train for a third of the table's epochs, since there are 240.",
    "The paper names neither all of its temperatures nor the number of its runs: these are ours.",
]
STUDENT_RECIPE = replace(table.STUDENT_RECIPE, num_epochs=table.STUDENT_RECIPE.num_epochs // 3)


@dataclass(frozen=True)
class Settings:
    """What a run is made of."""

    teacher: str = TEACHER  # paper
    jitter_pixels: int = 2  # paper; of the teacher's images
    teacher_recipe: TrainConfig = TEACHER_RECIPE  # ours
    teacher_seed: int = 0  # ours
    widths: tuple[int, ...] = (30, 100, 300, 800)  # paper: 30, "300 or more"
    narrow: int = 30  # paper; units of the narrow students
    wide: int = 300  # paper; units that make a student wide
    temperatures: tuple[float, ...] = (1, 2, 2.5, 3, 4, 6, 8, 12, 16, 20, 32)  # ours, around the paper's ranges
    low: tuple[float, ...] = (1,)  # ours; what the best are better than
    best: tuple[float, ...] = (2.5, 3, 4)  # paper: 2.5 to 4; of narrow students
    high: tuple[float, ...] = (8, 12, 16, 20, 32)  # ours; what the best are better than
    alike: tuple[float, ...] = (12, 16, 20, 32)  # paper: above 8; of wide students
    student_recipe: TrainConfig = STUDENT_RECIPE  # ours
    soft_weight: float = table.Settings.soft_weight  # ours
    hard_weight: float = table.Settings.hard_weight  # ours
    held_out: int = 0  # training images measured in place of the test set
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)


SMOKE = Settings(
    teacher_recipe=SMOKE_TEACHER_RECIPE,
    widths=(30, 60),
    wide=60,
    student_recipe=replace(STUDENT_RECIPE, num_epochs=2, batch_size=100),
    seeds=(0, 1),
)


def run(settings: Settings, experiment: Experiment) -> None:
    """Train every width at every temperature, read the test set, and test the two trends."""
    images = open_data(experiment, "mnist", held_out=settings.held_out)
    collected = collect_targets(experiment, section_teacher(settings, experiment, images), images)
    weights = {"soft_weight": settings.soft_weight, "hard_weight": settings.hard_weight}
    soft_targets = {f"{t:g}": Distillation(temperature=t, **weights) for t in settings.temperatures}
    objectives: dict[str, Objective] = {"labels": HardLabels(), **soft_targets}
    passes = {
        (width, seed): experiment.train_stacked(
            "student",
            f"mlp:widths={width}x{width}",
            samples=images,
            objectives=list(objectives.values()),
            seeds=[seed] * len(objectives),
            recipe=settings.student_recipe,
            teacher=collected,
        )
        for width in settings.widths
        for seed in settings.seeds
    }
    for (width, seed), students in passes.items():
        for place, student in zip(objectives, students, strict=True):
            evaluate(experiment, student, condition=condition(width, place), seed=seed)
    observe_trends(settings, experiment)
    draw(settings, experiment, list(objectives))


def condition(width: int, place: str | float) -> str:
    """Name the students of a width that learn at a temperature, or from "labels"."""
    return f"{width} units, labels" if place == "labels" else f"{width} units, T = {float(place):g}"


def observe_trends(settings: Settings, experiment: Experiment) -> None:
    """Observe within which margin wide students are alike, and what the best temperatures save narrow ones."""
    chosen = {"low": settings.low, "best": settings.best, "high": settings.high, "alike": settings.alike}
    swept = {name: [t for t in temperatures if t in settings.temperatures] for name, temperatures in chosen.items()}
    words = {name: f"T = {', '.join(f'{t:g}' for t in temperatures)}" for name, temperatures in swept.items()}

    def errors(width: int, name: str) -> list[dict[int, float]]:
        return observed(experiment, [condition(width, t) for t in swept[name]], experiment.quantity("errors"))

    quantity, margins = experiment.quantity("errors_margin"), []
    for width in (width for width in settings.widths if width >= settings.wide):
        what, groups = f"{width} units, errors at {words['alike']}", errors(width, "alike")
        margins.append(observe_likeness(experiment, f"{width} units", quantity, groups, what=what))
    if known := [margin for margin in margins if margin is not None]:
        experiment.results.observe("wide", None, quantity, max(known), "count")
    for name in ("low", "high"):
        observe_difference(
            experiment, "narrow", experiment.quantity(f"errors_saved_against_{name}_T"),
            mean_by_seed(errors(settings.narrow, "best")), mean_by_seed(errors(settings.narrow, name)),
            what=f"{settings.narrow} units, errors that {words['best']} save against {words[name]}",
        )  # fmt: skip


def draw(settings: Settings, experiment: Experiment, places: list[str]) -> None:
    """Draw means over temperature and width, and their spread."""
    errors, label = experiment.quantity("errors"), f"errors on {experiment.num_evaluated:,} images"
    temperatures = places[1:]
    rows = [Series(str(w), [condition(w, place) for place in places]) for w in settings.widths]
    lines = [Series(f"{w} units", [condition(w, t) for t in temperatures]) for w in settings.widths]
    how_to_read = 'The column "labels" holds students without a teacher.'
    experiment.results.draw(
        Figure("heat_map", "Errors over temperature and width", how_to_read, errors, label, places, rows,
               place_label="temperature T", series_label="units in each layer", log_values=True)
    )  # fmt: skip
    how_to_read = "In the paper wide students' lines are flat above T = 8, and narrow ones' lowest from 2.5 to 4."
    experiment.results.draw(
        Figure("curves", "Errors over temperature", how_to_read, errors, label, temperatures, lines,
               place_label="temperature T", log_places=True, log_values=True)
    )  # fmt: skip
