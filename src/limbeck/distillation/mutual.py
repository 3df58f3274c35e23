"""``distill_mutual``: a cohort whose networks learn from each other, beside the same networks alone.

The data's way: splits -> a frozen teacher's outputs, where there is one -> for each seed every network alone, then the
cohort from the same initial weights -> their ensembles -> one reading of the test set -> record -> report.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

from limbeck.distillation.arguments import MutualJob, job
from limbeck.distillation.dry_run import dry_run
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.prepared_teachers import PreparedTeachers, prepare_teachers, teacher_sources
from limbeck.distillation.result import RunResult
from limbeck.distillation.runs import evaluate_all, finish_run, open_run, trainer
from limbeck.distillation.sources import Network, network_from, start_seed
from limbeck.distillation.splits import JobData, job_data
from limbeck.distillation.target_source import choose_target_source
from limbeck.distillation.trained import PooledNetwork, TrainedNetwork
from limbeck.errors import InvalidValue, TeacherError
from limbeck.models import fingerprint
from limbeck.objectives import HardLabels
from limbeck.records import Comparison
from limbeck.teachers import EnsembleTeacher, ModuleTeacher, Teacher
from limbeck.training.compiler import refuse_compiler


@job(MutualJob)
def distill_mutual(settings: MutualJob) -> RunResult:
    r"""Train a cohort by Deep Mutual Learning, beside each of its networks alone, over several seeds.

    .. math:: L_k = w_{hard}\, \overline{CE(y, p_k)} + \frac{w_{soft} T^2}{K - 1} \sum_{l \ne k}
        \overline{KL(p_l \| p_k)} + w_{teacher}\, T^2\, \overline{KL(p_t \| p_k)}

    Network k starts from the same weights in the cohort and alone, and sees the same samples in the same order for the
    same number of steps. Measured are every network both ways, and both ensembles (the mean of the distributions).

    Returns:
        The cohort's network that validation chose over all seeds, and the record. All members of all seeds are saved
        under ``members/`` of the folder, each for itself.
    Raises:
        InvalidValue: a cohort of one, or a number outside its range.
        TeacherError: a weight without a teacher, or what ``distill`` refuses.
        LimbeckError: as in ``distill``; nothing has been trained then.
        TrainingDiverged: a loss became NaN or infinite.
    References:
        Zhang, Xiang, Hospedales, Lu 2018, "Deep Mutual Learning", arXiv:1706.00384.
    """
    has_teachers = settings.has_teachers
    if has_teachers != (settings.weight_of_teachers > 0):
        raise TeacherError(
            "A teacher beside the peers and its weight go together.",
            received=f"{'a teacher' if has_teachers else 'no teacher'}, teacher_weight {settings.weight_of_teachers:g}",
            expected="a teacher and a weight above 0, or neither",
        )
    data = job_data(settings.train, settings)
    networks = [network_from(student) for student in settings.students]
    _check_cohort(data, networks, settings.seed_numbers[0])
    sources = (
        teacher_sources(settings.teachers, data=data, settings=settings, normalise=settings.normalise)
        if has_teachers
        else []
    )
    names = {
        "data": data.name,
        "students": [network.name for network in networks],
        "teachers": [source.name for source in sources],
    }
    refuse_compiler(settings.compile)
    experiment = open_run(data, settings, names=names, function="distill_mutual")
    numbered = enumerate(networks, start=1)
    students = {f"student {k}": data.build(one, seed=settings.seed_numbers[0]) for k, one in numbered}
    dry_run(experiment, {**students, **{f"teacher {source.name}": source for source in sources}})
    experiment.directory.begin()
    prepared, teacher = None, None
    if sources:
        prepared = prepare_teachers(sources, experiment, settings)
        target_source = choose_target_source(prepared.teacher, experiment, settings)
        teacher = target_source.teacher
        experiment.results.notes += [*prepared.notes, *target_source.notes]
    if any(network.shares_start for network in networks):
        experiment.results.note("A student was given as a module: every seed starts from its weights.")
    alone, mutual = _train(experiment, networks, teacher, settings)
    return _finish(experiment, prepared, alone, mutual, settings)


def _check_cohort(data: JobData, networks: Sequence[Network], seed: int) -> None:
    """Raise for a cohort of one, a network that does not fit, or two that start from the same weights."""
    if len(networks) < 2:
        raise InvalidValue(
            "A cohort is at least two networks.",
            received=", ".join(network.name for network in networks) or "none",
            expected="two or more students",
            remedy="name each student, the same twice for two of a kind; or distil one from a teacher",
        )
    starts = zip(networks, _start_seeds(networks, seed), strict=True)
    fingerprints = [fingerprint(data.build(network, seed=start)) for network, start in starts]
    if len(set(fingerprints)) < len(fingerprints):
        raise InvalidValue(
            "Peers must not start from the same weights: they would stay the same network.",
            received=", ".join(network.name for network in networks),
            expected="names of the zoo, or callables that build a network from the current seed",
        )


def _start_seeds(networks: Sequence[Network], seed: int) -> list[int]:
    return [start_seed(seed, index) for index in range(len(networks))]


def _train(
    experiment: Experiment, networks: Sequence[Network], teacher: Teacher | None, settings: MutualJob
) -> tuple[list[TrainedNetwork], list[TrainedNetwork]]:
    """Train every network alone, then all together, for every seed; return both, seed after seed."""
    data = experiment.data
    if len(data.labelled) < len(data.train):
        experiment.results.note(
            f"{len(data.labelled)} of {len(data.train)} training samples have labels. Networks alone see these, for as "
            "many steps as the cohort, which sees all: the unlabelled ones through its peers."
        )
    alone: list[TrainedNetwork] = []
    mutual: list[TrainedNetwork] = []
    train, labels, objective = trainer(experiment, settings), HardLabels(), settings.objective()
    for seed in settings.seed_numbers:
        starts = _start_seeds(networks, seed)
        for k, (network, start) in enumerate(zip(networks, starts, strict=True), start=1):
            role = f"alone {k}"
            alone.append(
                train(network, role=role, seed=seed, start_seed=start, samples=data.labelled, objective=labels)
            )
        members = experiment.train_cohort(
            "mutual",
            networks,
            samples=data.train,
            objective=objective,
            recipe=settings.recipe,
            seed=seed,
            weights_seeds=starts,
            update=settings.update,
            views=experiment.views(
                settings.augmentations, seed=seed if settings.num_views is None else settings.view_seed
            ),
            num_views=settings.num_views,
            teacher=teacher,
            validation=data.choosing,
        )
        for k, member in enumerate(members, start=1):
            mutual.append(replace(member, role=f"mutual {k}", origin="trained"))
            experiment.save_network(mutual[-1], f"members/{k}-seed{seed}")
    return alone, mutual


def _finish(
    experiment: Experiment,
    prepared: PreparedTeachers | None,
    alone: list[TrainedNetwork],
    mutual: list[TrainedNetwork],
    settings: MutualJob,
) -> RunResult:
    """Pool each way's networks, read the test set once, and write the record."""
    if prepared is not None:
        prepared.teacher.check_unchanged()
    ensembles = [
        _ensemble(way, seed, [network for network in networks if network.seed == seed])
        for way, networks in (("alone", alone), ("mutual", mutual))
        for seed in settings.seed_numbers
    ]
    given = prepared.networks if prepared is not None else []
    networks, measurements = evaluate_all(experiment, [*given, *alone, *mutual, *ensembles])
    effect = "its peers" if prepared is None else "its peers and the teacher"
    numbers = range(1, len(mutual) // len(settings.seed_numbers) + 1)
    return finish_run(
        experiment,
        "mutual",
        mutual,
        seeds=settings.seed_numbers,
        networks=networks,
        measurements=measurements,
        comparisons=[
            *(Comparison(f"alone {k}", f"mutual {k}", effect) for k in numbers),
            Comparison("ensemble, alone", "ensemble, mutual", "mutual learning of its members"),
        ],
    )


def _ensemble(way: str, seed: int, members: Sequence[TrainedNetwork]) -> TrainedNetwork:
    copies = [copy.deepcopy(member.module) for member in members]  # a teacher freezes what it is made of
    teacher = EnsembleTeacher([ModuleTeacher(network) for network in copies])
    return TrainedNetwork(f"ensemble, {way}", teacher.name, seed, "pooled (arithmetic mean)", PooledNetwork(teacher))
