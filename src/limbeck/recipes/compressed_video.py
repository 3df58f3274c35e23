"""The recipes on compressed clips, from training to figures: fusing, choosing, reading the test clips, comparing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from limbeck.data import Samples
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.trained import TrainedNetwork
from limbeck.models import FusedNetwork
from limbeck.recipes.comparing import observe_difference, observed
from limbeck.recipes.evaluation import evaluate, predict
from limbeck.recipes.one_clip import show_clip
from limbeck.recipes.stream_students import DISTILLED, ON_LABELS, Regime, train_students, train_teachers
from limbeck.recipes.streams import POOLINGS, STREAMS, WEIGHTINGS, fused, observe_costs, pooled, teacher_weights
from limbeck.reproduction import Figure, Series

SHOWN = {  # ways, as figures and sentences call them
    "labels": "labels", "joint_labels": "labels, as one network", "own": "their own teacher", "equal": "equal weights",
    "fitted": "fitted weights", "joint": "fitted weights, as one network",
}  # fmt: skip
Fused = Mapping[tuple[str, int], FusedNetwork]  # by way and seed


def run_regime(experiment: Experiment, clips: Samples, regime: Regime, *, seeds: Sequence[int]) -> None:
    """Train teachers and students of every stream, choose on validation, and read the test clips."""
    teachers: dict[int, list[TrainedNetwork]] = {}
    students: dict[tuple[str, int], FusedNetwork] = {}
    for seed in seeds:
        teachers[seed] = train_teachers(experiment, clips, regime, seed=seed)
        learned = train_students(experiment, clips, teachers[seed], regime, seed=seed)
        students |= {(way, seed): network for way, network in learned.items()}
    together = {seed: fused(experiment, networks, pooling=regime.fuse_pooling) for seed, networks in teachers.items()}
    observe_costs(experiment, together[seeds[0]], students[regime.ways[0], seeds[0]], clips)
    chosen = {
        name: choose(experiment, {key: one for key, one in students.items() if key[0] in among})
        for name, among in (("chosen", DISTILLED), ("chosen_labels", ON_LABELS))
    }
    weights = {seed: teacher_weights(experiment, own, given=regime.given_weights) for seed, own in teachers.items()}
    for seed, networks in teachers.items():
        for (pooling, how), own in weights[seed].items():
            for stream, weight in zip(STREAMS, own, strict=True):
                experiment.results.observe(f"{pooling}_{how}_{stream}", seed, "teacher_weight", weight, "fraction")
            evaluate(experiment, pooled(networks, own, pooling=pooling), condition=f"{pooling}_{how}", seed=seed)
    for (way, seed), whole in {**{("teacher", seed): one for seed, one in together.items()}, **students}.items():
        for stream, member in zip(STREAMS, whole.networks, strict=True):
            evaluate(experiment, member, condition=f"{way}_{stream}", seed=seed)
        evaluate(experiment, whole, condition=f"{'teachers' if way == 'teacher' else way}_fused", seed=seed)
    first = students[chosen["chosen"], seeds[0]]
    show_clip(experiment, {**dict(zip(STREAMS, first.networks, strict=True)), "fused": first}, seed=seeds[0])
    compare(experiment, regime.ways, chosen)
    draw(experiment, regime.ways)


def choose(experiment: Experiment, students: Fused) -> str:
    """Return the way whose fused students are right most often on validation clips, on average over seeds."""
    accuracies: dict[str, list[float]] = {}
    for (way, seed), network in students.items():
        accuracy = predict(experiment, network, experiment.validation).accuracy
        experiment.results.observe(f"{way}_fused", seed, "validation_accuracy", accuracy, "fraction")
        accuracies.setdefault(way, []).append(accuracy)
    return max(accuracies, key=lambda way: sum(accuracies[way]))


def compare(experiment: Experiment, ways: Sequence[str], chosen: Mapping[str, str]) -> None:
    """Pair by seed: fused teachers and their streams, students and fused teachers, and the ways to learn.

    "chosen" is the way to distil that validation chose, "chosen_labels" that on labels alone.
    """
    best, labels = chosen["chosen"], chosen["chosen_labels"]
    experiment.results.note(
        f"Validation chose: distilled from {SHOWN[best]}; on labels alone: {SHOWN[labels]}. Claims on the chosen way "
        "are on these."
    )
    gain, lost = experiment.quantity("accuracy_gained"), experiment.quantity("accuracy_lost")
    pairs = [
        (f"over_{stream}", gain, f"teacher_{stream}", "teachers_fused", f"fused teachers less {stream}")
        for stream in STREAMS
    ]
    pairs += [
        (f"{way}_fused", lost, f"{way}_fused", "teachers_fused", f"fused teachers less students on {SHOWN[way]}")
        for way in ways
    ]
    pairs += [
        ("chosen_fused", lost, f"{best}_fused", "teachers_fused", "fused teachers less the chosen students"),
        ("chosen_over_labels", gain, f"{labels}_fused", f"{best}_fused", "chosen students less those on labels"),
    ]
    pairs += [
        (f"{second}_over_{first}", gain, f"{first}_fused", f"{second}_fused",
         f"students on {SHOWN[second]} less {SHOWN[first]}")
        for first, second in (("labels", "own"), ("labels", "fitted"), ("labels", "joint"), ("own", "fitted"),
                              ("equal", "fitted"), ("own", "joint"), ("joint_labels", "joint"))
    ]  # fmt: skip
    for condition, quantity, first, second, what in pairs:
        values = observed(experiment, [first, second], experiment.quantity("accuracy"))
        if len(values) == 2:
            points = [{seed: 100 * value for seed, value in by_seed.items()} for by_seed in values]
            observe_difference(experiment, condition, quantity, *points, what=f"Accuracy, {what}", unit="points")


def draw(experiment: Experiment, ways: Sequence[str]) -> None:
    """Draw each stream alone beside all fused, and the teachers' mean under each weighting."""
    places = [*STREAMS, "fused"]
    experiment.results.draw(
        Figure(
            kind="points",
            title="Each stream alone, and the three fused",
            how_to_read="A stream alone misses part of what a class is; fused they complete each other.",
            quantity=experiment.quantity("accuracy"),
            value_label=f"accuracy (%), {experiment.num_evaluated:,} clips",
            places=places,
            series=[
                Series("teachers", [*(f"teacher_{stream}" for stream in STREAMS), "teachers_fused"]),
                *(Series(f"on {SHOWN[way]}", [f"{way}_{place}" for place in places]) for way in ways),
            ],
        )
    )
    experiment.results.draw(
        Figure(
            kind="points",
            title="Weights of the teachers",
            how_to_read="Means of the three teachers' distributions; fitted weights make validation labels likeliest.",
            quantity=experiment.quantity("accuracy"),
            value_label=f"accuracy (%), {experiment.num_evaluated:,} clips",
            places=list(WEIGHTINGS),
            series=[Series(f"{pooling} mean", [f"{pooling}_{how}" for how in WEIGHTINGS]) for pooling in POOLINGS],
        )
    )
