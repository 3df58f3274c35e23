"""``search``: the smallest student that is good enough, by validation, and what it gives on fresh seeds.

The data's way: splits -> teachers and their soft targets, once for all trials -> settings for each candidate, early
results first -> the front by validation -> its winners on fresh seeds, beside the baseline -> one reading of the test
set -> the answer.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

from limbeck.distillation import Experiment, NetworkCache, NetworkSource, RunResult
from limbeck.distillation.arguments import Teachers, TrainData, job
from limbeck.distillation.job_arguments import JobArguments
from limbeck.distillation.prepared_teachers import PreparedTeachers, prepare_teachers, teacher_sources
from limbeck.distillation.run_directory import TRIALS_FOLDER
from limbeck.distillation.runs import evaluate_all, finish_run, open_run, student_options
from limbeck.distillation.sources import Network
from limbeck.distillation.splits import job_data
from limbeck.distillation.target_source import choose_target_source, open_store
from limbeck.distillation.task import Training
from limbeck.errors import DataError, InvalidValue, TeacherError, shortened
from limbeck.jobs import runner_from
from limbeck.objectives import objective_of_labels
from limbeck.records import Comparison, RunRecord
from limbeck.records.search_record import Point, SearchRecord
from limbeck.reports import plot_search
from limbeck.searching.candidates import Candidate, candidates_of
from limbeck.searching.front import answer_of, chosen_of_front, front_of, winners_of
from limbeck.searching.study import CandidateStudy, Storage, require_optuna
from limbeck.searching.trying import Trials
from limbeck.settings import Doc, SearchSettings
from limbeck.teachers import Teacher
from limbeck.training import evaluate

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class SearchJob(SearchSettings, JobArguments):
    """Arguments of ``limbeck.search``."""

    teachers: Teachers = ()
    train: TrainData = None
    students: Annotated[
        Sequence[NetworkSource],
        Doc('Candidates: names, ranges of names ("mlp:widths=8..128" doubles), callables; a family where none.'),
    ] = ()

    def __post_init__(self) -> None:
        SearchSettings.__post_init__(self)


@dataclass(frozen=True, eq=False)
class SearchResult:
    """What a search found.

    Args:
        run: the chosen student, and the record of the winners on the test set.
        found: every candidate by validation, the front, and the answer.
    """

    run: RunResult
    found: SearchRecord

    def __repr__(self) -> str:
        return f"SearchResult({self.found.answer!r})"

    def _repr_html_(self) -> str:
        """Return the answer and the candidates for a notebook."""
        return self.found._repr_html_()

    def plot(self) -> Figure:
        """Return validation accuracy against cost, with the front, as a matplotlib figure."""
        return plot_search(self.found)


@job(SearchJob)
def search(settings: SearchJob) -> SearchResult:
    """Find the smallest student that keeps enough of its teacher.

    Settings are tried with Optuna on one seed that all share; a quarter of the epochs decides which go on. The winners
    are trained anew on fresh seeds (``seeds``), and only they are tested. With ``out`` a stopped search goes on.

    Returns:
        The chosen student, its record, and the front.
    Raises:
        LimbeckError: settings, data, candidates or folder that cannot be used.
        MissingPackage: Optuna is not installed.
    """
    started = time.monotonic()
    require_optuna()
    if settings.jobs is not None:
        runner_from(settings.jobs)
        if settings.out is None:
            raise InvalidValue(
                "Jobs leave their networks in a folder.", received=f"jobs={settings.jobs!r}, and no folder",
                expected="out=FOLDER, or no jobs",
            )  # fmt: skip
    if settings.train is None:
        raise DataError("search needs a training set.", remedy="pass train=limbeck.load_data(...)")
    data = job_data(settings.train, settings)
    if data.choosing is None:
        raise DataError(
            "A search chooses on validation samples, and there are none.",
            remedy="validation_fraction above 0 (--validation-fraction), or a validation split",
        )
    sources = teacher_sources(
        settings.teachers,
        data=data,
        settings=settings,
        normalise=settings.normalise,
        has_store=settings.store is not None,
    )
    if not sources:
        raise TeacherError("A search measures its teacher.", received="a store alone", expected="the teacher, too")
    candidates, left_out = candidates_of(settings.students, data, settings.shown(), settings)
    names = {
        "data": data.name,
        "students": [candidate.name for candidate in candidates],
        "teachers": [source.name for source in sources],
    }
    experiment = open_run(data, settings, names=names, function="search")
    stored = None if settings.store is None else open_store(settings.store, experiment, settings, sources)
    experiment.directory.begin()
    prepared = prepare_teachers(sources, experiment, settings)
    teacher_accuracy = _teacher_accuracy(prepared, experiment)
    target_source = choose_target_source(stored or prepared.teacher, experiment, settings)
    storage = Storage(experiment.directory.path)
    studies = [CandidateStudy(candidate.name, settings, storage.of_optuna) for candidate in candidates]
    trials = Trials(_for_trials(experiment), settings, target_source.teacher, candidates, studies, storage, started)
    trials.run()
    left_out += _untried_note(candidates, studies)
    points = _points(candidates, studies)
    front = front_of(points)
    chosen = chosen_of_front(front, teacher_accuracy=teacher_accuracy, min_kept=settings.min_kept)
    winners = winners_of(front, chosen, count=settings.num_winners)
    experiment.results.notes += [
        *prepared.notes,
        *target_source.notes,
        *left_out,
        _comparison_note(studies, data.choosing),
    ]
    return _finish(
        experiment, prepared, trials, target_source.teacher, settings,
        found=SearchRecord(
            cost=settings.cost,
            teacher_accuracy=teacher_accuracy,
            num_validation=len(data.choosing),
            points=points,
            front=[point.name for point in front],
            chosen=chosen.name,
            answer="",
            notes=left_out,
            min_kept=settings.min_kept,
        ),
        winners=winners,
        chosen=chosen,
    )  # fmt: skip


def _for_trials(experiment: Experiment) -> Experiment:
    """Return an experiment whose networks, many of one name, lie in ``trials/``."""
    path, progress = experiment.directory.path, experiment.progress
    folder = None if path is None else path / TRIALS_FOLDER
    return dataclasses.replace(experiment, cache=NetworkCache(folder, experiment.runtime, progress))


def _teacher_accuracy(prepared: PreparedTeachers, experiment: Experiment) -> float:
    networks = prepared.networks
    if not networks or networks[0].role != "teacher":
        raise TeacherError(
            "A share of the teacher's accuracy needs a teacher that runs on validation samples.",
            received=prepared.teacher.name,
            expected="a network, a function or a file",
        )
    measured = evaluate(networks[0].module, experiment.validation, experiment.clean_views(), runtime=experiment.runtime)
    return measured["accuracy"]


def _points(candidates: Sequence[Candidate], studies: Sequence[CandidateStudy]) -> list[Point]:
    return [
        Point(
            candidate.name,
            candidate.cost,
            candidate.num_parameters,
            best.accuracy,
            best.nll,
            best.values,
            study.num_done,
        )
        for candidate, study in zip(candidates, studies, strict=True)
        if (best := study.best) is not None
    ]


def _untried_note(candidates: Sequence[Candidate], studies: Sequence[CandidateStudy]) -> list[str]:
    untried = [one.name for one, study in zip(candidates, studies, strict=True) if study.best is None]
    if not untried:
        return []
    return [f"{shortened(untried)}: not tried, since the budget or the trials were spent before. Give more of them."]


def _comparison_note(studies: Sequence[CandidateStudy], validation: object) -> str:
    count = sum(study.num_done for study in studies)
    return (
        f"{count} settings were compared on the same {len(validation)} validation samples, on one seed: the best of so "  # type: ignore[arg-type]
        "many looks better there than it is. The test figures are of fresh seeds, and only of the winners."
    )


def _finish(
    experiment: Experiment,
    prepared: PreparedTeachers,
    trials: Trials,
    teacher: Teacher,
    settings: SearchJob,
    *,
    found: SearchRecord,
    winners: Sequence[Point],
    chosen: Point,
) -> SearchResult:
    """Train the winners on fresh seeds, read the test set once, and write record, front and answer."""
    networks = {candidate.name: candidate.network for candidate in trials.candidates}
    tried = {point.name for point in found.points}
    cheaper = [one.name for one in trials.candidates if one.cost < chosen.cost and one.name not in tried]
    roles: dict[str, Point] = {}
    wanted: list[tuple[str, Network, Training]] = []
    others = iter(range(1, len(winners) + 1))
    for point in winners:
        role = "distilled" if point is chosen else f"front {next(others)}"
        roles[role] = point
        ways = [(role, experiment.data.train, trials.objective(point.values), teacher)]
        if point is chosen:
            labels = objective_of_labels(experiment.data.train.task)
            ways.insert(0, ("baseline", experiment.data.labelled, labels, None))  # type: ignore[arg-type]
        own = dataclasses.replace(settings, recipe=trials.recipe(point.values))
        how = partial(experiment.job_training, **student_options(own))
        wanted += [
            (way, networks[point.name], how(seed=seed, samples=samples, objective=objective, teacher=guide))
            for seed in settings.seed_numbers
            for way, samples, objective, guide in ways
        ]
    trained = experiment.train_networks(wanted, jobs=settings.jobs)
    prepared.teacher.check_unchanged()
    records, measurements = evaluate_all(experiment, [*prepared.networks, *trained])
    experiment.results.notes.insert(0, f"Chosen on validation: {chosen.name}, with {_values(chosen)}.")

    def answered(record: RunRecord) -> SearchRecord:
        return dataclasses.replace(
            found, answer=answer_of(record, roles, chosen, min_kept=settings.min_kept, untried=cheaper)
        )

    result = finish_run(
        experiment,
        "search",
        [network for network in trained if network.role == "distilled"],
        seeds=settings.seed_numbers,
        networks=records,
        measurements=measurements,
        comparisons=[Comparison("baseline", "distilled", "the teacher")],
        search_of=answered,
    )
    return SearchResult(result, answered(result.record))


def _values(point: Point) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in point.values.items())
