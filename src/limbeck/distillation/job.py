"""``distill``: teachers, baseline and student over several seeds, measured once on the test set.

The data's way: splits -> teachers (trained, loaded or given) -> their logits once where every view is the clean one ->
for each seed the baseline and the distilled student, from the same initial weights, in the same order, for the same
number of steps -> one reading of the test set -> record -> report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from limbeck.data import Normalise
from limbeck.distillation.dark_knowledge import dark_knowledge
from limbeck.distillation.experiment import Experiment
from limbeck.distillation.result import RunResult
from limbeck.distillation.runs import evaluate_all, finish_run, open_run, trainer
from limbeck.distillation.settings import DistillSettings, seed_numbers
from limbeck.distillation.sources import Network, NetworkSource, network_from
from limbeck.distillation.splits import job_data
from limbeck.distillation.staff import Staff, TeacherSource, hire, teacher_sources
from limbeck.distillation.trained import TrainedNetwork
from limbeck.distillation.transfer import open_store, transfer_for
from limbeck.errors import DataError
from limbeck.objectives import HardLabels
from limbeck.records import Comparison
from limbeck.teachers import Teacher
from limbeck.training import Progress, Recipe, predict


def distill(
    student: NetworkSource,
    teachers: TeacherSource | Sequence[TeacherSource] = (),
    train: Any = None,
    *,
    test: Any = None,
    validation: Any = None,
    store: str | Path | None = None,
    temperature: float = 4.0,
    hard_weight: float = 0.1,
    soft_weight: float = 0.9,
    teacher_weights: Sequence[float] | None = None,
    pooling: str = "arithmetic",
    recipe: Recipe | None = None,
    teacher_recipe: Recipe | None = None,
    augmentations: Sequence[str] = (),
    teacher_augmentations: Sequence[str] | None = None,
    num_views: int | None = None,
    view_seed: int = 0,
    codec: str = "dense16",
    normalise: Normalise | None = None,
    seeds: int | Sequence[int] = 3,
    teacher_seed: int = 0,
    num_labelled: int | None = None,
    validation_fraction: float = 0.1,
    split_seed: int = 0,
    class_names: Sequence[str] | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    device: str = "auto",
    precision: str = "auto",
    progress: Progress | str = "auto",
    command: str = "limbeck.distill(...)",
    config: dict[str, Any] | None = None,
) -> RunResult:
    r"""Distil teachers into a student, beside the same student trained on labels alone, over several seeds.

    .. math:: L = w_{soft}\, T^2\, \overline{KL(p \| q)} + w_{hard}\, \overline{CE(y, q_{T=1})}

    Args:
        student: a module (copied for each seed, which then start from its weights), a callable that builds one, or a
            name of the zoo such as "mlp:widths=30x30".
        teachers: one or several. A module, a Teacher or a tensor of logits (by sample id) is used as it is and
            frozen; a callable or a name of the zoo is trained here on the labels.
        train: an (inputs, labels) pair of arrays or tensors, a torch data set, Samples, or the Splits of ``load_data``.
            Label -1 means unlabelled.
        test: likewise; a fifth of train is held out where it is missing.
        validation: likewise; held out of train by ``validation_fraction`` where it is missing. It chooses the epoch.
        store: folder of soft targets that ``limbeck cache`` or ``collect`` made of this training set; refused where it
            is of other samples, views, classes or teachers. Teachers may then be left out, and are not measured.
        temperature: T > 0 of the soft targets.
        hard_weight: of the labels' loss, >= 0.
        soft_weight: of the soft targets' loss, >= 0.
        teacher_weights: mu_k >= 0, one for each teacher.
        pooling: "arithmetic" mean of the teachers' distributions at T, or "geometric" mean.
        recipe: how the student is trained, with and without teachers.
        teacher_recipe: of teachers trained here; the student's where not given.
        augmentations: of the student's inputs, e.g. ["jitter:2", "flip"]; a teacher sees the same pixels as the
            student.
        teacher_augmentations: while a teacher is trained here; the student's where not given.
        num_views: augmented views of each sample, shown in turn, so that the teacher can answer for them once and for
            all; a new view in every pass where not given, for which it must run in every step.
        view_seed: of views that are shown in turn, shared by all seeds.
        codec: of the soft targets that the job keeps in its folder.
        normalise: of the inputs, for all networks; integer images are scaled to [0, 1] first. None leaves inputs alone.
        seeds: how many (0, 1, ...), or which.
        teacher_seed: teacher k is trained from ``teacher_seed + k``.
        num_labelled: labels kept in train, stratified; the rest serves as an unlabelled transfer set.
        validation_fraction: in [0, 1); 0 for no validation split.
        split_seed: of what is held out and which labels are kept.
        class_names: in the order of the labels.
        out: folder to write into as the job goes; a stopped job goes on from it. Nothing is written where not given.
        overwrite: remove a run that is in the folder already.
        device: "auto", "cpu", "cuda", "mps".
        precision: "auto", "fp32", "bf16", "fp16".
        progress: "auto", "bar", "plain", "silent", or a Progress.
        command: kept in the record.
        config: kept in the record and in ``config.yaml``; made from the arguments where not given.
    Returns:
        The student of the seed that validation chose, and the record of everything.
    Raises:
        LimbeckError: settings, data, networks or folder that cannot be used; nothing has been trained then.
        TrainingDiverged: a loss became NaN or infinite.
    References:
        Hinton, Vinyals, Dean 2015, arXiv:1503.02531.
    """
    settings = DistillSettings(
        temperature=temperature,
        hard_weight=hard_weight,
        soft_weight=soft_weight,
        teacher_weights=None if teacher_weights is None else tuple(float(weight) for weight in teacher_weights),
        pooling=pooling,
        recipe=recipe or Recipe(),
        teacher_recipe=teacher_recipe,
        augmentations=tuple(augmentations),
        teacher_augmentations=None if teacher_augmentations is None else tuple(teacher_augmentations),
        num_views=num_views,
        view_seed=view_seed,
        codec=codec,
        seeds=seed_numbers(seeds),
        teacher_seed=teacher_seed,
        num_labelled=num_labelled,
        validation_fraction=validation_fraction,
        split_seed=split_seed,
    )
    if train is None:
        raise DataError(
            "distill needs a training set.", remedy="pass train=(inputs, labels), or limbeck.load_data(...)"
        )
    data = job_data(train, validation=validation, test=test, class_names=class_names, settings=settings)
    network = network_from(student)
    data.build(network, seed=settings.seeds[0])
    sources = teacher_sources(teachers, data=data, settings=settings, has_store=store is not None)
    config = config or {
        "data": data.name,
        "student": network.name,
        "teachers": [source.name for source in sources],
        **settings.describe(),
        "normalise": asdict(normalise) if normalise else None,
    }
    experiment = open_run(
        data,
        normalise=normalise,
        config=config,
        device=device,
        precision=precision,
        progress=progress,
        out=out,
        overwrite=overwrite,
        command=command,
    )
    stored = None
    if store is not None:
        ready = [source.fingerprint for source in sources if isinstance(source, Teacher)]
        stored = open_store(store, experiment, settings, ready)
    staff = hire(sources if stored is None or sources else [stored], experiment, settings)
    transfer = transfer_for(stored or staff.teacher, experiment, settings)
    experiment.results.notes += [*staff.notes, *transfer.notes]
    if network.shares_start:
        experiment.results.note("The student was given as a module: every seed starts from its weights.")
    students = _train_students(experiment, network, transfer.teacher, settings)
    return _finish(experiment, staff, students, settings)


def _train_students(
    experiment: Experiment, network: Network, teacher: Teacher, settings: DistillSettings
) -> list[TrainedNetwork]:
    """Train baseline and distilled student for every seed: same initial weights, order, recipe and number of steps."""
    data = experiment.data
    if len(data.labelled) < len(data.train):
        experiment.results.note(
            f"{len(data.labelled)} of {len(data.train)} training samples have labels. The baseline sees these alone, "
            "for as many steps as the distilled student, which sees the teacher's answers for all."
        )
    ways = (
        ("baseline", data.labelled, HardLabels(), None),
        ("distilled", data.train, settings.objective(), teacher),
    )
    train = trainer(experiment, settings)
    return [
        train(network, role=role, seed=seed, samples=samples, objective=objective, teacher=guide)
        for seed in settings.seeds
        for role, samples, objective, guide in ways
    ]


def _finish(
    experiment: Experiment, staff: Staff, students: list[TrainedNetwork], settings: DistillSettings
) -> RunResult:
    """Prove the teacher unchanged, read the test set once, and write the record."""
    staff.teacher.check_unchanged()
    data, views, teacher_logits = experiment.data, experiment.clean_views(), None
    if staff.networks and staff.networks[0].role == "teacher":
        teacher_logits = predict(staff.networks[0].module, data.test, views, runtime=experiment.runtime)
    networks, measurements = evaluate_all(experiment, [*staff.networks, *students], teacher_logits=teacher_logits)
    return finish_run(
        experiment,
        "distill",
        [student for student in students if student.role == "distilled"],
        seeds=settings.seeds,
        networks=networks,
        measurements=measurements,
        dark=dark_knowledge(staff.teacher, data, views, temperature=settings.temperature),
        comparisons=[Comparison("baseline", "distilled", "the teacher")],
    )
