"""``distill``: teachers, baseline and student over several seeds, measured once on the test set.

The data's way: splits -> teachers (trained, loaded or given) -> their logits once where every view is the clean one ->
for each seed the baseline and the distilled student, from the same initial weights, in the same order, for the same
number of steps -> one reading of the test set -> record -> report.
"""

from __future__ import annotations

from limbeck.distillation.arguments import DistillJob, job
from limbeck.distillation.dark_knowledge import dark_knowledge
from limbeck.distillation.measure import TrainedNetwork
from limbeck.distillation.result import RunResult
from limbeck.distillation.sources import Network, network_from
from limbeck.distillation.splits import job_data
from limbeck.distillation.staff import Staff, hire, teacher_sources
from limbeck.distillation.transfer import open_store, transfer_for
from limbeck.distillation.workbench import Workbench
from limbeck.errors import DataError
from limbeck.objectives import HardLabels
from limbeck.records import Comparison
from limbeck.teachers import Teacher
from limbeck.training import predict


@job(DistillJob)
def distill(settings: DistillJob) -> RunResult:
    r"""Distil teachers into a student, beside the same student trained on labels alone, over several seeds.

    .. math:: L = w_{soft}\, T^2\, \overline{KL(p \| q)} + w_{hard}\, \overline{CE(y, q_{T=1})}

    A store is refused where it is of other samples, views, classes or teachers; with one, teachers may be left out, and
    are not measured. With ``num_views`` the teacher's outputs are collected once for all passes; without, augmentation
    makes it run in every step. With ``out`` a stopped job goes on from the folder.

    Returns:
        The student of the seed that validation chose, and the record of everything.
    Raises:
        LimbeckError: settings, data, networks or folder that cannot be used; nothing has been trained then.
        TrainingDiverged: a loss became NaN or infinite.
    References:
        Hinton, Vinyals, Dean 2015, arXiv:1503.02531.
    """
    store = settings.store
    if settings.train is None:
        raise DataError(
            "distill needs a training set.", remedy="pass train=(inputs, labels), or limbeck.load_data(...)"
        )
    data = job_data(settings.train, settings)
    network = network_from(settings.student)
    data.build(network, seed=settings.seed_numbers[0])
    sources = teacher_sources(settings.teachers, data=data, settings=settings, has_store=store is not None)
    names = {"data": data.name, "student": network.name, "teachers": [source.name for source in sources]}
    bench = Workbench.open(data, settings, names=names, function="distill")
    stored = None
    if store is not None:
        ready = [source.fingerprint for source in sources if isinstance(source, Teacher)]
        stored = open_store(store, bench, settings, ready)
    staff = hire(sources if stored is None or sources else [stored], bench, settings)
    transfer = transfer_for(stored or staff.teacher, bench, settings)
    notes = [*data.notes, *staff.notes, *transfer.notes]
    if network.shares_start:
        notes.append("The student was given as a module: every seed starts from its weights.")
    students = _train_students(bench, network, transfer.teacher, settings, notes)
    return _finish(bench, staff, students, settings, notes)


def _train_students(
    bench: Workbench, network: Network, teacher: Teacher, settings: DistillJob, notes: list[str]
) -> list[TrainedNetwork]:
    """Train baseline and distilled student for every seed: same initial weights, order, recipe and number of steps."""
    data = bench.data
    if len(data.labelled) < len(data.train):
        notes.append(
            f"{len(data.labelled)} of {len(data.train)} training samples have labels. The baseline sees these alone, "
            "for as many steps as the distilled student, which sees the teacher's answers for all."
        )
    students = []
    for seed in settings.seed_numbers:
        for role, samples, objective, guide in (
            ("baseline", data.labelled, HardLabels(), None),
            ("distilled", data.train, settings.objective(), teacher),
        ):
            students.append(
                bench.train_network(
                    network,
                    role=role,
                    seed=seed,
                    samples=samples,
                    objective=objective,
                    recipe=settings.recipe,
                    augmentations=settings.augmentations,
                    num_views=settings.num_views,
                    view_seed=settings.view_seed,
                    teacher=guide,
                )
            )
    return students


def _finish(
    bench: Workbench, staff: Staff, students: list[TrainedNetwork], settings: DistillJob, notes: list[str]
) -> RunResult:
    """Prove the teacher unchanged, read the test set once, and write the record."""
    staff.teacher.check_unchanged()
    data, teacher_logits = bench.data, None
    if staff.networks and staff.networks[0].role == "teacher":
        teacher_logits = predict(staff.networks[0].module, data.test, bench.clean_views(), runtime=bench.runtime)
    networks, measurements = bench.examine([*staff.networks, *students], teacher_logits=teacher_logits)
    return bench.finish(
        "distill",
        [student for student in students if student.role == "distilled"],
        seeds=settings.seed_numbers,
        networks=networks,
        measurements=measurements,
        dark=dark_knowledge(staff.teacher, data, bench.clean_views(), temperature=settings.temperature),
        notes=notes,
        comparisons=[Comparison("baseline", "distilled", "the teacher")],
    )
