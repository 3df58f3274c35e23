"""Jobs are done once, in the order of their needs, by whichever runner, and nothing done is lost."""

from __future__ import annotations

import importlib
import itertools
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from limbeck.errors import InvalidValue, JobsFailed, OutputError, UnknownName
from limbeck.jobs import Job, ProcessesRunner, SerialRunner, job_key, run_jobs, runner_from

HERE = Path(__file__).parent
RUNNERS = ["serial", "processes:2"]


@pytest.fixture
def job_functions(monkeypatch):
    """The module of the jobs' functions, which worker processes find, too."""
    monkeypatch.syspath_prepend(HERE)
    return importlib.import_module("job_functions")


def texts(outcomes):
    return {outcome.name: (outcome.folder / "text").read_text() for outcome in outcomes}


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


# Order, and what is there


@pytest.mark.parametrize("runner", RUNNERS)
def test_needs_come_first_whatever_the_order_given(runner, job_functions, tmp_path):
    first, second = (
        Job("first", "0a", job_functions.write, ("one",)),
        Job("second", "0b", job_functions.write, ("two",)),
    )
    both = (first.place(tmp_path), second.place(tmp_path))
    last = Job("last", "0c", job_functions.join, both, needs=("first", "second"))
    outcomes = run_jobs([last, first, second, first], tmp_path, runner=runner)
    assert [outcome.name for outcome in outcomes] == ["last", "first", "second"]
    assert texts(outcomes) == {"last": "one+two", "first": "one", "second": "two"}
    assert [outcome.num_attempts for outcome in outcomes] == [1, 1, 1]
    assert names_in(tmp_path) == ["first-0a", "last-0c", "second-0b"]


def test_what_is_there_is_not_done_again(job_functions, tmp_path):
    job, lines = Job("one", "0a", job_functions.write, ("first",)), []
    run_jobs([job], tmp_path)
    fails = Job("one", "0a", job_functions.fail, ("raise",))  # same name and key: the same output
    (outcome,) = run_jobs([fails], tmp_path, progress=lines.append)
    assert outcome.was_cached
    assert (outcome.num_attempts, outcome.elapsed_seconds) == (0, 0.0)
    assert texts([outcome]) == {"one": "first"}
    assert lines == ["one: was there"]


def test_another_key_is_another_output(job_functions, tmp_path):
    run_jobs([Job("one", job_key({"text": "a"}), job_functions.write, ("a",))], tmp_path)
    (outcome,) = run_jobs([Job("one", job_key({"text": "b"}), job_functions.write, ("b",))], tmp_path)
    assert not outcome.was_cached
    assert len(names_in(tmp_path)) == 2


def test_what_happens_is_told_line_by_line(job_functions, tmp_path):
    lines = []
    jobs = [
        Job("one", "0a", job_functions.write, ("x",)),
        Job("two", "0b", job_functions.fail_at_first, ("y", "raise")),
    ]
    run_jobs(jobs, tmp_path, progress=lines.append)
    assert [line.split(" in ")[0] for line in lines] == [
        "one: begins",
        "one: done",
        "two: begins",
        "two: failed: ValueError: no such luck",
        "two: begins again",
        "two: done",
    ]
    assert lines[-1].endswith("(2 of 2)")


def test_workers_run_at_once_and_never_more_than_asked_for(job_functions, tmp_path):
    jobs = [Job(f"job{i}", "0a", job_functions.note_time) for i in range(4)]
    outcomes = run_jobs(jobs, tmp_path, runner="processes:2")
    spans = [text.split() for text in texts(outcomes).values()]
    moments = [(float(begun), float(ended)) for _, begun, ended in spans]
    assert len({pid for pid, _, _ in spans} | {str(os.getpid())}) == 5
    for begun, _ in moments:
        assert sum(other <= begun < ended for other, ended in moments) <= 2


# Failures


@pytest.mark.parametrize(("runner", "way"), [("serial", "raise"), ("processes:1", "raise"), ("processes:1", "exit")])
def test_a_second_attempt_goes_on_from_what_the_first_left(runner, way, job_functions, tmp_path):
    (outcome,) = run_jobs([Job("one", "0a", job_functions.fail_at_first, ("whole", way))], tmp_path, runner=runner)
    assert texts([outcome]) == {"one": "half, whole"}
    assert outcome.num_attempts == 2
    assert names_in(outcome.folder) == ["attempts", "text"], "no trace of the failure"


def test_a_later_run_goes_on_too(job_functions, tmp_path):
    job = Job("one", "0a", job_functions.fail_at_first, ("whole", "raise"))
    with pytest.raises(JobsFailed):
        run_jobs([job], tmp_path, retries=0)
    assert texts(run_jobs([job], tmp_path, retries=0)) == {"one": "half, whole"}


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_failure_stops_only_what_needs_it(runner, job_functions, tmp_path):
    jobs = [
        Job("bad", "0a", job_functions.fail, ("raise",)),
        Job("after", "0b", job_functions.write, ("x",), needs=("bad",)),
        Job("later", "0c", job_functions.write, ("x",), needs=("after",)),
        Job("good", "0d", job_functions.write, ("x",)),
    ]
    with pytest.raises(JobsFailed) as caught:
        run_jobs(jobs, tmp_path, runner=runner, retries=2)
    (failure,) = caught.value.failures
    assert (failure.job, failure.problem, failure.message, failure.num_attempts) == (
        "bad",
        "ValueError",
        "no such luck",
        3,
    )
    assert caught.value.not_run == {"after": "bad", "later": "after"}
    assert names_in(tmp_path) == ["bad-0a.partial", "good-0d"]
    work_dir = Path(failure.work_dir)
    assert (work_dir / "attempts").read_text() == "xxx"
    assert 'raise ValueError("no such luck")' in (work_dir / "traceback.txt").read_text()
    message = str(caught.value)
    for part in ("1 of 4 jobs failed", "bad: ValueError: no such luck (3 attempts", "after: not run, it waits for bad"):
        assert part in message


@pytest.mark.parametrize(("way", "problem"), [("exit", "exit code 3"), ("kill", "signal SIGKILL")])
def test_a_worker_that_dies_takes_no_other_with_it(way, problem, job_functions, tmp_path):
    jobs = [Job("bad", "0a", job_functions.fail, (way,)), Job("good", "0b", job_functions.note_time)]
    with pytest.raises(JobsFailed) as caught:
        run_jobs(jobs, tmp_path, runner="processes:2", retries=0)
    assert [(failure.job, failure.problem) for failure in caught.value.failures] == [("bad", problem)]
    assert names_in(tmp_path) == ["bad-0a.partial", "good-0b"]


def test_what_cannot_be_sent_to_a_process_is_a_failure(tmp_path):
    with pytest.raises(JobsFailed, match="cannot be sent to a process") as caught:
        run_jobs([Job("one", "0a", lambda folder: None)], tmp_path, runner="processes:1", retries=0)
    assert caught.value.failures[0].problem in {"PicklingError", "AttributeError"}


def test_what_cannot_be_unpacked_there_is_a_failure(job_functions, tmp_path, monkeypatch):
    monkeypatch.setattr(pickle, "dumps", lambda job: b"cno_such_module\nwork\n.")
    with pytest.raises(JobsFailed) as caught:
        run_jobs([Job("one", "0a", job_functions.write, ("x",))], tmp_path, runner="processes:1", retries=0)
    assert caught.value.failures[0].problem == "ModuleNotFoundError"


# What is refused before anything runs


def test_two_jobs_of_one_name_are_refused(job_functions, tmp_path):
    jobs = [Job("one", "0a", job_functions.write, ("x",)), Job("one", "0b", job_functions.write, ("y",))]
    with pytest.raises(InvalidValue, match=r"named one(.|\n)*keys 0a and 0b"):
        run_jobs(jobs, tmp_path)
    assert names_in(tmp_path) == []


def test_a_circle_is_refused_and_named(job_functions, tmp_path):
    needs = {"start": (), "a": ("b", "start"), "b": ("c",), "c": ("a",)}
    jobs = [Job(name, "0a", job_functions.write, ("x",), needs=need) for name, need in needs.items()]
    with pytest.raises(InvalidValue, match="circle") as caught:
        run_jobs(jobs, tmp_path)
    circle = caught.value.received.split(" needs ")
    assert all(need in needs[name] for name, need in itertools.pairwise(circle))
    assert circle[0] == circle[-1]
    assert names_in(tmp_path) == []


def test_an_unknown_need_is_refused_with_near_names(job_functions, tmp_path):
    teacher, student = (Job(name, "0a", job_functions.write, ("x",)) for name in ("teacher", "student"))
    jobs = [teacher, replace(student, needs=("teachr",))]
    with pytest.raises(UnknownName, match=r"student needs teachr(.|\n)*did you mean teacher\?"):
        run_jobs(jobs, tmp_path)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(("name", "key"), [("a/b", "0a"), ("", "0a"), ("..", "0a"), ("a", "0-a"), ("a", "")])
def test_names_and_keys_name_folders(name, key):
    with pytest.raises(InvalidValue, match="cannot name a folder"):
        Job(name, key, print)


@pytest.mark.parametrize("counts", [{"threads_per_job": 0}, {"retries": -1}, {"runner": "processes:0"}])
def test_counts_are_checked(counts, tmp_path):
    with pytest.raises(InvalidValue):
        run_jobs([], tmp_path, **counts)


def test_runners_have_names():
    assert isinstance(runner_from("serial"), SerialRunner)
    assert runner_from("processes:3").num_workers == 3
    assert runner_from("processes").num_workers == ProcessesRunner().num_workers >= 1
    with pytest.raises(UnknownName, match=r"did you mean processes\?"):
        runner_from("proceses:2")
    for text in ("serial:2", "processes:x", "processes:-1", "processes:", "ray:2"):
        with pytest.raises(InvalidValue):
            runner_from(text)


def test_a_folder_that_cannot_be_is_an_error(job_functions, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        run_jobs([Job("one", "0a", job_functions.write, ("x",))], tmp_path / "file" / "jobs")


# Two at once, and the end of the parent


def test_the_second_of_two_waits_for_the_first_and_takes_its_output(job_functions, tmp_path):
    begun, go_on, attempts = threading.Event(), threading.Event(), []

    def slow(folder):
        attempts.append(folder)
        begun.set()
        go_on.wait(10)
        (folder / "text").write_text("whole")

    runs = [threading.Thread(target=run_jobs, args=([Job("one", "0a", slow)], tmp_path)) for _ in range(2)]
    runs[0].start()
    begun.wait(10)
    runs[1].start()
    time.sleep(0.1)
    go_on.set()
    for run in runs:
        run.join(10)
    assert len(attempts) == 1
    assert names_in(tmp_path) == ["one-0a"]


def test_an_output_that_appears_meanwhile_is_kept(tmp_path):
    job = Job("one", "0a", lambda folder: (appear(), (folder / "text").write_text("second")))

    def appear():
        job.place(tmp_path).mkdir()
        (job.place(tmp_path) / "text").write_text("first")

    assert texts(run_jobs([job], tmp_path)) == {"one": "first"}
    assert names_in(tmp_path) == ["one-0a"]


def test_ctrl_c_in_this_process_passes_and_keeps_the_work(job_functions, tmp_path):
    jobs = [Job("one", "0a", job_functions.fail, ("interrupt",)), Job("two", "0b", job_functions.write, ("x",))]
    with pytest.raises(KeyboardInterrupt):
        run_jobs(jobs, tmp_path)
    assert names_in(tmp_path) == ["one-0a.partial"]


PARENT = """
import signal, sys
from pathlib import Path
import job_functions
from limbeck.jobs import Job, run_jobs
signal.signal(signal.SIGINT, signal.default_int_handler)  # in a shell's background Ctrl-C is ignored
jobs = [Job(name, "0a", job_functions.work_until_stopped) for name in ("one", "two", "three")]
run_jobs(jobs, Path(sys.argv[1]), runner="processes:2")
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_parent_and_keep_their_work(number, tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, sys.path)])}
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], env=environment, stderr=subprocess.PIPE, start_new_session=True
    )
    work_dirs = [tmp_path / f"{name}-0a.partial" for name in ("one", "two")]
    await_that(lambda: all((folder / "pid").exists() for folder in work_dirs))
    pids = [int((folder / "pid").read_text()) for folder in work_dirs]
    os.killpg(parent.pid, number)  # as a terminal sends Ctrl-C: to the whole group
    _, errors = parent.communicate(timeout=60)
    assert parent.returncode == {signal.SIGKILL: -signal.SIGKILL}.get(number, -signal.SIGINT), errors
    await_that(lambda: not any(is_alive(pid) for pid in pids))
    assert [(folder / "checkpoint").read_text() for folder in work_dirs] == ["stopped 1 time"] * 2
    assert not (tmp_path / "three-0a.partial").exists()


def await_that(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_alive(pid):
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"  # an orphan's zombie is gone when somebody looks


# Threads and bits


def test_threads_are_bounded_before_libraries_are_imported(job_functions, tmp_path):
    (outcome,) = run_jobs(
        [Job("one", "0a", job_functions.note_threads)], tmp_path, runner="processes:1", threads_per_job=3
    )
    assert texts([outcome]) == {"one": "3"}


def test_this_process_gets_its_threads_back(job_functions, tmp_path):
    import torch

    before, seen = torch.get_num_threads(), []
    job = Job("one", "0a", lambda folder: seen.append(torch.get_num_threads()))
    run_jobs([job], tmp_path, threads_per_job=before + 1)
    assert seen == [before + 1]
    assert torch.get_num_threads() == before


@pytest.mark.slow
def test_every_runner_makes_the_same_bytes(job_functions, tmp_path):
    job = Job("net", "0a", job_functions.train, (1,))
    folders = [run_jobs([job], tmp_path / runner[:6], runner=runner, threads_per_job=2)[0].folder for runner in RUNNERS]
    for name in ("weights.safetensors", "threads"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
    assert (folders[0] / "threads").read_text() == "2"
