"""A collection ends in the same bytes however it is stopped, shared or repeated; and says what the teacher says."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from limbeck.data import Samples, Views, augmentations_from
from limbeck.errors import InvalidValue, OutputError, ShapeMismatch, StoreError, TeacherError, UnknownName
from limbeck.records import partial_path
from limbeck.targets import Dense8, Dense16, SoftTargets, SparseTargets, TailMass, TargetStore
from limbeck.targets import writer as writer_module
from limbeck.teachers import (
    EnsembleTeacher,
    LogitsTeacher,
    ModuleTeacher,
    collect,
    collecting,
    prepare_collection,
    store_teacher,
    verify_store,
)
from limbeck.teachers.record_buffer import RecordBuffer

CLASSES = tuple("abcdef")


def images(*, count: int = 41, seed: int = 0) -> Samples:
    draw = torch.Generator().manual_seed(seed)
    inputs = torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8, generator=draw)
    ids = torch.randperm(count, generator=draw) * 3
    return Samples("toy", ids, inputs, torch.arange(count) % 6, CLASSES)


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(), nn.Linear(4 * 36, 6)
    )
    with torch.no_grad():
        module[5].weight.mul_(20.0)  # sharp enough to tell one view from another
    return module


VIEWS = Views(augmentations_from(["jitter:1", "flip", "mixup:0.5"]), seed=8)
SETTINGS = {"num_views": 3, "codec": "lowrank:8", "batch_size": 4, "shard_bytes": 130}


def run(path: Path, **changes) -> TargetStore | None:
    teacher = changes.pop("teacher", None) or EnsembleTeacher([ModuleTeacher(network(0)), ModuleTeacher(network(1))])
    return collect(teacher, images(), changes.pop("views", VIEWS), path, **{**SETTINGS, **changes})


def content(path: Path) -> dict[str, bytes]:
    """Every file's bytes but the manifest's, which says when it was written."""
    return {
        str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file() and p.name != "manifest.json"
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "store"
    assert run(path) is not None
    return path


def test_stored_targets_are_those_of_the_very_pixels_at_other_batch_sizes_and_orders(whole):
    store = TargetStore.open(whole, samples=images(), views=VIEWS)
    samples = images().take(torch.randperm(41, generator=torch.Generator().manual_seed(1)))
    live = EnsembleTeacher([ModuleTeacher(network(0)), ModuleTeacher(network(1))])
    stored = store_teacher(store)
    for view in range(3):
        for positions in torch.randperm(41, generator=torch.Generator().manual_seed(view)).split(7):
            batch = VIEWS.batch(samples, positions, view=view)
            expected = live(batch.ids, batch.inputs, view=view).logits_at(2.0)
            found = stored(batch.ids, batch.inputs, view=view).logits_at(2.0)
            assert_close(torch.softmax(found / 2, 1), torch.softmax(expected / 2, 1), rtol=0, atol=2e-2)
            other = stored(batch.ids, batch.inputs, view=(view + 1) % 3).logits_at(2.0)
            assert (torch.softmax(other / 2, 1) - torch.softmax(expected / 2, 1)).abs().max() > 0.1


class Stop(Exception):
    """The process's death, as far as it can be told from inside."""


@pytest.mark.parametrize("at", [1, 2, 7, 23, 31])
def test_killed_at_any_batch_and_run_again_the_bytes_are_the_same(whole, tmp_path, at):
    calls = 0

    def stop(_):
        nonlocal calls
        calls += 1
        if calls == at:
            raise Stop

    with pytest.raises(Stop):
        run(tmp_path, progress=stop)
    with pytest.raises(StoreError, match=r"unfinished|no store"):
        TargetStore.open(tmp_path)
    assert run(tmp_path) is not None
    assert content(tmp_path) == content(whole)


@pytest.mark.parametrize("operation", ["os.replace", "os.fsync", "os.link"])
@pytest.mark.parametrize("at", [1, 2, 5, 11])
def test_killed_at_any_write_and_run_again_the_bytes_are_the_same(whole, tmp_path, monkeypatch, operation, at):
    calls, original = 0, getattr(os, operation.removeprefix("os."))

    def stop(*arguments, **settings):
        nonlocal calls
        calls += 1
        if calls == at:
            raise Stop
        return original(*arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(writer_module.os, operation.removeprefix("os."), stop)
        try:
            run(tmp_path)
        except Stop:
            with pytest.raises(StoreError):
                TargetStore.open(tmp_path)
        else:
            assert calls < at
    assert run(tmp_path) is not None
    assert content(tmp_path) == content(whole)


CHILD = """
import sys, time
sys.path.insert(0, {folder!r})
from pathlib import Path
import test_collecting as here
here.run(Path({path!r}), progress=lambda _: time.sleep(0.02))
"""


def test_killed_for_good_and_run_again_the_bytes_are_the_same(whole, tmp_path):
    path = tmp_path / "store"
    code = CHILD.format(folder=str(Path(__file__).parent), path=str(path))
    child = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while not (path / "member-0" / "shard-00003.json").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert not (path / "manifest.json").exists()
    done = len(list(path.glob("member-0/*.json")))
    seen = []
    assert run(path, progress=seen.append) is not None
    assert seen[-1].num_done == seen[-1].num_records < 123  # what was finished was not run again
    assert seen[-1].num_cached + seen[-1].num_records == 123
    assert done >= 4
    assert content(path) == content(whole)  # and nothing half-written is left


def test_several_processes_each_with_its_shards_make_the_same_store(whole, tmp_path):
    teacher = EnsembleTeacher([ModuleTeacher(network(0)), ModuleTeacher(network(1))])
    plan, _ = prepare_collection(teacher, images(), VIEWS, tmp_path, **SETTINGS)
    assert plan.num_shards == 8
    assert run(tmp_path, shards=range(1, 8, 2)) is None
    assert run(tmp_path, shards=[6, 0]) is None
    assert run(tmp_path, shards=range(2, 6, 2)) is not None
    assert content(tmp_path) == content(whole)


def test_who_prepares_second_waits_and_takes_the_plan_of_the_first(tmp_path, monkeypatch):
    teacher, original, outcome = ModuleTeacher(network(0)), collecting.make_plan, []

    def second():
        try:
            prepare_collection(teacher, images(), VIEWS, tmp_path, codec="dense16")
        except StoreError as error:
            outcome.append(error)

    def slow(*arguments, **settings):  # another comes while the first measures its codec
        monkeypatch.setattr(collecting, "make_plan", original)
        thread.start()
        time.sleep(0.2)
        assert thread.is_alive()
        return original(*arguments, **settings)

    thread = threading.Thread(target=second)
    monkeypatch.setattr(collecting, "make_plan", slow)
    prepare_collection(teacher, images(), VIEWS, tmp_path, codec="dense8")
    thread.join(20)
    assert "other settings" in str(outcome[0])
    assert outcome[0].expected["codec"] == "dense8"


@pytest.mark.parametrize("what", ["shard", "sidecar", "ids", "manifest", "shard and manifest"])
def test_a_damaged_file_is_written_again_and_that_is_said(whole, tmp_path, what):
    store = Path(shutil.copytree(whole, tmp_path / "store"))
    before, told = content(store), []
    damaged = {
        "shard": ["member-0/shard-00001.bin"],
        "sidecar": ["member-1/shard-00002.json"],
        "ids": [next(store.glob("ids-*.bin")).name],
        "manifest": ["manifest.json"],
        "shard and manifest": ["member-0/shard-00001.bin", "manifest.json"],
    }[what]
    for name in damaged:
        found = bytearray((store / name).read_bytes())
        found[len(found) // 2] ^= 1
        (store / name).write_bytes(bytes(found))
    again = run(store, progress=lambda done: told.extend(done.damaged))
    again.verify()
    assert content(store) == before
    assert set(told) == {name for name in damaged if name.endswith(".bin")}


def test_what_is_half_written_is_removed_when_its_process_is_gone_and_left_alone_while_it_lives(tmp_path):
    assert run(tmp_path, shards=[0]) is None
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    mine = partial_path(tmp_path / "member-0" / "shard-00004.bin")
    theirs = mine.with_name(mine.name.replace(f"-{os.getpid()}-", f"-{gone.pid}-"))
    elsewhere = mine.with_name(re.sub("partial-[0-9a-f]{8}", "partial-00000000", mine.name))
    for path in (mine, theirs, elsewhere):
        path.write_bytes(b"half")
    assert run(tmp_path) is not None
    assert (mine.exists(), theirs.exists(), elsewhere.exists()) == (True, False, True)


def test_a_finished_collection_runs_no_teacher_again(whole):
    before = content(whole)
    assert run(whole, progress=lambda _: pytest.fail("a batch was run")) is not None
    assert content(whole) == before


@pytest.mark.parametrize(
    ("changes", "fact"),
    [
        ({"teacher": ModuleTeacher(network(0))}, "other teachers"),
        ({"views": Views(augmentations_from(["flip"]), seed=8)}, "other views"),
        ({"num_views": 2}, "other settings"),
        ({"precision": "bf16"}, "other settings"),
        ({"codec": "dense16"}, "other settings"),
    ],
)
def test_a_folder_with_another_collection_is_refused(whole, changes, fact):
    with pytest.raises(StoreError, match=fact) as caught:
        run(whole, **changes)
    assert caught.value.received
    assert caught.value.expected


def test_each_teacher_runs_once_for_each_sample_and_view(tmp_path):
    module = network()
    seen = []
    module.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    collect(ModuleTeacher(module), images(count=1000), VIEWS, tmp_path, num_views=2, codec="dense16", batch_size=100)
    assert sum(seen) == 2000 + 256  # and some once more, to measure what the codec keeps


def test_progress_counts_records_and_time(tmp_path):
    seen = []
    run(tmp_path, progress=seen.append)
    assert [step.num_done for step in seen] == sorted(step.num_done for step in seen)
    assert seen[-1].num_done == seen[-1].num_records == 123
    assert seen[-1].seconds_left == 0
    assert (seen[0].num_done, seen[0].seconds_left) == (0, float("inf"))  # a teacher may take long over its first batch
    middle = seen[len(seen) // 2]
    expected = middle.elapsed_seconds / middle.num_done * (123 - middle.num_done)
    assert middle.seconds_left == pytest.approx(expected)


@pytest.mark.parametrize("operation", ["write", "fsync"])
def test_a_writers_error_stops_the_run_and_keeps_what_is_finished(tmp_path, monkeypatch, operation):
    calls, original = 0, os.fsync

    def full(descriptor):
        nonlocal calls
        calls += 1
        if calls > 9:
            raise OSError(28, "No space left on device")
        return original(descriptor)

    with monkeypatch.context() as patch:
        if operation == "fsync":
            patch.setattr(writer_module.os, "fsync", full)
        else:
            original_append = writer_module.ShardWriter.append

            def append(self, records):
                if self._shard == 2:
                    self._files[0].close()
                    self._files[0] = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115
                original_append(self, records)

            patch.setattr(writer_module.ShardWriter, "append", append)
        with pytest.raises(OutputError, match="Cannot write") as caught:
            run(tmp_path)
    assert "No space left" in caught.value.received
    assert list(tmp_path.glob("member-0/shard-00000.json"))
    assert not list(tmp_path.rglob("*.partial*"))
    assert run(tmp_path) is not None


def test_lower_precision_is_used_and_written_down(tmp_path):
    kinds = set()
    module = network()
    module[5].register_forward_hook(lambda _, __, output: kinds.add(output.dtype))
    store = collect(ModuleTeacher(module), images(), VIEWS, tmp_path, codec="dense16", precision="bf16")
    assert kinds == {torch.bfloat16}
    assert store.manifest.plan.precision == "bf16"
    with pytest.raises(UnknownName, match="precision"):
        collect(ModuleTeacher(network()), images(), VIEWS, tmp_path / "other", precision="fp8")


def test_the_manifest_says_what_was_measured(tmp_path):
    store = collect(ModuleTeacher(network()), images(), VIEWS, tmp_path, codec="auto")
    member = store.manifest.plan.members[0]
    assert [d.temperature for d in member.fidelity.divergences] == [1.0, 2.0, 4.0, 8.0, 20.0]
    assert member.fidelity.largest_mean([1, 2, 4, 8]) <= 0.02
    assert member.fidelity.bytes_per_sample == member.record_bytes == store.codecs[0].record_bytes
    assert member.fidelity.num_samples > 0
    assert "smallest" in member.note
    assert store.manifest.plan.class_names == list(CLASSES)
    assert store.manifest.written_by["torch"] == torch.__version__


def test_verify_store_passes_its_own_teacher_and_catches_a_forged_record(tmp_path):
    teacher = ModuleTeacher(network())
    store = collect(teacher, images(), VIEWS, tmp_path, num_views=2, codec="dense16")
    assert verify_store(store, teacher, images(), VIEWS, count=82, batch_size=5) < 1e-5
    with pytest.raises(StoreError, match="other teachers"):
        verify_store(store, ModuleTeacher(network(3)), images(), VIEWS)
    shard = tmp_path / "member-0" / "shard-00000.bin"
    shard.write_bytes(bytes(12) + shard.read_bytes()[12:])  # the record of the lowest id, uniform
    forged = TargetStore.open(tmp_path, verify="sizes")
    with pytest.raises(StoreError, match="does not hold what") as caught:
        verify_store(forged, teacher, images(), VIEWS, count=82)
    assert "sample id 0, view 0" in caught.value.received


def test_what_cannot_be_stored_is_refused_before_anything_is_written(tmp_path):
    single = ModuleTeacher(network())
    attempts = [
        (
            TeacherError,
            "ensemble of ensembles",
            {"teacher": EnsembleTeacher([EnsembleTeacher([single, single]), single])},
        ),
        (InvalidValue, "every view is the same", {"views": Views()}),
        (InvalidValue, "num_views", {"num_views": 0}),
        (InvalidValue, "Sizes", {"batch_size": 0}),
        (UnknownName, "codec", {"codec": "dense32"}),
        (TeacherError, "clean view only", {"teacher": LogitsTeacher(torch.zeros(200, 6))}),
        (ShapeMismatch, "classes", {"teacher": ModuleTeacher(nn.Sequential(nn.Flatten(), nn.Linear(192, 5)))}),
    ]
    for error, fact, changes in attempts:
        with pytest.raises(error, match=fact):
            run(tmp_path / "store", **changes)
        assert not (tmp_path / "store" / "plan.json").exists()


def test_outputs_of_one_temperature_cannot_be_stored(tmp_path):
    class Tempered(ModuleTeacher):
        def __call__(self, ids, inputs, *, view=None) -> SoftTargets:
            zeros = torch.zeros(len(ids), 2)
            return SparseTargets(zeros[:, :1].long(), zeros[:, :1], TailMass((0.0, 1.0), zeros, zeros), 6)

    with pytest.raises(TeacherError, match="cannot be stored"):
        run(tmp_path, teacher=Tempered(network()))


class ReusesItsOutput(nn.Module):
    """Gives every answer in the same place, as a compiled network may."""

    def __init__(self) -> None:
        super().__init__()
        self.network = network()
        self._place = [torch.empty(64, 6)]

    def forward(self, inputs):
        one_output = self._place[0][: len(inputs)]
        return one_output.copy_(self.network(inputs))


@pytest.mark.parametrize("codec", ["dense16", "dense8", "sparse:2"])
def test_a_teacher_may_give_every_answer_in_the_same_place(tmp_path, codec):
    settings = {"codec": codec, "num_views": 2, "batch_size": 4, "shard_bytes": 1 << 20}
    run(tmp_path / "one", teacher=ModuleTeacher(ReusesItsOutput()), **settings)
    run(tmp_path / "other", teacher=ModuleTeacher(network()), **settings)
    shard = Path("member-0", "shard-00000.bin")
    assert (tmp_path / "one" / shard).read_bytes() == (tmp_path / "other" / shard).read_bytes()


@pytest.mark.parametrize("codec", [Dense16(6), Dense8(6)])
def test_batches_that_are_encoded_together_have_the_records_of_each_alone(codec):
    logits = torch.randn(100_000, 6, generator=torch.Generator().manual_seed(0))
    block = RecordBuffer([codec], batch_size=1000)
    found = []
    for part in logits.split([1000] * 20 + [300] + [1000] * 79 + [700]):
        if not block.has_room(len(part)):
            found += block.take_records()
        block.add([part])
    found += block.take_records()
    assert [len(records) for records in found] == [42_300, 43_000, 14_700]
    assert torch.equal(torch.cat(found), torch.cat([codec.encode(part) for part in logits.split(1000)]))
    with pytest.raises(ShapeMismatch, match="another number of classes"):
        block.add([logits[:, :5]])


def test_logits_that_are_there_already_can_be_kept(tmp_path):
    samples = images()
    logits = torch.randn(int(samples.ids.max()) + 1, 6, generator=torch.Generator().manual_seed(0))
    store = collect(LogitsTeacher(logits), samples, Views(), tmp_path, codec="dense16")
    expected = logits[samples.ids] - logits[samples.ids].amax(1, keepdim=True)
    assert_close(store.targets(samples.ids).logits_at(1.0), expected, rtol=1e-3, atol=1e-6)
