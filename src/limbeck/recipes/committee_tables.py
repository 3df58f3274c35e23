"""Tables 3 and 4 of section 5, what committees cost, and what a student keeps of them: predictions to observations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from limbeck.distillation.experiment import Experiment
from limbeck.distillation.predictions import Predictions
from limbeck.distillation.trained import TrainedNetwork
from limbeck.jobs import work_and_span
from limbeck.metrics import change_by_coverage, conditional_accuracy
from limbeck.recipes.committees import Committee
from limbeck.recipes.comparing import observe_difference, observe_gain
from limbeck.reproduction import Figure, Series

MOST_COVERAGE = 10  # so many specialists of a class and more are one row, as in the paper's table
Evaluations = Mapping[int, Predictions]  # by seed
PLACES = {  # condition: its name in figures
    "generalist": "generalist",
    "committee": "with\nspecialists",
    "full_softmax": "with full\nsoftmaxes",
    "mixture": "mixture\nof experts",
    "student_alone": "student\nalone",
    "from_generalist": "of the\ngeneralist",
    "folded": "of the\ncommittee",
    "folded_large": "large, of the\ncommittee",
}


def observe_tables(
    experiment: Experiment, predictions: Mapping[str, Evaluations], class_sets: Sequence[Sequence[int]]
) -> None:
    """Record tables 3 and 4: what specialists add, among their classes too, and by how many know the true class.

    Args:
        experiment: where everything is recorded, and table 4 drawn.
        predictions: by condition and seed: "generalist" (one), "committee" and "full_softmax".
        class_sets: of the specialists.
    """
    ((seed, generalist),) = predictions["generalist"].items()
    observe_gain_over_generalist(experiment, generalist, predictions["committee"], condition="committee")
    what = "Accuracy with full softmaxes, less that with dustbins"
    observe_gain(experiment, "full_softmax", "committee", what=what)
    observe_conditional(experiment, generalist, class_sets, condition="generalist", seed=seed)
    for name in ("committee", "full_softmax"):
        for seed, found in predictions[name].items():
            observe_conditional(experiment, found, class_sets, condition=name, seed=seed)
    observe_coverage(experiment, generalist, predictions["committee"], class_sets)


def observe_gain_over_generalist(
    experiment: Experiment, generalist: Predictions, predictions: Evaluations, *, condition: str
) -> None:
    """Record how much better than the one generalist others are: "accuracy_gained" in points, and "relative_gain".

    Args:
        experiment: where it is recorded.
        generalist: its predictions.
        predictions: of a committee or network, by its own seed.
        condition: what claims and figures call it.
    """
    before = dict.fromkeys(predictions, 100 * generalist.accuracy)
    after = {seed: 100 * found.accuracy for seed, found in predictions.items()}
    quantity, what = (
        experiment.quantity("accuracy_gained"),
        f"Accuracy of {condition.replace('_', ' ')}, less the generalist's",
    )
    observe_difference(experiment, condition, quantity, before, after, what=what, unit="points")
    right = len(generalist.labels) - generalist.errors
    for seed, found in predictions.items():
        gain = (generalist.errors - found.errors) / max(right, 1)
        experiment.results.observe(condition, seed, experiment.quantity("relative_gain"), gain, "fraction")


def observe_conditional(
    experiment: Experiment, found: Predictions, class_sets: Sequence[Sequence[int]], *, condition: str, seed: int
) -> None:
    """Record the accuracy among the specialists' classes in both readings of ``conditional_accuracy``."""
    for quantity, reading in (("conditional_accuracy", "union"), ("conditional_accuracy_each_set", "each_set")):
        value = conditional_accuracy(found.logits, found.labels, class_sets, reading=reading)  # type: ignore[arg-type]
        experiment.results.observe(condition, seed, experiment.quantity(quantity), value, "fraction")


def observe_coverage(
    experiment: Experiment, before: Predictions, after: Evaluations, class_sets: Sequence[Sequence[int]]
) -> None:
    """Record and draw the change in correct predictions by how many specialists know the true class: "known_to_2", ...

    Args:
        experiment: where it is recorded.
        before: of the generalist.
        after: of generalist and specialists.
        class_sets: of the specialists.
    """
    counts: dict[int, int] = {}
    compared: set[int] = set()
    for seed, found in after.items():
        for row in change_by_coverage(before.logits, found.logits, found.labels, class_sets, most=MOST_COVERAGE):
            condition = f"known_to_{row.num_specialists}"
            counts[row.num_specialists] = row.num_samples
            experiment.results.observe(condition, seed, experiment.quantity("change_in_right"), row.change, "count")
            if row.relative_change is not None:
                compared.add(row.num_specialists)
                change = row.relative_change
                experiment.results.observe(condition, seed, experiment.quantity("relative_change"), change, "fraction")
    told = ", ".join(f"{count:,} by {number}" for number, count in counts.items())
    experiment.results.note(f"Images measured, by how many specialists know the true class: {told}.")
    if compared:
        experiment.results.draw(
            Figure(
                kind="points",
                title="What specialists change, by how many know the true class",
                how_to_read="The paper finds no change where none knows it, 3.4 % with one, 7.4 % with two, and "
                "14.1 % with ten or more.",
                quantity=experiment.quantity("relative_change"),
                value_label="change in correct predictions (%)",
                places=[f"{number}\n({counts[number]:,} images)" for number in sorted(compared)],
                place_label="specialists that know the true class",
                series=[Series("one run", [f"known_to_{number}" for number in sorted(compared)])],
            )
        )


def observe_cost(experiment: Experiment, committees: Mapping[int, Committee], mixture: TrainedNetwork) -> None:
    """Record how specialists and a mixture parallelise: seconds of all work, of the longest job, and their ratio.

    The generalist's training, from which both start, is left out of both.

    Args:
        experiment: where it is recorded, as "committee" and "mixture".
        committees: by seed.
        mixture: one job.
    """
    costs = {("committee", seed): committee.cost for seed, committee in committees.items()}
    costs["mixture", mixture.seed or 0] = work_and_span([mixture.elapsed_seconds])
    for (name, seed), cost in costs.items():
        experiment.results.observe(name, seed, "training_seconds", cost.work_seconds, "seconds")
        experiment.results.observe(name, seed, "longest_job_seconds", cost.span_seconds, "seconds")
        experiment.results.observe(name, seed, "parallelism", cost.parallelism, "workers")
    experiment.results.note(
        "Parallelism is the seconds of all trainings over those of the longest: the workers that can be kept busy. The "
        "generalist's training, from which specialists and mixture start, is not counted."
    )


def draw(experiment: Experiment, *, candidates: Sequence[int], plans: Sequence[str]) -> None:
    """Draw accuracies, and what validation images said; see :func:`draw_choices`."""
    draw_accuracies(experiment)
    draw_choices(experiment, candidates=candidates, plans=plans)


def draw_accuracies(experiment: Experiment) -> None:
    """Draw the accuracy of every condition of the recipe."""
    experiment.results.draw(
        Figure(
            kind="points",
            title="Generalist, committees, and networks that learned from them",
            how_to_read="Committees start from the one generalist; the students share recipe and views.",
            quantity=experiment.quantity("accuracy"),
            value_label=f"accuracy (%), {experiment.num_evaluated:,} images",
            places=list(PLACES.values()),
            series=[Series("one run", list(PLACES))],
        )
    )


def draw_choices(experiment: Experiment, *, candidates: Sequence[int], plans: Sequence[str]) -> None:
    """Draw what ``choose_num_top_classes`` recorded on validation images: over n, and plan by plan.

    Args:
        experiment: where it was recorded.
        candidates: for n.
        plans: texts of plans; the first is the committee's.
    """
    names = dict(zip(plans, ("committee", *plans[1:]), strict=True))
    labels = {"committee": "dustbin", "full_softmax": "full softmax (6.1)"}
    numbers = sorted(candidates)
    label = "accuracy (%) on validation images"
    experiment.results.draw(
        Figure(
            kind="curves",
            title="How many of the generalist's top classes wake specialists",
            how_to_read="Validation chooses n; the test set has no part in it.",
            quantity="validation_accuracy",
            value_label=label,
            places=[str(number) for number in numbers],
            place_label="top classes n",
            series=[Series(text, [f"{name}_top_{n}" for n in numbers]) for name, text in labels.items()],
        )
    )
    experiment.results.draw(
        Figure(
            kind="points",
            title="Number of specialists, their size, and how classes are clustered",
            how_to_read="Specialists x classes of each, with a dustbin, on validation images, for each n tried.",
            quantity="validation_accuracy",
            value_label=label,
            places=[plan.replace(":", "\n").replace("x", " x ") for plan in plans],
            series=[Series(f"n = {n}", [f"{name}_top_{n}" for name in names.values()]) for n in numbers],
        )
    )
