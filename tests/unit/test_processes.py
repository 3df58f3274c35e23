"""Several processes on one folder: they share a store, and one of them at a time is at work on anything else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from limbeck.distillation.run_directory import MARK, MARKER, RunDirectory
from limbeck.errors import RankLost
from limbeck.models import build, save_model
from limbeck.ranks.group import end_with_parent
from limbeck.records import (
    FolderInUse,
    FolderLock,
    folder_lock,
    lock_scope,
    partial_path,
    remove_stale,
    waiting_lock,
    write_text,
)
from limbeck.records.locking import LOCK_FILE
from limbeck.specialists import SpecialistPlan
from limbeck.targets import TargetStore

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")

COLLECT = """
import os, random, sys, time
from pathlib import Path
import torch
from limbeck.data import Samples, Views
from limbeck.teachers import ModuleTeacher, collect

root, number, count, rounds = Path(sys.argv[1]), *map(int, sys.argv[2:])
torch.set_num_threads(1)
torch.manual_seed(0)
samples = Samples("toy", torch.arange(64), torch.randint(0, 256, (64, 1, 6, 6), dtype=torch.uint8),
                  torch.arange(64) % 4, ("a", "b", "c", "d"))
teacher = ModuleTeacher(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 4)), name="linear")
replace = os.replace

def slow(source, target):  # so that they meet
    time.sleep(random.random() / 500)
    replace(source, target)

os.replace = slow
for turn in range(rounds):
    (root / f"ready-{turn}-{number}").touch()
    while not all((root / f"ready-{turn}-{other}").exists() for other in range(count)):
        time.sleep(0.001)
    own = range(number, 16, count) if turn % 2 else None  # every second time they all do everything
    collect(teacher, samples, Views(), root / f"store-{turn}", codec="lowrank:6", batch_size=4, shard_bytes=24,
            shards=own)
"""
AT_WORK = """
import sys, time
from pathlib import Path
from limbeck.records import FolderLock
lock = FolderLock(Path(sys.argv[1]), guards=Path(sys.argv[1]).parent)
lock.acquire()
print("at work", flush=True)
time.sleep(60)
"""
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path) -> Iterator[Start]:
    """Start a Python script in a process of its own; whatever still runs at the end is killed."""
    running = []

    def begin(script: str, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "ignore", "-c", script, *map(str, arguments)]
        running.append(
            subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_three_processes_collect_one_store_whole_and_to_the_same_bytes(tmp_path, start):
    count, rounds = 3, 6
    processes = [start(COLLECT, tmp_path, number, count, rounds) for number in range(count)]
    for process in processes:
        _, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors
    stores = [tmp_path / f"store-{turn}" for turn in range(rounds)]
    contents = []
    for store in stores:
        TargetStore.open(store).verify()
        files = {str(path.relative_to(store)): path for path in store.rglob("*") if path.is_file()}
        contents.append({name: path.read_bytes() for name, path in files.items() if name != "manifest.json"})
    assert all(content == contents[0] for content in contents)
    assert not any("partial" in name for name in contents[0])


def at_work(start: Start, path: Path) -> subprocess.Popen[str]:
    """Start a process that has a lock until it is killed."""
    process = start(AT_WORK, path)
    assert process.stdout is not None
    assert process.stdout.readline() == "at work\n"
    return process


def begin(folder: Path, *, seed: int = 0, overwrite: bool = False) -> None:
    with lock_scope():
        RunDirectory.check(folder, config={"seed": seed}, overwrite=overwrite).begin()


def test_who_comes_second_is_told_who_is_at_work_until_that_is_killed(tmp_path, start):
    folder = tmp_path / "run"
    begin(folder)
    first = at_work(start, folder / MARKER)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    for changes in ({}, {"overwrite": True}, {"seed": 1}):
        with pytest.raises(FolderInUse, match="Another process is at work") as refused:
            begin(folder, **changes)
        assert f"process {first.pid} on {os.uname().nodename}, since 20" in str(refused.value)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    first.send_signal(signal.SIGKILL)
    first.wait()
    begin(folder)  # the lock went with its process
    assert (folder / MARKER).read_text() == MARK


COMMANDS = {
    "train": "train --out out",
    "distill": "distill --out out --overwrite",
    "mutual": "distill --method mutual --out out",
    "search": "search --out out",
    "reproduce": "reproduce hinton2015-mnist --smoke --out out",
    "specialists": "specialists train --generalist saved --plan plan.yaml --data digits --out out --set normalise=0",
    "export": "export saved --data digits --out out",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_that_writes_a_folder_refuses_one_that_is_at_work(limbeck, tmp_path, start, name):
    digits = {"input_shape": (1, 8, 8), "num_classes": 10}
    module = build("mlp:widths=4", **digits, seed=0)
    names = [str(number) for number in range(10)]
    save_model(
        tmp_path / "saved", module, spec="mlp:widths=4", input_shape=(1, 8, 8), class_names=names, normalise=None
    )
    SpecialistPlan(names, [["3", "5"]]).save(tmp_path / "plan.yaml")
    out = tmp_path / "out"
    out.mkdir()
    is_run = name in ("train", "distill", "mutual", "search")
    first = at_work(start, tmp_path / ".out.lock" if name == "export" else out / (MARKER if is_run else LOCK_FILE))
    run = limbeck(*COMMANDS[name].split())
    assert run.returncode == 2, run.stderr
    assert "Another process is at work on out." in run.stderr
    assert f"received: process {first.pid} on" in run.stderr
    assert [path.name for path in out.iterdir()] in ([], [MARKER], [LOCK_FILE])


def test_a_lock_ends_with_its_scope_however_that_ends(tmp_path):
    def fails() -> None:
        with lock_scope():
            folder_lock(tmp_path).acquire()
            raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            fails()
    lock = FolderLock(tmp_path / "away.lock", guards=tmp_path, is_removed=True)
    with lock:
        assert lock.owner()["pid"] == os.getpid()
        with pytest.raises(FolderInUse):
            FolderLock(tmp_path / "away.lock", guards=tmp_path).acquire()
    assert not (tmp_path / "away.lock").exists()


def test_a_wait_ends_when_the_other_is_gone(tmp_path, start):
    first = at_work(start, tmp_path / LOCK_FILE)
    threading.Timer(0.2, first.kill).start()
    with waiting_lock(tmp_path):
        assert first.wait() == -signal.SIGKILL


def test_names_for_half_written_files_fit_and_are_cleared_by_name_alone(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    names = ["a[1].json", "ä" * 120, "b.json"]
    for name in names:
        write_text(tmp_path / name, name)
        partial = partial_path(tmp_path / name)
        partial.with_name(partial.name.replace(f"-{os.getpid()}-", f"-{gone.pid}-")).write_text("half")
    for left, name in zip((2, 1, 0), names, strict=True):
        remove_stale(tmp_path, name)
        assert len(list(tmp_path.iterdir())) == len(names) + left


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems cannot")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of a fork beside threads
def test_a_rank_whose_agent_was_killed_is_told_to_stop():
    ready, told = os.pipe(), os.pipe()
    agent = os.fork()
    if agent == 0:
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, lambda *_: (os.write(told[1], b"stopped"), os._exit(0)))
            end_with_parent()
            os.write(ready[1], b"x")
            time.sleep(30)
            os._exit(1)
        time.sleep(30)
        os._exit(1)
    os.close(told[1])
    assert os.read(ready[0], 1) == b"x"
    os.kill(agent, signal.SIGKILL)
    os.waitpid(agent, 0)
    assert os.read(told[0], 7) == b"stopped"
    for descriptor in (*ready, told[0]):
        os.close(descriptor)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems cannot")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of a fork beside threads
def test_a_rank_whose_agent_ended_while_it_started_does_not_look_for_the_others():
    told, gone = os.pipe(), os.pipe()
    agent = os.fork()
    if agent == 0:
        if os.fork() == 0:
            os.close(gone[1])
            os.read(gone[0], 1)  # until the agent has ended
            try:
                end_with_parent()
            except RankLost as error:
                os.write(told[1], str(error).encode())
            os._exit(0)
        os._exit(0)
    os.close(told[1])
    os.waitpid(agent, 0)
    os.close(gone[1])
    assert b"torchrun has ended" in os.read(told[0], 100)
    for descriptor in (gone[0], told[0]):
        os.close(descriptor)
