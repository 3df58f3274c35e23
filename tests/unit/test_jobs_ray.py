"""Jobs on a Ray of this machine keep the promises that they keep elsewhere; skipped where Ray is not installed.

No Ray is started in, or joined by, the process of the tests: a driver that loses its raylet is ended without a word.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import mortal_teacher
import pytest
import torch

from limbeck.commands import cache
from limbeck.commands.collecting import Collection
from limbeck.errors import InvalidValue, JobsFailed, MissingPackage
from limbeck.jobs import Job, RayRunner, run_jobs, runner_from
from limbeck.jobs.ray_driver import running_here

HERE = Path(__file__).parent
PATH = os.pathsep.join([str(HERE), *filter(None, sys.path)])
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}  # others on the network are kept out
RAY_BYTES = 100 * 2**20
CLUSTER = f"""
import sys, ray
ray.init("local", num_cpus=2, include_dashboard=False, object_store_memory={RAY_BYTES}, log_to_driver=False)
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""

pytestmark = [
    pytest.mark.xdist_group("ray"),  # one Ray for all, whichever process runs them
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
]


@pytest.fixture(scope="module")
def cluster():
    """The address of a Ray with two CPUs in a process of its own, whose workers find the module of the functions."""
    environment = os.environ | TOKEN | {"PYTHONPATH": PATH, "RAY_USAGE_STATS_ENABLED": "0"}
    environment.pop("OMP_NUM_THREADS", None)
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    yield process.stdout.readline().strip()
    process.communicate(timeout=60)


@pytest.fixture
def job_functions(cluster, monkeypatch):
    for name, value in {**TOKEN, "RAY_ADDRESS": cluster}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(HERE)
    return importlib.import_module("job_functions")


@pytest.fixture
def no_cluster(monkeypatch):
    """The module of the functions, where no Ray runs that could be joined."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    folder = tempfile.mkdtemp(prefix="ray")  # tmp_path is too long for the sockets in it
    monkeypatch.setenv("RAY_TMPDIR", folder)
    monkeypatch.syspath_prepend(HERE)
    yield importlib.import_module("job_functions")
    shutil.rmtree(folder, ignore_errors=True)


def test_an_address_where_nobody_listens(tmp_path):
    with pytest.raises(InvalidValue, match="No Ray cluster answers"):
        run_jobs([Job("one", "0a", print)], tmp_path, runner="ray://127.0.0.1:1")


def test_a_ray_that_dies_costs_attempts_and_not_this_process(no_cluster, tmp_path):
    lines = []
    job = Job("one", "0a", no_cluster.end_raylet_at_first)
    (outcome,) = run_jobs([job], tmp_path, runner="ray", retries=3, progress=lines.append)
    assert (outcome.folder / "text").read_text() == "whole"
    assert outcome.num_attempts >= 2
    assert any("failed: RayLost: the process that talks to Ray ended" in line for line in lines), lines


SCRIPT = """
import sys
from pathlib import Path
import job_functions, ray
from limbeck.jobs import Job, run_jobs
ray.init(sys.argv[1], log_to_driver=False, logging_level="ERROR")

def note(folder):  # a function of the script itself, which no other process imports
    import ray
    (folder / "text").write_text(ray.get_runtime_context().gcs_address)

outcomes = run_jobs([Job("one", "0a", note)], Path(sys.argv[2]), runner="ray")
print(ray.is_initialized(), (outcomes[0].folder / "text").read_text())
"""


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_needs_failures_and_lost_workers(job_functions, tmp_path):
    first = Job("first", "0a", job_functions.write, ("one",))
    jobs = [
        Job("after", "0a", job_functions.join, (first.place(tmp_path),), needs=("first",)),
        first,
        Job("second-time", "0a", job_functions.fail_at_first, ("whole", "exit")),
        Job("raises", "0a", job_functions.fail, ("raise",)),
        Job("never", "0a", job_functions.write, ("x",), needs=("raises",)),
    ]
    with pytest.raises(JobsFailed) as caught:
        run_jobs(jobs, tmp_path, runner="ray")
    failed = [(failure.job, failure.problem, failure.num_attempts) for failure in caught.value.failures]
    assert failed == [("raises", "ValueError", 2)]
    assert caught.value.not_run == {"never": "raises"}
    assert names_in(tmp_path) == ["after-0a", "first-0a", "raises-0a.partial", "second-time-0a"]
    assert (tmp_path / "after-0a" / "text").read_text() == "one"
    assert (tmp_path / "second-time-0a" / "text").read_text() == "half, whole"


def test_a_lost_worker_is_named(job_functions, tmp_path):
    with pytest.raises(JobsFailed) as caught:
        run_jobs([Job("one", "0a", job_functions.fail, ("exit",))], tmp_path, runner="ray", retries=0)
    assert caught.value.failures[0].problem == "WorkerCrashedError"
    assert names_in(tmp_path) == ["one-0a.partial"]


def test_a_function_of_a_script_is_sent_whole_and_threads_are_bounded(job_functions, tmp_path):
    def note(folder):
        import os

        (folder / "text").write_text(os.environ["OMP_NUM_THREADS"])

    (outcome,) = run_jobs([Job("one", "0a", note)], tmp_path, runner="ray", threads_per_job=2)
    assert (outcome.folder / "text").read_text() == "2"


def test_more_threads_than_a_node_has_are_refused(job_functions, tmp_path):
    with pytest.raises(InvalidValue, match=r"enough CPUs(.|\n)*at most 2"):
        run_jobs([Job("one", "0a", job_functions.write, ("x",))], tmp_path, runner="ray", threads_per_job=3)


def test_closing_interrupts_what_runs_and_leaves_a_ray_that_was_there(job_functions, tmp_path):
    runner = RayRunner()
    assert runner.open(None) is None
    runner.start(Job("one", "0a", job_functions.work_until_stopped), tmp_path)
    work_dir = tmp_path / "one-0a.partial"
    deadline = time.monotonic() + 60
    while not (work_dir / "pid").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    runner.close()
    assert (work_dir / "checkpoint").read_text() == "stopped 1 time"
    (outcome,) = run_jobs([Job("two", "0b", job_functions.write, ("x",))], tmp_path, runner="ray")
    assert outcome.num_attempts == 1


def test_the_ray_that_a_script_is_connected_to_is_used_and_left(job_functions, cluster, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), cluster, str(tmp_path / "jobs")]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment["PYTHONPATH"] = PATH
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert run.stdout.splitlines()[-1:] == [f"True {cluster}"], run.stderr


def test_every_runner_makes_the_same_bytes(job_functions, tmp_path):
    job = Job("net", "0a", job_functions.train, (1,))
    weights = [
        (run_jobs([job], tmp_path / runner, runner=runner, threads_per_job=1)[0].folder / name).read_bytes()
        for runner in ("serial", "ray")
        for name in ("weights.safetensors", "threads")
    ]
    assert weights[:2] == weights[2:]


def test_a_collection_by_actors_is_the_plain_one_to_the_byte_though_one_dies(job_functions, tmp_path, capsys):
    teacher = mortal_teacher.mortal()
    teacher.number += secrets.randbelow(2**62)
    torch.save(teacher.state_dict(), tmp_path / "weights.pt")
    mortal_teacher.fuse(int(teacher.number)).touch()
    flags = {"data": "digits", "device": "cpu", "num_threads": 1}
    flags["teachers"] = [f"mortal_teacher:mortal@{tmp_path / 'weights.pt'}"]

    def collected(runner):
        collection = Collection(codec="dense16", batch_size=64, shard_bytes=4000, runner=runner)
        folder = tmp_path / runner
        arguments = {"file": None, "assignments": (), "collection": collection, "progress": "plain"}
        assert cache.run(flags=flags, out=folder, **arguments)["finished"]
        files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json")
        return {path.relative_to(folder): path.read_bytes() for path in files}

    assert collected("ray") == collected("serial")
    said = capsys.readouterr().err
    assert said.count("failed: ") == 1  # the shard that was lost
    assert said.count("begins again") == 1
    assert said.count(": done in") == 7


def test_actors_keep_what_a_job_has_loaded(job_functions, tmp_path):
    jobs = [Job(f"job{number}", "0a", job_functions.note_use) for number in range(6)]
    outcomes = run_jobs(jobs, tmp_path, runner=RayRunner(keeps_workers=True))
    uses = [(outcome.folder / "text").read_text().split() for outcome in outcomes]
    processes = {process for process, _ in uses}
    assert len(processes) <= 2  # of two CPUs
    for process in processes:
        own = sorted(int(count) for number, count in uses if number == process)
        assert own == list(range(1, len(own) + 1))


def test_what_cannot_be_sent_is_a_failure(job_functions, tmp_path):
    with pytest.raises(JobsFailed, match="cannot be sent to Ray"):
        run_jobs([Job("one", "0a", print, (threading.Lock(),))], tmp_path, runner="ray", retries=0)


@pytest.mark.parametrize("address", ["ray://", "ray://host", "ray://host:x"])
def test_an_address_has_a_host_and_a_port(address):
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
