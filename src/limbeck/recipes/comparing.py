"""Comparisons over seeds as recipes record them: each seed's difference, the ends of the interval, and a sentence.

What was not observed (a temperature that a sweep was told to leave out) is compared with nothing: claims on it are then
"not measured".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from limbeck.distillation.experiment import Experiment
from limbeck.reproduction import value_text
from limbeck.statistics import equivalence_bound, paired_difference

EQUIVALENCE_CONFIDENCE = 0.90  # of each interval: two one-sided tests at 5 %
BySeed = Mapping[int, float]


def observed(experiment: Experiment, conditions: Iterable[str], quantity: str) -> list[dict[int, float]]:
    """Return what was observed of each condition, by seed; those without any are left out."""
    values: dict[str, dict[int, float]] = {condition: {} for condition in conditions}
    for observation in experiment.results.observations:
        if observation.quantity == quantity and observation.seed is not None and observation.condition in values:
            values[observation.condition][observation.seed] = observation.value
    return [by_seed for by_seed in values.values() if by_seed]


def mean_by_seed(groups: Sequence[BySeed]) -> dict[int, float]:
    """Return each seed's mean over several conditions, for the seeds that all of them have.

    Example:
        >>> mean_by_seed([{0: 10.0, 1: 12.0}, {0: 20.0, 1: 14.0, 2: 9.0}])
        {0: 15.0, 1: 13.0}
    """
    seeds = [seed for seed in groups[0] if all(seed in group for group in groups)] if groups else []
    return {seed: sum(group[seed] for group in groups) / len(groups) for seed in seeds}


def observe_difference(
    experiment: Experiment,
    condition: str,
    quantity: str,
    first: BySeed,
    second: BySeed,
    *,
    what: str,
    unit: str = "count",
    confidence: float = 0.95,
) -> None:
    """Record second - first.

    Every seed's difference is observed as ``quantity``. With two seeds or more the ends of the mean's interval, which
    belong to no single seed, are ``quantity_low_end`` and ``quantity_high_end``. A note tells all of it.

    Args:
        experiment: where it is recorded.
        condition: what claims and figures call the comparison.
        quantity: what the difference is: "test_errors_saved".
        first: value by seed.
        second: value by seed.
        what: begins the note: "30 units, errors at T = 1 less those at T = 4".
        unit: of the values.
        confidence: of the interval.
    """
    shared = [seed for seed in first if seed in second]
    for seed in shared:
        experiment.results.observe(condition, seed, quantity, second[seed] - first[seed], unit)
    if not shared:
        return
    difference = paired_difference(first, second, confidence=confidence)
    mean = value_text(difference.mean, unit)
    if difference.low is None or difference.high is None:
        experiment.results.note(f"{what}: {mean}. One seed allows no interval.")
        return
    experiment.results.observe(condition, None, f"{quantity}_low_end", difference.low, unit)
    experiment.results.observe(condition, None, f"{quantity}_high_end", difference.high, unit)
    interval = f"{value_text(difference.low, unit)} to {value_text(difference.high, unit)}"
    shown = "shown" if difference.excludes_zero else "not shown"
    experiment.results.note(
        f"{what}: {mean} on average, {100 * confidence:.0f} % interval {interval}, paired over {difference.count} "
        f"seeds: a difference is {shown}."
    )


def observe_gain(
    experiment: Experiment, condition: str, over: str, *, what: str, quantity: str = "accuracy_gained"
) -> None:
    """Record how much more accurate one condition is than another, in points, paired by seed.

    It is ``observe_difference`` of what ``evaluate`` recorded, and is called "test_accuracy_gained", or "held_out_...".

    Args:
        experiment: where both are recorded.
        condition: of which it is recorded.
        over: what it is compared with.
        what: begins the note: "Accuracy of the distilled student, less that of labels alone".
        quantity: another name, where a condition is compared twice.
    """
    accuracies = observed(experiment, [over, condition], experiment.quantity("accuracy"))
    if len(accuracies) == 2:
        first, second = ({seed: 100 * value for seed, value in by_seed.items()} for by_seed in accuracies)
        observe_difference(
            experiment, condition, experiment.quantity(quantity), first, second, what=what, unit="points"
        )


def observe_gain_kept(
    experiment: Experiment,
    condition: str,
    over: str | float,
    *,
    teacher_errors: float,
) -> None:
    r"""Record for each seed which share of the errors that a teacher saves its student saves, too.

    .. math:: \frac{e(over) - e(condition)}{e(over) - e(teacher)}

    with e(over) of the same seed: how far the student has come from ``over`` towards the teacher, as "gain_kept". A
    teacher that saves nothing has no gain to keep: nothing is recorded then, and a note says so.

    Args:
        experiment: where the errors of both conditions are recorded.
        condition: the student.
        over: the student that it is compared with; or errors, where they are the same for all seeds.
        teacher_errors: on the same samples.
    """
    quantity_read = experiment.quantity("errors")
    for own in observed(experiment, [condition], quantity_read):
        others = observed(experiment, [over], quantity_read)[0] if isinstance(over, str) else dict.fromkeys(own, over)
        for seed in (seed for seed in own if seed in others):
            if (gain := others[seed] - teacher_errors) > 0:
                kept = (others[seed] - own[seed]) / gain
                experiment.results.observe(condition, seed, "gain_kept", kept, "fraction")
        if min(others.values()) <= teacher_errors:
            experiment.results.note(
                f"The teacher of {condition.replace('_', ' ')} makes {teacher_errors:,.0f} errors, no fewer than are "
                "made without it: where it has gained nothing, no share of a gain can be kept."
            )


def observe_share(
    experiment: Experiment, condition: str, quantity: str, values: BySeed, *, what: str, confidence: float = 0.95
) -> None:
    """Record a fraction of every seed, and with two seeds or more the ends of its mean's interval; a note tells them.

    Args:
        experiment: where it is recorded.
        condition: what claims and figures call it.
        quantity: what the fraction is: "gain_kept". The ends are ``quantity_low_end`` and ``quantity_high_end``.
        values: by seed.
        what: begins the note.
        confidence: of the interval.
    """
    for seed, value in values.items():
        experiment.results.observe(condition, seed, quantity, value, "fraction")
    found = paired_difference(dict.fromkeys(values, 0.0), values, confidence=confidence)
    if found.low is None or found.high is None:
        return
    experiment.results.observe(condition, None, f"{quantity}_low_end", found.low, "fraction")
    experiment.results.observe(condition, None, f"{quantity}_high_end", found.high, "fraction")
    low, high = value_text(found.low, "fraction"), value_text(found.high, "fraction")
    experiment.results.note(
        f"{what}: {value_text(found.mean, 'fraction')} on average, {100 * confidence:.0f} % interval {low} to {high}, "
        f"{found.count} seeds."
    )


def observe_likeness(
    experiment: Experiment,
    condition: str,
    quantity: str,
    groups: Sequence[BySeed],
    *,
    what: str,
    unit: str = "count",
) -> float | None:
    """Record within which margin several conditions are shown to be alike, and return it; see ``equivalence_bound``.

    The margin is observed as ``quantity``, of no single seed, and told in a note. One seed, or one condition, has none.

    Args:
        experiment: where it is recorded.
        condition: what claims and figures call the comparison.
        quantity: what the margin is: "test_errors_margin".
        groups: value by seed, for each of the conditions.
        what: begins the note: "800 units, errors at T = 12, 16, 20, 32".
        unit: of the values.
    """
    groups = [group for group in groups if group]
    if len(groups) < 2:
        return None
    margin = equivalence_bound(groups, confidence=EQUIVALENCE_CONFIDENCE)
    means = [sum(group.values()) / len(group) for group in groups]
    apart = value_text(max(means) - min(means), unit)
    if margin is None:
        experiment.results.note(f"{what}: the means lie at most {apart} apart. One seed allows no interval.")
        return None
    experiment.results.observe(condition, None, quantity, margin, unit)
    experiment.results.note(
        f"{what}: the means lie at most {apart} apart, and every two are alike within {value_text(margin, unit)} "
        f"({100 * EQUIVALENCE_CONFIDENCE:.0f} % intervals of the differences, paired over seeds)."
    )
    return margin
