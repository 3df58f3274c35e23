"""Jobs on a Ray of this machine keep the promises that they keep elsewhere; skipped where Ray is not installed."""

from __future__ import annotations

import importlib
import os
import socket
import sys
import threading
from pathlib import Path

import pytest

from limbeck.errors import InvalidValue, JobsFailed, MissingPackage
from limbeck.jobs import Job, RayRunner, run_jobs, runner_from
from limbeck.jobs.ray_runner import running_here

HERE = Path(__file__).parent


pytestmark = pytest.mark.xdist_group("ray")  # one Ray for all, whichever process runs them


def test_an_address_where_nobody_listens(tmp_path):
    ray = pytest.importorskip("ray")
    assert not ray.is_initialized(), "this test comes before the fixture"
    with pytest.raises(InvalidValue, match="No Ray cluster answers"):
        run_jobs([Job("one", "0a", print)], tmp_path, runner="ray://127.0.0.1:1")


@pytest.fixture(scope="module")
def ray():
    """A Ray of this machine with two CPUs, whose workers find the module of the jobs' functions."""
    ray = pytest.importorskip("ray")
    path = os.pathsep.join([str(HERE), *filter(None, sys.path)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.delenv("OMP_NUM_THREADS", raising=False)
        patch.syspath_prepend(HERE)
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        yield ray
        ray.shutdown()


@pytest.fixture
def errands(ray):
    return importlib.import_module("errands")


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_needs_failures_and_lost_workers(errands, tmp_path):
    first = Job("first", "0a", errands.write, ("one",))
    jobs = [
        Job("after", "0a", errands.join, (first.place(tmp_path),), needs=("first",)),
        first,
        Job("second-time", "0a", errands.fail_at_first, ("whole", "exit")),
        Job("raises", "0a", errands.fail, ("raise",)),
        Job("never", "0a", errands.write, ("x",), needs=("raises",)),
    ]
    with pytest.raises(JobsFailed) as caught:
        run_jobs(jobs, tmp_path, runner="ray")
    failed = [(failure.job, failure.problem, failure.num_attempts) for failure in caught.value.failures]
    assert failed == [("raises", "ValueError", 2)]
    assert caught.value.not_run == {"never": "raises"}
    assert names_in(tmp_path) == ["after-0a", "first-0a", "raises-0a.partial", "second-time-0a"]
    assert (tmp_path / "after-0a" / "text").read_text() == "one"
    assert (tmp_path / "second-time-0a" / "text").read_text() == "half, whole"


def test_a_lost_worker_is_named(errands, tmp_path):
    with pytest.raises(JobsFailed) as caught:
        run_jobs([Job("one", "0a", errands.fail, ("exit",))], tmp_path, runner="ray", retries=0)
    assert caught.value.failures[0].problem == "WorkerCrashedError"
    assert names_in(tmp_path) == ["one-0a.partial"]


def test_a_function_of_a_script_is_sent_whole_and_threads_are_bounded(ray, tmp_path):
    def note(folder):
        import os

        (folder / "text").write_text(os.environ["OMP_NUM_THREADS"])

    (outcome,) = run_jobs([Job("one", "0a", note)], tmp_path, runner="ray", threads_per_job=2)
    assert (outcome.folder / "text").read_text() == "2"


def test_more_threads_than_a_node_has_are_refused(errands, tmp_path):
    with pytest.raises(InvalidValue, match=r"enough CPUs(.|\n)*at most 2"):
        run_jobs([Job("one", "0a", errands.write, ("x",))], tmp_path, runner="ray", threads_per_job=3)


def test_closing_interrupts_what_runs_and_leaves_a_ray_that_was_there(ray, errands, tmp_path):
    runner = RayRunner()
    assert runner.open(None) is None
    runner.start(Job("one", "0a", errands.work_until_stopped), tmp_path)
    workplace = tmp_path / "one-0a.partial"
    while not (workplace / "pid").exists():
        ray.wait([ray.put(None)], timeout=0.02)
    runner.close()
    assert (workplace / "checkpoint").read_text() == "stopped 1 time"
    assert ray.is_initialized()


def test_every_runner_makes_the_same_bytes(errands, tmp_path):
    job = Job("net", "0a", errands.train, (1,))
    weights = [
        (run_jobs([job], tmp_path / runner, runner=runner, threads_per_job=1)[0].folder / name).read_bytes()
        for runner in ("serial", "ray")
        for name in ("weights.safetensors", "threads")
    ]
    assert weights[:2] == weights[2:]


def test_an_address_is_refused_where_a_ray_is_used_already(errands, tmp_path):
    with pytest.raises(InvalidValue, match=r"already(.|\n)*ray, which uses that one"):
        run_jobs([Job("one", "0a", errands.write, ("x",))], tmp_path, runner="ray://127.0.0.1:10001")


def test_what_cannot_be_sent_is_a_failure(ray, tmp_path):
    with pytest.raises(JobsFailed, match="cannot be sent to Ray"):
        run_jobs([Job("one", "0a", print, (threading.Lock(),))], tmp_path, runner="ray", retries=0)


@pytest.mark.parametrize("address", ["ray://", "ray://host", "ray://host:x"])
def test_an_address_has_a_host_and_a_port(address):
    pytest.importorskip("ray")
    with pytest.raises(InvalidValue, match="not the address"):
        runner_from(address)


def test_a_ray_of_this_machine_that_died_is_not_joined(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    assert running_here() is None
    (tmp_path / "ray").mkdir()
    current = tmp_path / "ray" / "ray_current_cluster"
    current.write_text("")
    assert running_here() is None
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        current.write_text(f"{address}\n")
        assert running_here() == address
    assert running_here() is None


def test_without_ray_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match=r"pip install 'limbeck\[ray\]'"):
        runner_from("ray")
