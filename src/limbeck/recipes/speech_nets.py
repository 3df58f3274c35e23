"""The networks of speech recipes: members of ensembles, students at several temperatures, students of few frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from limbeck.data import Samples, hold_out
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.trained import TrainedNetwork
from limbeck.objectives import Distillation, HardLabels
from limbeck.recipes.speech_data import SpeechTask
from limbeck.teachers import Teacher
from limbeck.training import TrainConfig

Networks = dict[str, list[TrainedNetwork]]
OfTemperature = Callable[[float], Distillation]


def train_members(
    experiment: Experiment,
    task: SpeechTask,
    network: str,
    *,
    recipe: TrainConfig,
    count: int,
    num_ensembles: int = 1,
    name: str = "single",
    samples: Samples | None = None,
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
        samples: what they learn from; the task's training frames where not given.
    """
    return [
        member
        for start in range(0, num_ensembles * count, count)
        for member in experiment.train_stacked(
            name, network, objectives=[HardLabels()] * count, seeds=range(start, start + count),
            samples=task.train if samples is None else samples, recipe=recipe, validation=task.development,
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
) -> Networks:
    """Return students by condition: the first temperature's of every seed, the others' of the sweep's seeds.

    Args:
        experiment: where they are trained.
        task: its training frames are the transfer set, its development frames choose the epoch.
        network: of the zoo.
        recipe: of all.
        teacher: with soft targets for every training frame.
        objective: by temperature.
        conditions: by temperature, the main one first.
        seeds: of the main temperature's students.
        sweep_seeds: of the others'; some of ``seeds``.
    """
    main = next(iter(conditions))
    networks: Networks = {condition: [] for condition in conditions.values()}
    swept = [(temperature, seed) for temperature in conditions for seed in seeds if seed in sweep_seeds]
    alone = [(main, seed) for seed in seeds if seed not in sweep_seeds]
    for pairs in filter(None, (swept, alone)):  # passes in which every seed has as many networks
        students = experiment.train_stacked(
            "distilled", network, objectives=[objective(temperature) for temperature, _ in pairs],
            seeds=[seed for _, seed in pairs], samples=task.train, recipe=recipe, teacher=teacher,
            validation=task.development,
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
    teacher: Teacher,
    objective: Distillation,
    fraction: float,
    seeds: Sequence[int],
) -> Networks:
    """Return nets of a few frames, drawn anew for each seed: hard labels, the same stopped early, soft targets.

    Args:
        experiment: where they are trained.
        task: its development frames choose where to stop early, and nothing else.
        network: of the zoo.
        recipe: of all.
        teacher: with soft targets for every training frame.
        objective: of those with soft targets.
        fraction: of the training frames.
        seeds: of nets and draws.
    """
    networks: Networks = {"hard_few": [], "hard_few_early": [], "soft_few": []}
    for seed in seeds:
        few = few_frames(task, fraction=fraction, seed=seed)
        train = partial(experiment.train, source=network, samples=few, recipe=recipe, teacher=teacher, seed=seed)
        networks["hard_few"].append(train("hard_few", objective=HardLabels()))
        networks["hard_few_early"].append(train("hard_few_early", objective=HardLabels(), validation=task.development))
        networks["soft_few"].append(train("soft_few", objective=objective))
    return networks


def few_frames(task: SpeechTask, *, fraction: float, seed: int) -> Samples:
    """Return a fraction of the training frames, stratified by state and drawn by the seed."""
    return hold_out(task.train, fraction=fraction, seed=seed)[1]
