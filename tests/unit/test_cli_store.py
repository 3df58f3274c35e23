"""limbeck cache and limbeck verify: collected once, resumed, shared, refused with both values if not theirs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from limbeck.commands import cache as cache_module
from limbeck.data import Views, augmentations_from, load_data
from limbeck.models import build, save_model
from limbeck.targets import TargetStore
from limbeck.targets.writer import read_plan
from limbeck.teachers import ModuleTeacher

DIGITS = {"input_shape": (1, 8, 8), "num_classes": 10}
NAMES = tuple("0123456789")


def save_network(folder: Path, *, seed: int = 0, spec: str = "mlp:widths=16") -> Path:
    save_model(folder, build(spec, **DIGITS, seed=seed), spec=spec, input_shape=DIGITS["input_shape"],
               class_names=NAMES, normalise=None, role="student")  # fmt: skip
    return folder


@pytest.fixture
def big(tmp_path) -> Path:
    return save_network(tmp_path / "big")


def cache(limbeck, *arguments: str | Path, out: str = "store"):
    job = ["cache", "--data", "digits", "--set", "normalise=false", "--progress", "plain", "--out", out]
    return limbeck(*job, *arguments)


def verify(limbeck, *arguments: str | Path, store: str = "store"):
    return limbeck("verify", store, "--set", "normalise=false", *arguments)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file's bytes but the manifest's, which says when it was written."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }


def test_what_is_cached_is_what_the_teacher_says_and_verify_sees_it(limbeck, tmp_path, big):
    cached = cache(limbeck, "--teacher", big, "--codec", "dense16", "--json")
    assert cached.returncode == 0, cached.stderr
    result = json.loads(cached.stdout)
    train = load_data("digits").train
    assert (result["num_samples"], result["num_collected"]) == (len(train), len(train))
    assert result["num_bytes"] == len(train) * 2 * 10 == (tmp_path / "store/member-0/shard-00000.bin").stat().st_size
    assert set(result["members"][0]["mean_kl_nats"]) == {"1", "2", "4", "8", "20"}
    assert max(result["members"][0]["mean_kl_nats"].values()) < 1e-4
    module = build("mlp:widths=16", **DIGITS, seed=0).eval()
    batch = Views().batch(train, torch.arange(7), view=None)
    stored = TargetStore.open(tmp_path / "store").targets(batch.ids).logits_at(3.0)
    with torch.no_grad():
        torch.testing.assert_close(stored.log_softmax(1), module(batch.inputs).log_softmax(1), atol=2e-3, rtol=0)
    verified = verify(limbeck, "--data", "digits", "--teacher", big, "--count", "100", "--json")
    assert verified.returncode == 0, verified.stderr
    verdict = json.loads(verified.stdout)
    assert verdict["good"]
    names = [check["name"] for check in verdict["passed"]]
    assert names == ["manifest", "files", "samples", "classes", "views", "teachers", "answers"]
    assert verdict["passed"][-1]["largest_nats"] < 1e-3
    assert "100 of 1,294 records" in verdict["passed"][-1]["verdict"]


def test_the_summary_says_codec_size_fidelity_and_break_even(limbeck, big):
    shown = cache(limbeck, "--teacher", big).stdout
    for words in ("dense8", "T=20", "100.00%", "18,116 bytes in 1 shard", "records/s", "break-even", "mlp:widths=16"):
        assert words in shown
    again = cache(limbeck, "--teacher", big)
    assert "nothing; all was finished before" in again.stdout
    assert "1 of them finished before" in again.stderr
    lines = verify(limbeck).stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["manifest", "files", "store is good"]


def test_break_even_is_collecting_over_what_an_epoch_saves():
    from limbeck.commands.collection_summary import as_text

    member = {"name": "big", "codec": "dense8", "record_bytes": 14, "note": "asked for", "num_measured": 9}
    member |= {"top1_agreement": 1.0, "mean_kl_nats": {"1": 1e-5}}
    result = {"store": "s", "data": "d", "num_samples": 5, "num_views": 2, "num_shards": 1, "finished": True}
    result |= {"members": [member], "num_collected": 10, "elapsed_seconds": 4.0, "records_per_second": 2.5, "notes": []}
    result |= {"num_bytes": 140}
    facts = {"collecting_seconds": 4.0, "teacher_seconds_per_epoch": 2.1, "teacher_records_per_second": 2.4}
    facts |= {"reading_seconds_per_epoch": 0.1, "num_epochs": 2}
    assert "costs less from 2 epochs on" in as_text(result | {"break_even": facts})
    assert "as fast as reading" in as_text(result | {"break_even": facts | {"num_epochs": None}})


def test_break_even_counts_epochs_up(tmp_path, monkeypatch):
    from limbeck.commands import collection_summary
    from limbeck.teachers import CollectionProgress, collect

    train = load_data("digits").train
    teacher = ModuleTeacher(build("mlp:widths=16", **DIGITS, seed=0))
    store = collect(teacher, train, Views(), tmp_path / "store", codec="dense8")
    seconds = iter([0.5e-3, 0.1e-3])  # of a sample: the teacher's, and reading's
    monkeypatch.setattr(collection_summary, "_seconds_per_sample", lambda *_: next(seconds))
    progress = CollectionProgress(len(train) // 2, len(train), elapsed_seconds=0.5 * 0.9e-3 * len(train))
    facts = collection_summary.break_even(store, teacher, train, Views(), batch_size=64, progress=progress)
    assert facts["collecting_seconds"] == pytest.approx(0.9e-3 * len(train))  # 0.9 / (0.5 - 0.1) = 2.25
    assert facts["num_epochs"] == 3


def stop_at(monkeypatch, call: int) -> None:
    """Press Ctrl-C in the teacher's ``call``-th pass."""
    calls, original = 0, ModuleTeacher.__call__

    def pressed(self, ids, inputs, *, view=None):
        nonlocal calls
        calls += 1
        if calls == call:
            raise KeyboardInterrupt
        return original(self, ids, inputs, view=view)

    monkeypatch.setattr(ModuleTeacher, "__call__", pressed)


@pytest.mark.parametrize("call", [1, 9])
def test_stopped_and_given_again_it_goes_on_to_the_same_bytes(limbeck, tmp_path, monkeypatch, big, call):
    job = ["--teacher", big, "--codec", "dense8", "--batch-size", "100", "--shard-bytes", "3000"]
    assert cache(limbeck, *job, out="whole").returncode == 0
    with monkeypatch.context() as patch:
        stop_at(patch, call)
        stopped = cache(limbeck, *job)
    assert stopped.returncode == 130
    assert "Traceback" not in stopped.stderr
    assert not (tmp_path / "store" / "manifest.json").exists()
    if call > 1:  # in the third shard; the first three passes measured the codec
        assert "stopped with 2 of 7 shards finished" in stopped.stderr
        assert "run the same command again" in stopped.stderr
        unfinished = verify(limbeck)
        assert unfinished.returncode == 2
        assert "2 of 7 shards" in unfinished.stderr
    resumed = cache(limbeck, *job, "--json")
    assert resumed.returncode == 0, resumed.stderr
    result = json.loads(resumed.stdout)
    assert result["num_collected"] == (1294 if call == 1 else 1294 - 400)  # what is finished is not run again
    assert contents(tmp_path / "store") == contents(tmp_path / "whole")


def test_several_processes_share_the_shards(limbeck, tmp_path, big):
    job = ["--teacher", big, "--codec", "dense8", "--batch-size", "100", "--shard-bytes", "3000"]
    assert cache(limbeck, *job, out="whole").returncode == 0
    for shards, words in (("0:2", "2 of 7 shards"), ("5:", "4 of 7 shards"), ("2:4", "6 of 7 shards")):
        part = cache(limbeck, *job, "--shards", shards)
        assert part.returncode == 0, part.stderr
        assert f"unfinished: {words}" in part.stdout
    last = cache(limbeck, *job, "--shards", "0::2")
    assert "size: 18,116 bytes in 7 shards" in last.stdout
    assert contents(tmp_path / "store") == contents(tmp_path / "whole")


def test_another_process_may_end_last_between_two_looks(limbeck, monkeypatch, big):
    job = ["--teacher", big, "--codec", "dense8", "--batch-size", "100", "--shard-bytes", "3000"]

    def outrun(*arguments, shards, **settings):
        found = collected(*arguments, shards=shards, **settings)
        monkeypatch.setattr(cache_module, "collect", collected)
        collected(*arguments, **settings)  # what others do just then
        return found

    collected = cache_module.collect
    monkeypatch.setattr(cache_module, "collect", outrun)
    part = cache(limbeck, *job, "--shards", "0:2")
    assert part.returncode == 0, part.stderr
    assert "size: 18,116 bytes in 7 shards" in part.stdout


@pytest.mark.parametrize(
    ("shards", "words"), [("3", "A:B"), ("a:b", "A:B"), ("0:4:0", "A:B"), ("0:2", "0:1"), ("1:", "0:1")]
)
def test_shards_that_are_not_there_are_refused(limbeck, big, shards, words):
    run = cache(limbeck, "--teacher", big, "--shards", shards)
    assert run.returncode == 2
    assert words in run.stderr


def test_an_ensemble_is_kept_member_by_member(limbeck, tmp_path, big):
    other = save_network(tmp_path / "other", seed=1)
    cached = cache(limbeck, "--teacher", big, "--teacher", other)
    assert cached.returncode == 0, cached.stderr
    assert "size: 36,232 bytes in 2 shards" in cached.stdout
    assert "2 shards" in verify(limbeck).stdout
    assert verify(limbeck, "--data", "digits", "--teacher", big, "--teacher", other).returncode == 0
    swapped = verify(limbeck, "--data", "digits", "--teacher", other, "--teacher", big)
    assert swapped.returncode == 2
    assert "other teachers" in swapped.stderr


def test_augmented_views_are_kept_and_answered_again(limbeck, tmp_path, big):
    views = ["--views", "2", "--augment", "jitter:1"]
    assert cache(limbeck, "--teacher", big, *views, "--view-seed", "5").returncode == 0
    plan, _ = read_plan(tmp_path / "store")
    assert plan.num_views == 2
    assert plan.views_fingerprint == Views(augmentations_from(["jitter:1"]), seed=5).fingerprint
    given = ["--data", "digits", "--teacher", big]
    verified = verify(limbeck, *given)
    assert "views: 2 views, seed 5" in verified.stdout
    assert "answers: 256 of 2,588 records" in verified.stdout
    for other in (["--view-seed", "0"], ["--augment", "flip"]):
        refused = verify(limbeck, *given, *other)
        assert refused.returncode == 2
        assert "other views" in refused.stderr


def test_spec_with_weights_is_a_trained_teacher(limbeck, big):
    run = cache(limbeck, "--teacher", f"mlp:widths=16@{big / 'student.safetensors'}")
    assert run.returncode == 0, run.stderr
    verified = verify(limbeck, "--data", "digits", "--teacher", big)
    assert verified.returncode == 0, verified.stderr  # the same weights, whatever they were named


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--teacher", "mlp:widths=16"], ["not trained", "limbeck train --data digits --student mlp:widths=16"]),
        (["--teacher", "runs/none"], ["not trained", "runs/none", "--student SPEC"]),
        ([], ["not trained", "convnet"]),  # the preset's teacher
        (["--teacher", "big", "--codec", "sparze"], ["sparze", "did you mean sparse"]),
        (["--teacher", "big", "--codec", "dense8:3"], ["dense8:3"]),
        (["--teacher", "big", "--max-kl", "0"], ["max_kl"]),
        (["--teacher", "big", "--views", "2"], ["every view is the same"]),
        (["--teacher", "big", "--augment", "flip"], ["--views N"]),
        (["--teacher", "big", "--batch-size", "0"], ["batch_size 0"]),
        (["--teacher", "big", "--precision", "fp8"], ["fp8"]),
        (["--teacher", "big", "--progress", "loud"], ["loud"]),
    ],
)
def test_mistakes_get_one_message_and_leave_no_plan(limbeck, tmp_path, big, arguments, words):
    run = cache(limbeck, *arguments)
    assert run.returncode == 2, run.stderr
    assert "Traceback" not in run.stderr
    for word in words:
        assert word in run.stderr
    assert not (tmp_path / "store" / "plan.json").exists()


def test_another_teacher_data_set_or_codec_in_the_folder_is_refused_with_both_values(limbeck, tmp_path, big):
    other = save_network(tmp_path / "other", seed=1)
    assert cache(limbeck, "--teacher", big, "--codec", "dense8").returncode == 0
    before = contents(tmp_path / "store")
    mine, theirs = (ModuleTeacher(build("mlp:widths=16", **DIGITS, seed=seed)).fingerprint for seed in (0, 1))
    data = ["--data", "digits"]
    for refused, received, expected in (
        (cache(limbeck, "--teacher", other), theirs, mine),
        (verify(limbeck, *data, "--teacher", other), theirs, mine),
        (verify(limbeck, *data, "--set", "validation_fraction=0.2"), "1150 samples", "1294 samples"),
        (verify(limbeck, *data, "--set", "normalise=true"), "mean", '"normalise": null'),
        (cache(limbeck, "--teacher", big, "--codec", "dense16"), "dense16", "dense8"),
    ):
        assert refused.returncode == 2
        lines = {line.split(":")[0].strip(): line for line in refused.stderr.splitlines()}
        assert received in lines["received"]
        assert expected in lines["expected"]
    assert contents(tmp_path / "store") == before


def test_a_flipped_byte_is_found(limbeck, tmp_path, big):
    assert cache(limbeck, "--teacher", big).returncode == 0
    shard = tmp_path / "store" / "member-0" / "shard-00000.bin"
    content = bytearray(shard.read_bytes())
    content[1234] ^= 4
    shard.write_bytes(content)
    run = verify(limbeck, "--json")
    assert run.returncode == 2
    assert "damaged: member-0/shard-00000.bin" in run.stderr
    verdict = json.loads(run.stdout)
    assert not verdict["good"]
    assert [check["name"] for check in verdict["passed"]] == ["manifest"]
    assert "SHA-256" in verdict["failed"]["received"]


def test_verify_needs_a_store_and_data_beside_a_teacher(limbeck, big):
    nothing = verify(limbeck)
    assert nothing.returncode == 2
    assert "no store" in nothing.stderr
    assert cache(limbeck, "--teacher", big).returncode == 0
    blind = verify(limbeck, "--teacher", big)
    assert blind.returncode == 2
    assert "give --data" in blind.stderr


def test_distils_configuration_serves_both(limbeck, tmp_path, big):
    (tmp_path / "job.yaml").write_text(
        f"data: digits\nteachers: {big}\nstudent: mlp:widths=8\nnormalise: false\nvalidation_fraction: 0.3\n"
        "augmentations: flip\n"
    )
    cached = limbeck("cache", "job.yaml", "--out", "store", "--progress", "silent")
    assert cached.returncode == 0, cached.stderr
    assert cached.stderr == ""
    assert "give --views N" in cached.stdout  # the configuration's student sees flips
    verified = limbeck("verify", "store", "--config", "job.yaml")
    assert verified.returncode == 0, verified.stderr
    assert "answers: 256 of 1,007 records" in verified.stdout


@pytest.mark.parametrize(
    ("command", "words"), [("cache", ["--codec", "--views", "--shards", "--out"]), ("verify", ["--teacher", "--json"])]
)
def test_help_names_every_way(limbeck, command, words):
    run = limbeck(command, "--help")
    assert run.returncode == 0
    for word in words:
        assert word in run.stdout


def test_bench_store_measures_each_codec_against_its_floor(monkeypatch):
    from limbeck.bench import store

    monkeypatch.setattr(store, "READS_PER_ROUND", 1)  # in one round the ratio is that of the medians
    result = store.run(num_samples=60, batch_size=16, num_rounds=1)
    assert set(result["ratios"]) == set(result["seconds"]) - {"memory", "memory_1000", "teacher"}
    seconds = {name: value["median"] for name, value in result["seconds"].items()}
    assert result["ratios"]["dense8"] == pytest.approx(seconds["dense8"] / seconds["memory"])
    assert result["ratios"]["lowrank_1000"] == pytest.approx(seconds["lowrank_1000"] / seconds["memory_1000"])
    assert result["ratios"]["collecting"] == pytest.approx(seconds["collecting"] / seconds["teacher"])
    assert result["bytes_per_sample"]["memory"] == 40
    assert result["bytes_per_sample"]["dense16"] == 20
    assert result["bytes_per_sample"]["dense8"] == 14
    json.dumps(result)


def test_the_command_line_maps_classes_by_flags(limbeck, tmp_path):
    """A network that knows ten digits teaches one to tell odd from even, and so does its store."""
    train = load_data("digits").train
    rows = train.inputs[:200].flatten(1).numpy()
    labels = ["odd" if int(label) % 2 else "even" for label in train.labels[:200]]
    header = ",".join([*(f"p{place}" for place in range(64)), "label"])
    lines = [",".join([*map(str, row), label]) for row, label in zip(rows.tolist(), labels, strict=True)]
    (tmp_path / "parity.csv").write_text("\n".join([header, *lines]) + "\n")
    (tmp_path / "names.txt").write_text("\n".join("0123456789") + "\n")
    save_model(tmp_path / "big", build("mlp:widths=16", input_shape=(64,), num_classes=10, seed=0),
               spec="mlp:widths=16", input_shape=(64,), class_names=NAMES, normalise=None,
               role="student")  # fmt: skip
    pairs = [part for digit in range(10) for part in ("--class-map", f"{digit}={'odd' if digit % 2 else 'even'}")]
    job = ["--data", "parity.csv", "--teacher", "big", "--set", "normalise=false"]
    cached = limbeck("cache", *job, *pairs, "--out", "store", "--json")
    assert cached.returncode == 0, cached.stderr
    assert json.loads((tmp_path / "store" / "plan.json").read_text())["class_names"] == list(NAMES)
    verified = limbeck("verify", "store", *job, *pairs)
    assert verified.returncode == 0, verified.stderr
    short = ["--student", "mlp:widths=4", "--epochs", "1", "--seeds", "1", "--progress", "silent", "--out", "run"]
    done = limbeck("distill", *job, *pairs, *short, "--store", "store", "--teacher-class-names", "names.txt")
    assert done.returncode == 0, done.stderr
    for wrong, words in (
        (["--class-map", "odd"], "TEACHER=DATA"),
        (["--teacher-class-names", "nothere.txt"], "two names or more"),
        ([], "map"),
    ):
        refused = limbeck("distill", *job, *wrong, "--progress", "silent", "--out", "other")
        assert refused.returncode == 2, refused.stdout
        assert words in refused.stderr


def test_a_runner_that_is_not_there_is_told_before_anything_is_read(limbeck, tmp_path):
    wrong = cache(limbeck, "--teacher", "no-such-folder", "--runner", "slurm")
    assert wrong.returncode == 2
    assert "slurm" in wrong.stderr
    assert "expected: one of processes, ray, serial" in wrong.stderr


def test_a_teacher_is_not_sharded_in_one_process(limbeck, tmp_path, big):
    wrong = cache(limbeck, "--teacher", big, "--teacher-sharding", "full")
    assert wrong.returncode == 2
    assert "sharded over ranks" in wrong.stderr
