"""``distill_mutual``: a cohort whose networks learn from each other, beside the same networks alone.

The data's way: splits -> a frozen teacher's answers, where there is one -> for each seed every network alone, then the
cohort from the same initial weights -> their ensembles -> one reading of the test set -> record -> report.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

from limbeck.distillation.arguments import MutualJob, job
from limbeck.distillation.measure import PooledNetwork, TrainedNetwork
from limbeck.distillation.result import RunResult
from limbeck.distillation.sources import Network, network_from
from limbeck.distillation.splits import JobData, job_data
from limbeck.distillation.staff import Staff, hire, teacher_sources
from limbeck.distillation.transfer import transfer_for
from limbeck.distillation.workbench import Workbench
from limbeck.errors import InvalidValue, TeacherError
from limbeck.models import fingerprint
from limbeck.objectives import HardLabels
from limbeck.records import Comparison
from limbeck.teachers import EnsembleTeacher, ModuleTeacher, Teacher

START_STRIDE = 1000  # network k of run s starts from the weights of seed s + START_STRIDE * (k - 1)


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
    sources = teacher_sources(settings.teachers, data=data, settings=settings) if has_teachers else []
    names = {
        "data": data.name,
        "students": [network.name for network in networks],
        "teachers": [source.name for source in sources],
    }
    bench = Workbench.open(data, settings, names=names, function="distill_mutual")
    notes = [*data.notes]
    staff, teacher = None, None
    if sources:
        staff = hire(sources, bench, settings)
        transfer = transfer_for(staff.teacher, bench, settings)
        teacher = transfer.teacher
        notes += [*staff.notes, *transfer.notes]
    if any(network.shares_start for network in networks):
        notes.append("A student was given as a module: every seed starts from its weights.")
    trained = _train(bench, networks, teacher, settings, notes)
    return _finish(bench, staff, trained, settings, notes)


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
    return [seed + START_STRIDE * index for index in range(len(networks))]


def _train(
    bench: Workbench, networks: Sequence[Network], teacher: Teacher | None, settings: MutualJob, notes: list[str]
) -> dict[str, list[TrainedNetwork]]:
    """Train every network alone, then all together, for every seed; by "alone" and "mutual", seed after seed."""
    data: JobData = bench.data
    if len(data.labelled) < len(data.train):
        notes.append(
            f"{len(data.labelled)} of {len(data.train)} training samples have labels. Networks alone see these, for as "
            "many steps as the cohort, which sees all: the unlabelled ones through its peers."
        )
    trained: dict[str, list[TrainedNetwork]] = {"alone": [], "mutual": []}
    for seed in settings.seed_numbers:
        starts = _start_seeds(networks, seed)
        for number, (network, start) in enumerate(zip(networks, starts, strict=True), start=1):
            alone = bench.train_network(
                network,
                role=f"alone {number}",
                seed=seed,
                start_seed=start,
                samples=data.labelled,
                objective=HardLabels(),
                recipe=settings.recipe,
                augmentations=settings.augmentations,
                num_views=settings.num_views,
                view_seed=settings.view_seed,
            )
            trained["alone"].append(alone)
        members = bench.train_cohort(
            networks,
            role="mutual",
            seed=seed,
            start_seeds=starts,
            samples=data.train,
            objective=settings.objective(),
            recipe=settings.recipe,
            update=settings.update,
            teacher=teacher,
            augmentations=settings.augmentations,
            num_views=settings.num_views,
            view_seed=settings.view_seed,
        )
        for number, member in enumerate(members, start=1):
            bench.save_network(member, f"members/{number}-seed{seed}")
        trained["mutual"] += members
    return trained


def _finish(
    bench: Workbench,
    staff: Staff | None,
    trained: dict[str, list[TrainedNetwork]],
    settings: MutualJob,
    notes: list[str],
) -> RunResult:
    """Pool each way's networks, read the test set once, and write the record."""
    if staff is not None:
        staff.teacher.check_unchanged()
    num_students = len(trained["mutual"]) // len(settings.seed_numbers)
    ensembles = [
        _ensemble(way, seed, [network for network in networks if network.seed == seed])
        for way, networks in trained.items()
        for seed in settings.seed_numbers
    ]
    given = staff.networks if staff is not None else []
    networks, measurements = bench.examine(
        [*given, *trained["alone"], *trained["mutual"], *ensembles], teacher_logits=None
    )
    effect = "its peers" if staff is None else "its peers and the teacher"
    numbers = range(1, num_students + 1)
    return bench.finish(
        "mutual",
        trained["mutual"],
        seeds=settings.seed_numbers,
        networks=networks,
        measurements=measurements,
        dark=[],
        notes=notes,
        comparisons=[
            *(Comparison(f"alone {number}", f"mutual {number}", effect) for number in numbers),
            Comparison("ensemble, alone", "ensemble, mutual", "mutual learning of its members"),
        ],
    )


def _ensemble(way: str, seed: int, members: Sequence[TrainedNetwork]) -> TrainedNetwork:
    copies = [copy.deepcopy(member.module) for member in members]  # a teacher freezes what it is made of
    teacher = EnsembleTeacher([ModuleTeacher(network) for network in copies])
    return TrainedNetwork(f"ensemble, {way}", teacher.name, seed, "pooled (arithmetic mean)", PooledNetwork(teacher))
