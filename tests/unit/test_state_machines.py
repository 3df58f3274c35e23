"""Stores and runs written, killed, damaged, read and gone on with, in any order, against models of a few lines."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from torch import nn

from limbeck.commands.verify_folder import verify_folder
from limbeck.data import Samples, Views
from limbeck.distillation.result import RunResult
from limbeck.distillation.run_directory import ASIDE, RECORD_FILE, FinishedRun, RunDirectory, dump_config
from limbeck.errors import LimbeckError, OutputError, StoreError
from limbeck.models import build
from limbeck.records import DataRecord, RunRecord, lock_scope
from limbeck.records.files import PARTIAL
from limbeck.targets import TargetStore
from limbeck.targets.writer import read_plan, shard_is_complete
from limbeck.teachers import ModuleTeacher, collect

pytestmark = pytest.mark.slow
SETTINGS = settings(
    max_examples=25, stateful_step_count=14, deadline=None, suppress_health_check=list(HealthCheck), print_blob=False
)
NUM_SHARDS = 4
SAMPLES = Samples(
    "toy", torch.arange(16), torch.arange(16 * 9, dtype=torch.uint8).view(16, 1, 3, 3), torch.arange(16) % 2, ("a", "b")
)


def teacher() -> ModuleTeacher:
    torch.manual_seed(0)
    return ModuleTeacher(nn.Sequential(nn.Flatten(), nn.Linear(9, 2)), name="linear")


def collected(folder: Path, **asked: object) -> TargetStore | None:
    return collect(teacher(), SAMPLES, Views(), folder, codec="dense16", batch_size=4, shard_bytes=16, **asked)


@contextlib.contextmanager
def killed_at(count: int) -> Iterator[None]:
    """Stop at the rename of that number, as a kill does: what is half-written stays, of a process that is gone."""
    original, left = os.replace, [count]

    def replace(source: Path, target: Path) -> None:
        left[0] -= 1
        if left[0] < 0:
            gone = Path(str(source).replace(f"-{os.getpid()}-", f"-{GONE}-"))
            if PARTIAL.search(gone.name):
                shutil.copy(source, gone)
            raise KeyboardInterrupt
        original(source, target)

    with mock.patch("os.replace", replace), contextlib.suppress(KeyboardInterrupt), lock_scope():
        yield


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


class Store(RuleBasedStateMachine):
    """The model: which shards are written, and which of them are damaged."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.folder, self.written, self.damaged = self.root / "store", set(), set()
        assert collected(self.root / "whole") is not None
        self.whole = {path.name: path.read_bytes() for path in (self.root / "whole" / "member-0").iterdir()}

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    def shard(self, number: int, suffix: str = "bin") -> Path:
        return self.folder / "member-0" / f"shard-{number:05d}.{suffix}"

    @rule(shards=st.sets(st.integers(0, NUM_SHARDS - 1), min_size=1))
    def collect(self, shards: set[int]) -> None:
        told: set[str] = set()
        store = collected(self.folder, shards=sorted(shards), progress=lambda done: told.update(done.damaged))
        assert told == {f"member-0/{self.shard(number).name}" for number in self.damaged & shards}
        self.written |= shards
        self.damaged -= shards
        assert (store is not None) == (len(self.written) == NUM_SHARDS)
        assert store is None or not any(PARTIAL.search(path.name) for path in self.folder.rglob("*"))

    @rule(shards=st.sets(st.integers(0, NUM_SHARDS - 1), min_size=1), count=st.integers(0, 9))
    def collect_and_be_killed(self, shards: set[int], count: int) -> None:
        with killed_at(count):
            collected(self.folder, shards=sorted(shards))
        if (self.folder / "plan.json").exists():
            plan, digest = read_plan(self.folder)
            whole = {number for number in range(NUM_SHARDS) if shard_is_complete(self.folder, plan, digest, number)}
            assert self.written - self.damaged <= whole <= self.written | shards
            self.written = whole
            self.damaged = {number for number in self.damaged & whole if not self.is_right(number)}

    @precondition(lambda self: self.written - self.damaged)
    @rule(data=st.data())
    def damage(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.written - self.damaged)))
        flip(self.shard(number))
        self.damaged.add(number)

    @precondition(lambda self: self.written)
    @rule(data=st.data())
    def lose_what_says_that_a_shard_is_whole(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.written)))
        self.shard(number, "json").unlink()
        self.written.discard(number)
        self.damaged.discard(number)

    @rule()
    def open_and_verify(self) -> None:
        is_finished = (self.folder / "manifest.json").exists()
        is_good = is_finished and all(self.shard(n).exists() and self.is_right(n) for n in range(NUM_SHARDS))
        try:
            store = TargetStore.open(self.folder, samples=SAMPLES)
        except StoreError:
            assert not is_good
            return
        assert is_good
        assert torch.equal(store.targets(SAMPLES.ids).logits_at(2.0), self.reference())

    def reference(self) -> torch.Tensor:
        return TargetStore.open(self.root / "whole").targets(SAMPLES.ids).logits_at(2.0)

    def is_right(self, number: int) -> bool:
        return self.shard(number).read_bytes() == self.whole[self.shard(number).name]

    @invariant()
    def what_is_written_and_not_damaged_is_right(self) -> None:
        assert all(self.is_right(number) for number in self.written - self.damaged)


class Run(RuleBasedStateMachine):
    """The model: what lies in the folder (nothing, a stopped or a finished run, of which seed), and what is damaged."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.path, self.state, self.seed = self.root / "run", "nothing", 0
        self.directory: RunDirectory | None = None
        self.had_finished = False

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    def begin(self, seed: int, overwrite: bool) -> RunDirectory:
        directory = RunDirectory.check(self.path, config={"seed": seed}, overwrite=overwrite)
        directory.begin()
        (self.path / "checkpoints" / "checkpoint.pt").write_bytes(b"")
        return directory

    @rule(seed=st.integers(0, 1), overwrite=st.booleans())
    def start(self, seed: int, overwrite: bool) -> None:
        is_other = self.state != "nothing" and seed != self.seed
        expected = None
        if not overwrite and self.state == "finished" and not is_other:
            expected = FinishedRun
        elif not overwrite and is_other:
            expected = OutputError
        try:
            with lock_scope():
                self.directory = self.begin(seed, overwrite)
        except OutputError as error:
            assert expected is not None
            assert type(error) is expected  # noqa: PT017
            return
        assert expected is None
        self.state, self.seed = "stopped", seed

    @precondition(lambda self: self.state == "stopped" and self.directory is not None)
    @rule()
    def finish(self) -> None:
        result(self.seed).save(self.path)
        self.directory.end()
        self.state, self.had_finished = "finished", True
        assert not (self.path / ASIDE).exists()

    @rule(seed=st.integers(0, 1), overwrite=st.booleans(), count=st.integers(0, 8))
    def start_and_be_killed(self, seed: int, overwrite: bool, count: int) -> None:
        with killed_at(count), contextlib.suppress(OutputError):
            directory = self.begin(seed, overwrite)
            result(seed).save(self.path)
            directory.end()
        self.look()

    def look(self) -> None:
        """Take the state from the folder, as whoever comes next does."""
        self.directory = None
        config = self.path / "config.yaml"
        self.state = "nothing"
        if config.exists():
            self.seed = 0 if config.read_text() == dump_config({"seed": 0}) else 1
            self.state = "finished" if (self.path / RECORD_FILE).exists() else "stopped"
        self.had_finished |= self.state == "finished"

    @precondition(lambda self: self.state == "finished")
    @rule(name=st.sampled_from(["record.json", "model.json", "student.safetensors", "config.yaml", "report.html"]))
    def damage_and_mend(self, name: str) -> None:
        whole = (self.path / name).read_bytes()
        flip(self.path / name)
        with pytest.raises(LimbeckError, match="damaged"):
            list(verify_folder(self.path))
        (self.path / name).write_bytes(whole)

    @precondition(lambda self: self.state == "finished")
    @rule()
    def verify(self) -> None:
        assert any("as written" in check.verdict for check in verify_folder(self.path))

    @invariant()
    def a_finished_run_is_lost_only_to_another(self) -> None:
        records = [self.path / RECORD_FILE, self.path / ASIDE / RECORD_FILE]
        assert not self.had_finished or any(record.exists() for record in records)


def result(seed: int) -> RunResult:
    data = DataRecord("toy", "0", ["a", "b"], [1, 3, 3], 16, 16, 0, 0)
    record = RunRecord(
        kind="train", created="2025-06-01T12:00:00+00:00", command="", elapsed_seconds=1.0, config={"seed": seed},
        environment={}, data=data, seeds=[seed], networks=[], measurements=[], dark_knowledge=[], notes=[],
    )  # fmt: skip
    module = build("mlp:widths=2", input_shape=(1, 3, 3), num_classes=2, seed=seed)
    return RunResult(module, "mlp:widths=2", seed, record, None)


def a_process_that_is_gone() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


GONE = a_process_that_is_gone()
Store.TestCase.settings = Run.TestCase.settings = SETTINGS
TestStore, TestRun = Store.TestCase, Run.TestCase
