"""One student on the ranks of torchrun is the student of one process, and a rank that ends, ends the others."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import rank_jobs
import torch
from rank_launch import start_ranks

from limbeck.commands.verify import checks
from limbeck.teachers import ModuleTeacher
from limbeck.training.share import share_of

LAUNCH = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
ROUNDING = 1e-5
pytestmark = pytest.mark.xdist_group("ranks")  # on one worker, which then launches each job once


def job(num_ranks: int, what: Callable[[Path], dict], out: Path, *, max_restarts: int = 0) -> tuple[dict, str]:
    logs = out.with_name(f"{out.name}-logs")
    code, stderr = start_ranks(num_ranks, rank_jobs.run, what, out, logs=logs, max_restarts=max_restarts)
    assert code == 0, stderr
    return json.loads((out / "result.json").read_text()), stderr


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    out = tmp_path_factory.mktemp("alone")
    return {job.__name__: job(out) for job in (rank_jobs.whole, rank_jobs.ways, rank_jobs.store, rank_jobs.reproduced)}


@pytest.mark.parametrize("num_parts", [1, 3])
@pytest.mark.parametrize("num_ranks", [1, 2, 3, 4])
@pytest.mark.parametrize("num_samples", [1, 5, 12, 31, 64])
def test_shares_are_the_batch_cut_into_pieces_and_their_parts_are_those_of_one_process(
    num_samples, num_ranks, num_parts
):
    shares = [share_of(num_samples, num_parts=num_parts, rank=rank, num_ranks=num_ranks) for rank in range(num_ranks)]
    one = share_of(num_samples, num_parts=num_parts, rank=0, num_ranks=1)
    for number, whole in enumerate(one.parts):
        rows = [range(*share.rows[number]) for share in shares] if shares[0].is_divided else [range(num_samples)]
        parts = [share.parts[number] for share in shares]
        if shares[0].is_divided:
            assert [row for part in rows for row in part] == list(range(whole.start, whole.end))
            assert all(len(part) > 0 for part in rows)
            assert [part.first for part in parts] == [row.start - whole.start for row in rows]
            assert all(part.total == whole.total for part in parts)
        else:
            assert all(part == whole for part in parts)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What two ranks did, and their folder."""
    out = tmp_path_factory.mktemp("two")
    return job(2, rank_jobs.together, out)[0], out


def check_same(found, expected):
    assert found["losses"] == pytest.approx(expected["losses"], rel=ROUNDING)
    assert found["errors"] == expected["errors"]
    assert found["steps"] == expected["steps"] == rank_jobs.NUM_STEPS


@pytest.mark.slow
def test_two_ranks_train_the_network_of_one_process(two, alone):
    found, out = two
    check_same(found["whole"], alone["whole"])
    assert found["whole"]["windows"] == pytest.approx(alone["whole"]["windows"], rel=ROUNDING)
    events = [json.loads(line)["event"] for line in (out / "events.jsonl").read_text().splitlines()]
    assert (events.count("begin"), events.count("epoch"), events.count("end")) == (1, 8, 1)  # rank 0 alone writes


@pytest.mark.slow
def test_two_ranks_train_it_through_the_compiler(two, alone):
    found = two[0]["compiled"]
    if "refused" in found and torch.__version__.startswith("2.6."):
        pytest.skip(found["refused"])
    check_same(found, alone["whole"])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "rounding"), [("adamw", ROUNDING), ("lion", ROUNDING), ("bf16", 0.02)])
def test_two_ranks_train_it_by_other_optimisers_and_in_bfloat16(name, rounding, two, alone):
    found, expected = two[0]["ways"][name], alone["ways"][name]
    assert found["losses"] == pytest.approx(expected["losses"], rel=rounding)
    assert found["steps"] == expected["steps"] == 52


@pytest.mark.slow
def test_four_ranks_train_the_network_of_one_process(alone, tmp_path):
    found, _ = job(4, rank_jobs.whole, tmp_path / "four")
    check_same(found, alone["whole"])


@pytest.mark.slow
def test_ranks_that_were_stopped_are_gone_on_with_by_one_process(two, alone):
    found, out = two
    assert found["stopped"].startswith("student stopped after step")
    resumed = rank_jobs.train(checkpoint=out / "stopped.pt")
    check_same(rank_jobs.described(resumed), alone["whole"])


@pytest.mark.slow
def test_ranks_that_were_stopped_go_on_to_the_same_bits_on_each(two):
    found, _ = two
    assert found["resumed"] == 2 * [{name: found["whole"][name] for name in found["resumed"][0]}]


@pytest.mark.slow
def test_ranks_collect_the_store_of_one_process_to_the_byte(two, alone):
    assert two[0]["store"] == alone["store"]


@pytest.mark.slow
def test_a_recipe_on_ranks_observes_what_one_process_observes(two, alone):
    found, out = two
    expected = alone["reproduced"]["observed"]
    assert found["reproduced"]["observed"] == pytest.approx(expected, rel=ROUNDING)
    assert "student test_errors" in expected
    assert found["reproduced"]["found"] == found["reproduced"]["observed"]
    record = json.loads((out / "tiny" / "record.json").read_text())
    assert record["created"] == found["reproduced"]["created"]
    assert record["environment"]["ranks"] == 2
    assert (out / "tiny" / "picture.txt").read_text() == "drawn once"


@pytest.mark.slow
def test_jobs_are_refused_on_ranks(two):
    assert "torchrun's ranks would each do all of it" in two[0]["reproduced"]["jobs"]


@pytest.mark.slow
@pytest.mark.skipif(not rank_jobs.SHARDS_ON_CPU, reason="torch shares networks out on GPUs alone")
def test_a_sharded_teacher_says_what_it_says_in_one_process(two):
    found = two[0]["sharded"]
    expected = rank_jobs.said(ModuleTeacher(rank_jobs.network(9)))
    for count in ("many", "one"):
        torch.testing.assert_close(torch.tensor(found[count]), torch.tensor(expected[count]))
    assert found["kept"] < 0.6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("batch", "The ranks do not divide a batch."),
        ("samples", "There are more ranks than samples."),
        ("data", "training data differ"),
        ("weights", "initial weights differ"),
        ("relations", "compares the examples of a batch"),
        ("wrapped", "not what wraps it"),
        ("draws", "draws random numbers in training that ranks cannot share"),
    ],
)
def test_what_ranks_cannot_share_is_refused(what, words, two):
    assert words in two[0]["refused"][what]


@pytest.mark.slow
def test_a_killed_rank_ends_the_others_and_a_restart_goes_on_to_the_same_bits(two, tmp_path):
    found, stderr = job(2, rank_jobs.killed, tmp_path / "killed", max_restarts=1)
    assert "rank 0 of 2: Another rank has ended, or does not answer." in stderr
    assert stderr.count("Another rank has ended") == 1
    assert found == {name: two[0]["whole"][name] for name in found}


@pytest.mark.slow
def test_the_command_line_trains_on_ranks_and_says_everything_once(tmp_path):
    data = ("distill", "--data", "digits", "--teacher", "mlp:widths=16", "--student", "mlp:widths=8")
    flags = (*data, "--epochs", "1", "--seeds", "1", "--device", "cpu", "--out", str(tmp_path / "run"))
    code, stderr = start_ranks(2, rank_jobs.command, *flags, "--batch-size", "33", logs=tmp_path / "logs")
    assert code == 2
    assert stderr.count("limbeck: rank") == 1
    assert "The ranks do not divide a batch." in stderr
    assert not (tmp_path / "run").exists()
    launched = (*LAUNCH, "-m", "limbeck", *flags)
    done = subprocess.run(launched, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("report:") == 1
    assert done.stderr.count("distilled-seed0: 21 steps") == 1
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert record["environment"]["ranks"] == 2
    assert any(measured["name"] == "latency_batch1" for measured in record["measurements"])
    teacher, store = str(tmp_path / "run" / "teachers" / "teacher"), tmp_path / "store"
    collect = ("cache", "--data", "digits", "--teacher", teacher, "--device", "cpu", "--out", str(store))
    logs = tmp_path / "more-logs"
    code, stderr = start_ranks(2, rank_jobs.command, *collect, "--teacher-sharding", "full", logs=logs)
    if not rank_jobs.SHARDS_ON_CPU:
        assert "shares networks out on GPUs alone" in stderr
        return
    assert code == 0, stderr
    asked = {"data": "digits", "teachers": [teacher]}
    passed = checks(store, file=None, flags=asked, assignments=(), view_seed=None, count=256, batch_size=64)
    assert [check.name for check in passed][-2] == "teachers"  # before what it says again
