"""The recipe on compressed video, from trained networks on: fusing, reading the test clips, comparing, drawing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from limbeck.distillation.experiment import Experiment
from limbeck.distillation.trained import TrainedNetwork
from limbeck.recipes.comparing import observe_difference, observed
from limbeck.recipes.evaluation import evaluate
from limbeck.recipes.one_clip import show_clip
from limbeck.recipes.streams import POOLINGS, STREAMS, WEIGHTINGS, fused, observe_costs, pooled
from limbeck.reproduction import Figure, Series


def measure(
    settings: Any,
    experiment: Experiment,
    teachers: dict[int, list[TrainedNetwork]],
    students: dict[tuple[str, int], list[TrainedNetwork]],
    weights: dict[int, dict[tuple[str, str], list[float]]],
) -> None:
    """Fuse on validation, then read the test clips with every stream's network and every fused one."""
    fuse = partial(fused, experiment, pooling=settings.fuse_pooling)
    joint = {("teachers", seed): fuse(networks) for seed, networks in teachers.items()}
    joint |= {key: fuse(networks) for key, networks in students.items()}
    seed = settings.seeds[0]
    observe_costs(experiment, teachers[seed], students["labels", seed], experiment.data.train)
    for seed, networks in teachers.items():
        for stream, network in zip(STREAMS, networks, strict=True):
            evaluate(experiment, network, condition=f"teacher_{stream}", seed=seed)
        for (pooling, how), own in weights[seed].items():
            for stream, weight in zip(STREAMS, own, strict=True):
                experiment.results.observe(f"{pooling}_{how}_{stream}", seed, "teacher_weight", weight, "fraction")
            mean = pooled(networks, own, pooling=pooling)
            evaluate(experiment, mean, condition=f"{pooling}_{how}", seed=seed)
    for (way, seed), members in students.items():
        for stream, network in zip(STREAMS, members, strict=True):
            evaluate(experiment, network, condition=f"{way}_{stream}", seed=seed)
    first = settings.seeds[0]
    shown = dict(zip(STREAMS, (one.module for one in students["own", first]), strict=True))
    show_clip(experiment, {**shown, "fused": joint["own", first]}, seed=first)
    for (way, seed), whole in joint.items():
        evaluate(experiment, whole, condition=f"{way}_fused", seed=seed)


def compare(experiment: Experiment, ways: Sequence[str]) -> None:
    """Pair by seed: fused teachers and their streams, students and fused teachers, and the ways to learn."""
    gain, lost = experiment.quantity("accuracy_gained"), experiment.quantity("accuracy_lost")
    pairs = [
        (f"over_{stream}", gain, f"teacher_{stream}", "teachers_fused", f"fused teachers less {stream}")
        for stream in STREAMS
    ]
    pairs += [(f"{way}_fused", lost, f"{way}_fused", "teachers_fused", f"fused teachers less {way}") for way in ways]
    pairs += [
        (f"over_{way}", gain, f"{way}_fused", "fitted_fused", f"fused students of fitted weights less {way}")
        for way in ways[:-1]
    ]
    pairs.append(
        ("own_over_labels", gain, "labels_fused", "own_fused", "fused students of their own teacher less labels")
    )
    for condition, quantity, first, second, what in pairs:
        values = observed(experiment, [first, second], experiment.quantity("accuracy"))
        if len(values) == 2:
            points = [{seed: 100 * value for seed, value in by_seed.items()} for by_seed in values]
            observe_difference(
                experiment, condition, quantity, *points, what=f"Accuracy, {what}", unit="points"
            )  # fmt: skip


def draw(experiment: Experiment) -> None:
    """Draw each stream alone beside all fused, and the teachers' mean under each weighting."""
    places = [*STREAMS, "fused"]
    experiment.results.draw(
        Figure(
            kind="points",
            title="Each stream alone, and the three fused",
            how_to_read="A stream alone misses what the digit is, or how it moves; fused they complete each other.",
            quantity=experiment.quantity("accuracy"),
            value_label=f"accuracy (%), {experiment.num_evaluated:,} clips",
            places=places,
            series=[
                Series("teachers", [*(f"teacher_{stream}" for stream in STREAMS), "teachers_fused"]),
                Series("students on labels", [f"labels_{place}" for place in places]),
                Series("on their own teacher", [f"own_{place}" for place in places]),
                Series("on equal weights", [f"equal_{place}" for place in places]),
                Series("on fitted weights", [f"fitted_{place}" for place in places]),
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
