"""Tables 3 and 4 of section 5, what committees cost, and what a student keeps of them: predictions to observations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from limbeck.data import Views
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.predictions import Predictions
from limbeck.distillation.trained import TrainedNetwork
from limbeck.jobs import work_and_span
from limbeck.metrics import change_by_coverage, conditional_accuracy
from limbeck.recipes.committees import Committee
from limbeck.recipes.comparing import observe_difference, observe_gain
from limbeck.recipes.evaluation import evaluate
from limbeck.reproduction import Figure, Series
from limbeck.teachers import Teacher

MOST_COVERAGE = 10  # so many specialists of a class and more are one row, as in the paper's table
Evaluations = Mapping[int, Predictions]  # by seed
PLACES = {  # condition: its name in figures
    "generalist": "generalist",
    "committee": "with\nspecialists",
    "generalists": "as many\ngeneralists",
    "mixture": "mixture\nof experts",
    "from_generalist": "student of\ngeneralist",
    "folded": "student of\ncommittee",
}


def evaluate_all(
    experiment: Experiment,
    networks: Sequence[TrainedNetwork],
    together: Mapping[str, Mapping[int, Teacher]],
    *,
    views: Views,
) -> dict[str, dict[int, Predictions]]:
    """Read the test set with all networks and ensembles; return their predictions by condition and seed.

    Args:
        experiment: whose test set is read.
        networks: each a run of its role.
        together: committees and ensembles, by condition and seed.
        views: for their normalisation.
    """
    readings: list[tuple[str, int, TrainedNetwork | Teacher]] = [(one.role, one.seed or 0, one) for one in networks]
    readings += [(name, seed, teacher) for name, by_seed in together.items() for seed, teacher in by_seed.items()]
    predictions: dict[str, dict[int, Predictions]] = {}
    for name, seed, network in readings:
        found = evaluate(experiment, network, condition=name, seed=seed, views=views)
        predictions.setdefault(name, {})[seed] = found
    return predictions


def observe_tables(
    experiment: Experiment, predictions: Mapping[str, Evaluations], class_sets: Sequence[Sequence[int]]
) -> None:
    """Record tables 3 and 4: what specialists add, among their classes too, and by how many know the true class.

    Args:
        experiment: where everything is recorded, and table 4 drawn.
        predictions: by condition and seed: "generalist" (one), "committee" and "generalists".
        class_sets: of the specialists.
    """
    ((seed, generalist),) = predictions["generalist"].items()
    observe_gain_over_generalist(experiment, generalist, predictions["committee"], condition="committee")
    what = "Accuracy of generalist and specialists, less that of as many generalists"
    observe_gain(experiment, "committee", "generalists", what=what, quantity="accuracy_over_generalists")
    observe_gain_over_generalist(experiment, generalist, predictions["generalists"], condition="generalists")
    observe_conditional(experiment, generalist, class_sets, condition="generalist", seed=seed)
    for seed, found in predictions["committee"].items():
        observe_conditional(experiment, found, class_sets, condition="committee", seed=seed)
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


def observe_cost(experiment: Experiment, committees: Mapping[int, Committee], others: Sequence[TrainedNetwork]) -> None:
    """Record how specialists parallelise, and others: seconds of all work, of the longest job, and their ratio.

    The generalist's training, from which all start, is left out.

    Args:
        experiment: where it is recorded, as "committee" and by each one's role.
        committees: by seed.
        others: a mixture, students; each is one job.
    """
    costs = {("committee", seed): committee.cost for seed, committee in committees.items()}
    costs |= {(one.role, one.seed or 0): work_and_span([one.elapsed_seconds]) for one in others}
    for (name, seed), cost in costs.items():
        experiment.results.observe(name, seed, "training_seconds", cost.work_seconds, "seconds")
        experiment.results.observe(name, seed, "longest_job_seconds", cost.span_seconds, "seconds")
        experiment.results.observe(name, seed, "parallelism", cost.parallelism, "workers")
    experiment.results.note(
        "Parallelism is the seconds of all trainings over those of the longest: the workers that can be kept busy. The "
        "generalist's training, from which all others start, is not counted."
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
        plans: texts of plans; the first is the committee's. Several are compared in a figure of their own.
    """
    names = dict(zip(plans, ("committee", *plans[1:]), strict=True))
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
            series=[Series("committee", [f"committee_top_{n}" for n in numbers])],
        )
    )
    if len(plans) == 1:
        return
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
