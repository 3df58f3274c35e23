"""The students of a job: each beside its twin of labels alone, and, where they are several, fused into one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from limbeck.data import Samples
from limbeck.distillation.arguments import DistillJob
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.runs import trainer
from limbeck.distillation.sources import Network, NetworkSource, network_from, start_seed
from limbeck.distillation.splits import JobData
from limbeck.distillation.trained import TrainedNetwork
from limbeck.distillation.weighting import require_choosable, weights_on, weights_text
from limbeck.errors import InvalidValue
from limbeck.models import fuse
from limbeck.objectives import Objective, objective_of_labels
from limbeck.records import Comparison
from limbeck.teachers import Teacher
from limbeck.training import evaluate

BASELINE, DISTILLED = "baseline", "distilled"
FUSED = "fused"  # begins the role of the mean of several


def student_networks(settings: DistillJob) -> list[Network]:
    """Return the networks that a job trains as students.

    Raises:
        InvalidValue: several that are not to be fused, or one that is.
    """
    given: Any = settings.student
    sources: Sequence[NetworkSource] = given if isinstance(given, (list, tuple)) else [given]
    if (len(sources) > 1) != settings.fuse:
        several = ", ".join(str(source) for source in sources)
        raise InvalidValue(
            "Several students are fused into one network." if len(sources) > 1 else "Fusing needs several students.",
            received=f"{several}, fuse {'on' if settings.fuse else 'off'}",
            expected="two students or more with fuse, or one without",
            remedy="add --fuse (fuse=True), or --method mutual for students that learn from each other"
            if len(sources) > 1
            else "name another --student, or leave --fuse out",
        )
    return [network_from(source) for source in sources]


def check_fusible(networks: Sequence[Network], data: JobData, settings: DistillJob) -> None:
    """Raise InvalidValue where the students cannot be fused as the settings say."""
    if len(networks) == 1:
        return
    if data.train.labels.dim() > 1:
        raise InvalidValue(
            "What is fused is distributions over classes.",
            received="labels that are not one class for each sample",
            expected="single-label classification",
        )
    if settings.fuse_weights != "equal":
        require_choosable(data.choosing, what="the weights of the fused students")


def train_students(
    experiment: Experiment, networks: Sequence[Network], teacher: Teacher, settings: DistillJob
) -> list[TrainedNetwork]:
    """Train baseline and distilled student for every seed: same initial weights, order, recipe and number of steps."""
    data = experiment.data
    ways: list[tuple[str, Samples, Objective, Teacher | None]] = []
    if data.has_labels:
        ways.append((BASELINE, data.labelled, objective_of_labels(data.train.task), None))
    else:
        experiment.results.note(
            "The training set has no labels: the students learn from soft targets alone, there is no baseline, and "
            "measured is how closely they follow the teacher."
        )
    ways.append((DISTILLED, data.train, settings.objective_of(data.train.task), teacher))
    if data.has_labels and len(data.labelled) < len(data.train):
        experiment.results.note(
            f"{len(data.labelled)} of {len(data.train)} training samples have labels. The baseline sees these alone, "
            "for as many steps as the distilled student, which sees the teacher's outputs for all."
        )
    train = trainer(experiment, settings)
    return [
        train(
            network,
            role=role_of(way, number, len(networks)),
            seed=seed,
            start_seed=start_seed(seed, number),
            samples=samples,
            objective=objective,
            teacher=guide,
        )
        for seed in settings.seed_numbers
        for number, network in enumerate(networks)
        for way, samples, objective, guide in ways
    ]


def role_of(way: str, number: int, count: int) -> str:
    """Return the role of one of several students, counted from 1; the way itself where there is one.

    Example:
        >>> role_of("distilled", 0, 1), role_of("distilled", 1, 3)
        ('distilled', 'distilled 2')
    """
    return way if count == 1 else f"{way} {number + 1}"


def fuse_students(
    experiment: Experiment, students: Sequence[TrainedNetwork], *, count: int, settings: DistillJob
) -> list[TrainedNetwork]:
    """Return each seed's students of each way as one network, with weights that validation chose; none of a single one.

    Args:
        experiment: for the validation split; gets a note of the weights.
        students: of all seeds and ways.
        count: students of one seed and way.
        settings: ``fuse_weights`` and ``fuse_pooling``.
    """
    if count == 1:
        return []
    fused, views = [], experiment.clean_views()
    for seed in settings.seed_numbers:
        for way in (BASELINE, DISTILLED):
            roles = [role_of(way, number, count) for number in range(count)]
            members = [one for one in students if one.seed == seed and one.role in roles]
            if not members:
                continue
            modules: list[nn.Module] = [member.module for member in members]
            weights = weights_on(
                modules, settings.fuse_weights, experiment.data.choosing, views, pooling=settings.fuse_pooling,
                runtime=experiment.runtime,
            )  # fmt: skip
            names = [member.name for member in members]
            network = fuse(modules, weights=weights, pooling=settings.fuse_pooling, specs=names)
            if weights is not None:
                how = f"{settings.fuse_weights} on validation"
                experiment.results.note(f"{FUSED} {way}, seed {seed}: weights {weights_text(weights)} ({how}).")
            name = f"fused ({' + '.join(names)})"
            fused.append(TrainedNetwork(f"{FUSED} {way}", name, seed, f"fused ({settings.fuse_pooling} mean)", network))
    return fused


def deployed(experiment: Experiment, fused: Sequence[TrainedNetwork]) -> list[TrainedNetwork]:
    """Return the fused distilled network of the seed that validation chooses, by errors, then NLL; else the first."""
    candidates = [one for one in fused if one.role == f"{FUSED} {DISTILLED}"]
    choosing = experiment.data.choosing
    if choosing is None:
        return candidates[:1]

    def key(network: TrainedNetwork) -> tuple[float, float]:
        measured = evaluate(network.module, choosing, experiment.clean_views(), runtime=experiment.runtime)
        return measured["errors"], measured["nll"]

    return [min(candidates, key=key)]


def comparisons(count: int) -> list[Comparison]:
    """Return what a job with labels compares: the fused networks first, where students are fused."""
    if count == 1:
        return [Comparison(BASELINE, DISTILLED, "the teacher")]
    alone = [
        Comparison(role_of(BASELINE, number, count), role_of(DISTILLED, number, count), "the teacher, each by itself")
        for number in range(count)
    ]
    return [Comparison(f"{FUSED} {BASELINE}", f"{FUSED} {DISTILLED}", "the teacher"), *alone]
