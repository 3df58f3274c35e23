"""The networks of speech recipes: members of ensembles, students at several temperatures, students of few frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypedDict

from limbeck.data import Samples, hold_out, same_moments, with_mixtures
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.trained import TrainedNetwork
from limbeck.objectives import Distillation, HardLabels
from limbeck.recipes.soft_targets import collect_targets
from limbeck.recipes.speech_data import SpeechTask
from limbeck.teachers import Teacher
from limbeck.training import TrainConfig, count_batches

Networks = dict[str, list[TrainedNetwork]]
OfTemperature = Callable[[float], Distillation]


class Transfer(TypedDict):
    """What networks are shown, and how many steps an epoch has."""

    samples: Samples
    steps_per_epoch: int


def mixed(samples: Samples, num_mixtures: int, *, recipe: TrainConfig, num_counted: int | None = None) -> Transfer:
    """Return samples and mixtures of them, and the steps of one pass over some of them.

    Args:
        samples: to show.
        num_mixtures: of each with others, without labels; see ``with_mixtures``.
        recipe: for its batch size.
        num_counted: samples that an epoch counts; all, without the mixtures, where not given.
    """
    steps = count_batches(num_counted or len(samples), recipe.batch_size)
    return {"samples": with_mixtures(samples, per_sample=num_mixtures), "steps_per_epoch": steps}


def train_members(
    experiment: Experiment,
    task: SpeechTask,
    network: str,
    *,
    recipe: TrainConfig,
    count: int,
    num_ensembles: int = 1,
    name: str = "single",
    shown: Transfer | None = None,
) -> list[TrainedNetwork]:
    """Return nets that learned from labels and differ in their seed alone; each ensemble's are trained in one pass.

    Args:
        experiment: where they are trained.
        task: its development frames choose the epoch.
        network: of the zoo.
        recipe: of all.
        count: members of an ensemble.
        num_ensembles: how many ensembles, one after the other; seeds run on.
        name: of the nets.
        shown: what they learn from; the task's training frames where not given.
    """
    learned = shown or {"samples": task.train}
    return [
        member
        for start in range(0, num_ensembles * count, count)
        for member in experiment.train_stacked(
            name, network, objectives=[HardLabels()] * count, seeds=range(start, start + count),
            recipe=recipe, validation=task.development, **learned,
        )
    ]  # fmt: skip


def train_students(
    experiment: Experiment,
    task: SpeechTask,
    network: str,
    *,
    recipe: TrainConfig,
    teacher: Teacher,
    objective: OfTemperature,
    conditions: dict[float, str],
    seeds: Sequence[int],
    sweep_seeds: Sequence[int],
    shown: Transfer,
) -> Networks:
    """Return students by condition: the first temperature's of every seed, the others' of the sweep's seeds.

    Args:
        experiment: where they are trained.
        task: its development frames choose the epoch.
        network: of the zoo.
        recipe: of all.
        teacher: of the soft targets of all that is shown.
        objective: by temperature.
        conditions: by temperature, the main one first.
        seeds: of the main temperature's students.
        sweep_seeds: of the others'; some of ``seeds``.
        shown: the transfer set.
    """
    main, *others = conditions
    networks: Networks = {condition: [] for condition in conditions.values()}
    swept = [(temperature, seed) for temperature in others for seed in seeds if seed in sweep_seeds]
    for pairs in filter(None, ([(main, seed) for seed in seeds], swept)):  # every seed has as many networks in a pass
        students = experiment.train_stacked(
            "distilled", network, objectives=[objective(temperature) for temperature, _ in pairs],
            seeds=[seed for _, seed in pairs], recipe=recipe, teacher=teacher, validation=task.development, **shown,
        )  # fmt: skip
        for (temperature, _), student in zip(pairs, students, strict=True):
            networks[conditions[temperature]].append(student)
    return networks


def train_on_few(
    experiment: Experiment,
    task: SpeechTask,
    network: str,
    *,
    recipe: TrainConfig,
    teachers: Sequence[TrainedNetwork],
    objective: Distillation,
    fraction: float,
    seeds: Sequence[int],
    transfer: Samples,
    num_mixtures: int,
) -> Networks:
    """Return nets of a few frames, drawn anew for each seed: hard labels, the same stopped early, soft targets.

    Args:
        experiment: where they are trained.
        task: its development frames choose where to stop early, and nothing else.
        network: of the zoo.
        recipe: of all.
        teachers: averaged, they give the soft targets.
        objective: of those with soft targets.
        fraction: of the training frames.
        seeds: of nets and draws.
        transfer: the training frames, and versions of them: those of the few frames are for soft targets.
        num_mixtures: of each of the few frames and of their versions with others of them, for soft targets.
    """
    networks: Networks = {"hard_few": [], "hard_few_early": [], "soft_few": []}
    for seed in seeds:
        few = few_frames(task, fraction=fraction, seed=seed)
        train = partial(experiment.train, source=network, recipe=recipe, seed=seed)
        networks["hard_few"].append(train("hard_few", samples=few, objective=HardLabels()))
        networks["hard_few_early"].append(
            train("hard_few_early", samples=few, objective=HardLabels(), validation=task.development)
        )
        shown = mixed(same_moments(transfer, few), num_mixtures, recipe=recipe, num_counted=len(few))
        teacher = collect_targets(experiment, teachers, shown["samples"])
        networks["soft_few"].append(train("soft_few", objective=objective, teacher=teacher, **shown))
    return networks


def few_frames(task: SpeechTask, *, fraction: float, seed: int) -> Samples:
    """Return a fraction of the training frames, stratified by state and drawn by the seed."""
    return hold_out(task.train, fraction=fraction, seed=seed)[1]
