"""``search``: candidates and settings compared on validation, winners on fresh seeds, and one honest sentence."""

from __future__ import annotations

import html
import json

import pytest
import torch
from click.testing import CliRunner
from torch.testing import assert_close

import limbeck
from limbeck.cli.app import app
from limbeck.commands import search as command
from limbeck.data import Splits, load_data
from limbeck.distillation import result as result_module
from limbeck.distillation.cache import NetworkCache
from limbeck.errors import DataError, InvalidValue, UnknownName
from limbeck.records import Measurement, RunRecord
from limbeck.records.search_record import Point
from limbeck.reports.searches import headline_of
from limbeck.searching import job as search_job
from limbeck.searching.candidates import expanded
from limbeck.searching.front import answer_of, chosen_of_front, front_of, winners_of
from limbeck.searching.journal import SealedJournal
from limbeck.searching.study import CandidateStudy, Storage
from limbeck.searching.trying import Trials
from limbeck.settings import SearchSettings, TrainConfig

pytest.importorskip("optuna")
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning", "ignore::FutureWarning")
RECIPE = TrainConfig(num_epochs=4, batch_size=64)


def digits():
    splits = load_data("digits")
    few = torch.arange(400)
    return Splits(splits.train.take(few), splits.validation, splits.test, name="digits")


def run(out=None, **settings):
    given = {"students": ["mlp:widths=4..16"], "recipe": RECIPE, "seeds": 2, "num_trials": 6, "progress": "silent"}
    return limbeck.search("mlp:widths=64", digits(), out=out, **{**given, **settings})


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    out = tmp_path_factory.mktemp("search") / "run"
    return out, run(out, num_trials=9)


def test_ranges_double_from_end_to_end():
    assert expanded("convnet:channels=4x8..16x32") == [f"convnet:channels={c}" for c in ("4x8", "8x16", "16x32")]
    for wrong in ("mlp:widths=4..10", "mlp:widths=8..4", "mlp:widths=4x4..8"):
        with pytest.raises(InvalidValue, match="by doubling"):
            expanded(wrong)


def test_every_candidate_is_tried_and_the_front_has_no_beaten_one(found):
    _, result = found
    record = result.found
    assert [point.name for point in record.points] == ["mlp:widths=4", "mlp:widths=8", "mlp:widths=16"]
    assert sum(point.num_trials for point in record.points) == 9
    by_name = {point.name: point for point in record.points}
    front = [by_name[name] for name in record.front]
    for point in record.points:
        cheaper = [one.accuracy for one in front if one.cost <= point.cost]
        assert max(cheaper) >= point.accuracy
    assert record.chosen in record.front


def test_the_winners_are_tested_on_fresh_seeds_and_nothing_else_is(found):
    _, result = found
    record = result.run.record
    assert {"teacher", "baseline", "distilled"} <= set(record.roles())
    assert all(set(record.values(role, "accuracy")) == {0, 1} for role in record.roles() if role != "teacher")
    tested = {network.name for network in record.networks} - {"mlp:widths=64"}
    assert tested <= set(result.found.front)
    assert any("9 settings were compared on the same 144 validation samples" in note for note in record.notes)


def test_the_answer_is_what_was_measured(found):
    out, result = found
    record = result.run.record
    (teacher,) = record.values("teacher", "accuracy").values()
    kept = [value / teacher for value in record.values("distilled", "accuracy").values()]
    assert f"{result.found.chosen} keeps {100 * sum(kept) / 2:.1f} %" in result.found.answer
    kept_file = json.loads((out / "search.json").read_text())
    assert kept_file["answer"] == result.found.answer
    assert kept_file["chosen"] == result.run.student_name
    assert headline_of(result.found) in html.unescape((out / "report.html").read_text(encoding="utf-8"))


def test_jobs_train_groups_and_winners_the_same_for_every_runner(tmp_path, monkeypatch):
    batches = []
    train = NetworkCache.train_as_jobs

    def counted(self, tasks, *, jobs, **more):
        batches.append((jobs, [task.name for task in tasks]))
        return train(self, tasks, jobs="serial", **more)

    monkeypatch.setattr(NetworkCache, "train_as_jobs", counted)
    monkeypatch.setattr(Trials, "_can_stack", lambda self, candidate: False)
    settings = {"students": ["mlp:widths=4..8"], "num_trials": 8, "recipe": TrainConfig(num_epochs=1, batch_size=64)}
    found = [run(tmp_path / name, jobs=jobs, **settings) for name, jobs in (("a", "serial"), ("b", "processes:2"))]
    assert [names for _, names in batches[:2]] == [["trial"] * 4] * 2
    assert {"baseline", "distilled"} <= set(batches[2][1])
    assert len(batches[2][1]) == 2 * len(set(batches[2][1]))  # both seeds of each
    assert batches[3:] == [("processes:2", names) for _, names in batches[:3]]
    assert found[0].found.points == found[1].found.points
    first, second = (one.run.record for one in found)
    assert first.values("distilled", "errors") == second.values("distilled", "errors") != {}


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"jobs": "threads", "out": "run"}, UnknownName, "runner of jobs"),
        ({"jobs": "processes:0", "out": "run"}, InvalidValue, "processes:N"),
        ({"jobs": "serial"}, InvalidValue, "folder"),
    ],
)
def test_jobs_that_cannot_be_are_refused_before_a_teacher_is_trained(settings, error, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(search_job, "prepare_teachers", lambda *_: pytest.fail("a teacher was trained"))
    with pytest.raises(error, match=words):
        run(**settings)
    assert not list(tmp_path.iterdir())


def test_a_stopped_search_goes_on_without_training_anything_again(tmp_path, monkeypatch):
    def stopped(*arguments, **settings):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(search_job, "_finish", stopped)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "run")
    folders = sorted(path.name for path in (tmp_path / "run" / "trials").iterdir())
    again = run(tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run" / "trials").iterdir()) == folders
    assert sum(point.num_trials for point in again.found.points) == 6


@pytest.mark.parametrize("num_trained", [1, 2])
def test_a_search_that_was_stopped_finds_what_it_would_have_found(num_trained, found, tmp_path, monkeypatch):
    _, whole = found
    train, calls = Trials._train, iter(range(num_trained))

    def stopping(*arguments, **settings):
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return train(*arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(Trials, "_train", stopping)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "run", num_trials=9)
    again = run(tmp_path / "run", num_trials=9)
    assert again.found.points == whole.found.points
    assert again.found.answer == whole.found.answer
    assert_close(again.run.student.state_dict(), whole.run.student.state_dict(), rtol=0, atol=0)


def test_a_search_that_was_stopped_at_its_record_is_finished_by_the_same_call(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(result_module, "to_json", lambda record: pytest.fail("stopped"))
        with pytest.raises(pytest.fail.Exception):
            run(tmp_path / "run", num_trials=2, seeds=1)
    assert not (tmp_path / "run" / "record.json").exists()
    assert (tmp_path / "run" / "search.json").is_file()
    again = run(tmp_path / "run", num_trials=2, seeds=1)
    assert (tmp_path / "run" / "record.json").is_file()
    assert again.found.answer in html.unescape((tmp_path / "run" / "report.html").read_text(encoding="utf-8"))


def test_a_journal_keeps_what_happens_together_or_nothing_of_it(tmp_path):
    def logs():
        return list(SealedJournal(tmp_path / "journal").read_logs(0))

    journal = SealedJournal(tmp_path / "journal")
    journal.append_logs([{"op": 1}])

    def stopped():
        with journal.together():
            journal.append_logs([{"op": 2}])
            assert len(list(journal.read_logs(0))) == 2  # whoever is within sees it
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert logs() == [{"op": 1}]
    with journal.together():
        journal.append_logs([{"op": 3}])
        assert len(logs()) == 1
        journal.append_logs([{"op": 4}])
    assert [log["op"] for log in logs()] == [1, 3, 4]


def test_what_was_running_when_it_stopped_is_tried_again_first(tmp_path):
    settings = SearchSettings()
    study = CandidateStudy("mlp", settings, Storage(tmp_path).of_optuna)
    first = study.ask(2)[1]
    study = CandidateStudy("mlp", settings, Storage(tmp_path).of_optuna)
    assert study.num_done == 0
    assert first.values in [trial.values for trial in study.ask(2)]


def test_settings_of_one_pass_share_their_learning_rate():
    study = CandidateStudy("mlp", SearchSettings(), Storage(None).of_optuna)
    trials = study.ask(4)
    assert len({trial.values["learning_rate"] for trial in trials}) == 1
    assert len({trial.values["temperature"] for trial in trials}) == 4
    assert trials[0].values == {"temperature": 4.0, "hard_weight": pytest.approx(0.1), "learning_rate": 0.05}


def test_what_is_not_tuned_stays_as_it_was_given():
    settings = SearchSettings(tune="temperature", hard_weight=0.3, soft_weight=0.7)
    values = [trial.values for trial in CandidateStudy("mlp", settings, Storage(None).of_optuna).ask(3)]
    assert {one["hard_weight"] for one in values} == {0.3}
    assert {one["learning_rate"] for one in values} == {0.05}


def test_a_trial_below_the_median_is_dropped_early():
    study = CandidateStudy("mlp", SearchSettings(), Storage(None).of_optuna)
    for accuracy in (0.8, 0.7, 0.9, 0.8):
        (trial,) = study.ask(1)
        assert not study.is_pruned(trial, accuracy, epoch=5)
        study.tell(trial, accuracy, 0.5)
    (bad,) = study.ask(1)
    assert study.is_pruned(bad, 0.1, epoch=5)
    assert study.num_done == 5
    assert study.best.accuracy == 0.9


def test_what_was_best_for_another_is_tried_before_anything_is_drawn():
    study = CandidateStudy("mlp", SearchSettings(), Storage(None).of_optuna)
    first, best = study.ask(1)[0].values, {"temperature": 2.5, "hard_weight": 0.3, "learning_rate": 0.1}
    assert study.ask(1, from_others=[first, best])[0].values == best
    assert study.ask(1, from_others=[first, best])[0].values not in (first, best)
    together = study.ask(3, from_others=[{**best, "learning_rate": 0.02}])
    assert together[0].values == {**best, "learning_rate": 0.02}
    assert {trial.values["learning_rate"] for trial in together} == {0.02}


def test_another_seed_draws_other_settings():
    def drawn(seed):
        study = CandidateStudy("mlp", SearchSettings(search_seed=seed), Storage(None).of_optuna)
        return [trial.values for _ in range(2) for trial in study.ask(1)]

    assert drawn(0) == drawn(0)
    assert drawn(1)[0] == drawn(0)[0], "the settings as they were given come first"
    assert drawn(1)[1] != drawn(0)[1]


def test_a_candidate_is_given_up_only_after_it_tried_what_the_better_one_has():
    trials = Trials(None, SearchSettings(), None, [], [], None, 0.0)
    trials.experiment = type("Experiment", (), {"validation": range(1000)})
    trials.candidates = [type("Candidate", (), {"name": name, "cost": cost}) for name, cost in (("a", 1), ("b", 2))]
    storage = Storage(None).of_optuna
    trials.studies = [CandidateStudy(one.name, SearchSettings(), storage) for one in trials.candidates]
    for study, accuracies in zip(trials.studies, ((0.5, 0.9), (0.6,)), strict=True):
        for accuracy in accuracies:
            (trial,) = study.ask(1)
            study.tell(trial, accuracy, 1.0)
    small, large = trials.studies
    assert not trials._is_beaten(trials.candidates[1], large)
    (trial,) = large.ask(1, from_others=trials._best_of_others(trials.candidates[1]))
    assert trial.values == small.best.values
    large.tell(trial, 0.7, 1.0)
    assert trials._is_beaten(trials.candidates[1], large)


def early_epochs(monkeypatch):
    """Return a list to which each training of trials adds its number of epochs."""
    train, epochs = Trials._train, []

    def counted(self, *arguments, num_epochs, **settings):
        epochs.append(num_epochs)
        return train(self, *arguments, num_epochs=num_epochs, **settings)

    monkeypatch.setattr(Trials, "_train", counted)
    return epochs


def test_early_results_are_asked_for_where_many_settings_are_tried(monkeypatch):
    epochs = early_epochs(monkeypatch)
    run(students=["mlp:widths=4"], num_trials=4, seeds=1)
    assert epochs == [4]
    run(students=["mlp:widths=4"], num_trials=8, seeds=1)
    assert epochs[1:] == [1, 4, 1, 4]


def test_few_trials_are_shared_out_among_the_candidates():
    assert [one.num_trials for one in run(num_trials=4, seeds=1).found.points] == [2, 1, 1]


def test_candidates_that_were_not_tried_are_named():
    result = run(num_trials=1, seeds=1)
    assert [one.name for one in result.found.points] == ["mlp:widths=4"]
    told = "mlp:widths=8, mlp:widths=16: not tried, since the budget or the trials were spent before"
    assert any(note.startswith(told) for note in result.found.notes)
    assert told in command.as_text(result.found)
    small, large = point("small", 1, 0.5), point("large", 2, 0.9)
    sentence = answer_of(result.run.record, {"distilled": large}, large, min_kept=0.1, untried=[small.name])
    assert sentence.endswith("; small: not tried.")


def test_a_dear_candidate_beyond_the_budget_is_passed_over(monkeypatch):
    late = Trials._is_late
    monkeypatch.setattr(Trials, "_is_late", lambda self, one: one.name == "mlp:widths=8" or late(self, one))
    result = run(budget="1h", num_trials=6, seeds=1)
    assert [one.name for one in result.found.points] == ["mlp:widths=4", "mlp:widths=16"]


def point(name, cost, accuracy):
    return Point(name, cost, int(cost), accuracy, 0.0, {}, 1)


def test_the_cheapest_that_keeps_enough_is_chosen_with_its_neighbours():
    points = [point("a", 1, 0.5), point("b", 2, 0.9), point("c", 3, 0.85), point("d", 4, 0.95), point("e", 8, 0.96)]
    front = front_of(points)
    assert [one.name for one in front] == ["a", "b", "d", "e"]
    chosen = chosen_of_front(front, teacher_accuracy=0.96, min_kept=0.98)
    assert chosen.name == "d"
    assert [one.name for one in winners_of(front, chosen, count=3)] == ["b", "d", "e"]
    assert [one.name for one in winners_of(front, chosen, count=2)] == ["b", "d"]
    assert chosen_of_front(front, teacher_accuracy=2.0, min_kept=0.98).name == "e"


def test_the_sentence_by_hand(found):
    _, result = found
    values = {"teacher": [0.8], "front 1": [0.6, 0.62], "distilled": [0.79, 0.8]}
    measurements = [
        Measurement(role, None if role == "teacher" else seed, "test", "selected", "accuracy", value, "fraction")
        for role, found_values in values.items()
        for seed, value in enumerate(found_values)
    ] + [Measurement("teacher", None, "machine", "selected", "parameters", 1800.0, "count")]
    record = RunRecord(**{**vars(result.run.record), "measurements": measurements})
    small, good = point("small", 50, 0.6), point("good", 100, 0.8)
    told = answer_of(record, {"front 1": small, "distilled": good}, good, min_kept=0.98)
    # 0.79 / 0.8 and 1: mean 99.375 %, t(0.975, 1) = 12.706 times half the difference of 1.25.
    assert told.startswith("good keeps 99.4 % (91.4 to 107.3) of the teacher's test accuracy at 1/18 of its parameters")
    assert "the next smaller one, small, does not: 76.2 %" in told


@pytest.mark.parametrize(
    ("settings", "error", "told"),
    [
        ({"budget": "1 day"}, InvalidValue, "no duration"),
        ({"budget": "0.001s"}, InvalidValue, "budget is too small"),
        ({"max_parameters": 10}, InvalidValue, "No candidate is within the limits"),
        ({"students": ["mlp:widths=4", "mlp:widths=4..8"]}, InvalidValue, "stands twice"),
        ({"tune": "depth"}, LookupError, "no tune named"),
    ],
)
def test_what_cannot_be_searched_is_told(settings, error, told):
    with pytest.raises(error, match=told):
        run(**settings)


def test_a_budget_too_small_for_one_trial_leaves_no_record(tmp_path):
    with pytest.raises(InvalidValue, match="budget is too small for one trial"):
        run(tmp_path / "run", budget="0.001s")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert not names & {"record.json", "search.json", "report.html", "student.safetensors"}


def test_validation_samples_are_needed():
    splits = digits()
    with pytest.raises(DataError, match="chooses on validation samples"):
        limbeck.search("mlp:widths=8", Splits(splits.train, None, splits.test), validation_fraction=0.0)


def test_a_limit_leaves_candidates_out_and_says_so():
    result = run(max_parameters=600, num_trials=2)
    assert [one.name for one in result.found.points] == ["mlp:widths=4"]
    assert any(note.startswith("mlp:widths=16 was left out: 1,210 parameters") for note in result.found.notes)


def test_the_command_searches_with_the_presets_teachers(tmp_path):
    flags = {"student": ["mlp:widths=4..8"], "teachers": ["mlp:widths=32"], "recipe": {"num_epochs": 2}, "seeds": "0,1"}
    result, folder = command.run(
        file=None, flags=flags, assignments=(), out=tmp_path / "run", overwrite=False, num_trials=2, budget=None,
        jobs=None, progress="silent", command="limbeck search",
    )  # fmt: skip
    assert (folder / "search.json").is_file()
    assert "mlp:widths=4" in command.as_text(result.found)
    assert limbeck.load_model(folder).spec == result.found.chosen
    shown = CliRunner().invoke(app(), ["search", "--data", "digits", "--student", "mlp:widths=4..8", "--teacher",
                                       "mlp:widths=32", "--epochs", "2", "--seeds", "0,1", "--trials", "2", "--out",
                                       str(folder), "--progress", "silent"])  # fmt: skip
    assert shown.exit_code == 0, shown.output
    assert "holds this run" in shown.stderr
    assert result.found.answer in shown.stdout
