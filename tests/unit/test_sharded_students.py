"""A sharded student on all ranks is the student of one process, and what is saved of it is whole or not read."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil

import pytest
import rank_jobs
import rank_sharded
import torch
from rank_launch import start_ranks
from torch import nn

from limbeck.errors import InvalidValue
from limbeck.models import build, load_model
from limbeck.models.sharding import blocks_of
from limbeck.training import Runtime

ROUNDING = 1e-5
pytestmark = [
    pytest.mark.xdist_group("ranks"),  # on one worker, which then launches each job once
    pytest.mark.skipif(not rank_jobs.SHARDS_ON_CPU, reason="torch shares networks out on GPUs alone"),
]


def job(num_ranks, what, out, *, max_restarts=0):
    logs = out.with_name(f"{out.name}-logs-{what.__name__}")
    code, stderr = start_ranks(num_ranks, rank_jobs.run, what, out, logs=logs, max_restarts=max_restarts)
    assert code == 0, stderr
    return json.loads((out / "result.json").read_text()), stderr


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What two ranks did, and their folder."""
    out = tmp_path_factory.mktemp("sharded")
    return job(2, rank_sharded.together, out)[0], out


def test_small_blocks_are_gathered_with_what_is_around_them():
    vgg = build("vgg8:width=0.5", input_shape=(3, 32, 32), num_classes=10)
    sizes = [sum(one.numel() for one in block.parameters()) for block in blocks_of(vgg)]
    assert sizes == [73856, 295168, 590080], "three convolutions alone, no batch norm"
    resnet = build("resnet:depth=20", input_shape=(3, 32, 32), num_classes=10)
    assert len(blocks_of(resnet)) == 2, "the last two residual blocks, of 9"
    nested = nn.Sequential(nn.Sequential(*[nn.Linear(255, 255) for _ in range(3)]), nn.Linear(255, 2))
    assert blocks_of(nested) == [nested[0]], "each is just too small, together they are not"


@pytest.mark.slow
def test_a_sharded_student_is_that_of_one_process(two, tmp_path):
    found, expected = two[0]["whole"], rank_jobs.whole(tmp_path)
    assert found["losses"] == pytest.approx(expected["losses"], rel=ROUNDING)
    assert found["windows"] == pytest.approx(expected["windows"], rel=ROUNDING)
    assert found["errors"] == expected["errors"]
    assert found["steps"] == expected["steps"] == rank_jobs.NUM_STEPS
    assert found["kept"] == ["step-0000000208-00"]  # the last checkpoint alone


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "rounding"), [("adamw", ROUNDING), ("lion", ROUNDING), ("blocks", ROUNDING), ("bf16", 0.02)]
)
def test_so_it_is_by_other_optimisers_with_limits_and_tied_weights_and_in_bfloat16(name, rounding, two):
    found, expected = two[0]["ways"][name], rank_sharded.short(name)
    assert found["losses"] == pytest.approx(expected["losses"], rel=rounding)
    assert found["steps"] == expected["steps"] == 26


@pytest.mark.slow
def test_each_of_two_ranks_keeps_half_of_everything(two):
    assert two[0]["share"] == {"network": 0, "weights": 0.5, "gradients": 0.5, "moments": 2 * 0.5, "average": 0.5}


@pytest.mark.slow
def test_a_sharded_student_goes_on_to_the_same_bits(two):
    found, _ = two
    assert found["stopped"].startswith("student stopped after step")
    assert found["resumed"] == 2 * [found["ways"]["adamw"]]


@pytest.mark.slow
def test_so_it_does_on_another_number_of_ranks_up_to_rounding(two, tmp_path):
    shutil.copytree(two[1] / "stopped", tmp_path / "four" / "stopped")
    for found in job(4, rank_sharded.resumed, tmp_path / "four")[0]:
        assert found["losses"] == pytest.approx(two[0]["ways"]["adamw"]["losses"], rel=ROUNDING)


@pytest.mark.slow
def test_a_killed_rank_ends_the_others_and_a_restart_goes_on_to_the_same_bits(two, tmp_path):
    found, stderr = job(2, rank_sharded.killed, tmp_path / "killed", max_restarts=1)
    assert stderr.count("rank 0 of 2: Another rank has ended") == 1
    assert found == two[0]["ways"]["adamw"]


@pytest.mark.slow
def test_the_last_checkpoint_that_is_whole_is_read(two):
    found = two[0]["checkpoints"]
    assert found["nothing"]
    assert found["folders"] == ["step-0000000002-00", "step-0000000003-00"]  # the last, and one half-written
    assert found["value"] == found["before"] == 2.0
    assert found["rows"] == 3  # of five, on the first of two ranks
    assert found["plain"] == [{"loss": 0.1, "3": None}, "text"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("other", "belongs to another run: seed differ"),
        ("full", "received: No space left on device"),
        ("pickle", "it asks for posix.getcwd; nothing was run"),
        ("damaged", "__1_0.distcp: missing, or bytes whose SHA-256 differs"),
    ],
)
def test_a_checkpoint_that_cannot_be_read_or_written_is_told(what, words, two):
    assert words in two[0]["checkpoints"][what]


@pytest.mark.slow
def test_a_full_disk_ends_a_training_at_the_next_save(two):
    assert "No space left on device" in two[0]["disk"]
    assert re.search(r"disk/step-000000000[23]-00\.", two[0]["disk"])  # the first that meets it, of 26


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("compiler", "received: --compile, too"),
        ("scalar", "scale is a single number"),
        ("growing", "other weights with a gradient than in the first step"),
        ("file", "is of a student that is whole on each rank"),
        ("folder", "is of a sharded student"),
    ],
)
def test_what_a_sharded_student_cannot_do_is_refused(what, words, two):
    assert words in two[0]["refused"][what]


@pytest.mark.slow
def test_a_job_trains_sharded_and_saves_a_whole_network(two, tmp_path):
    found, folder = two[0]["trained"], two[1] / "run"
    expected = rank_sharded.measured(tmp_path / "alone")
    assert found["test selected errors"] == expected["test selected errors"]
    assert found["test selected nll"] == pytest.approx(expected["test selected nll"], rel=1e-4)
    saved = [load_model(place).module.state_dict() for place in (folder, tmp_path / "alone")]
    for name, value in saved[0].items():
        torch.testing.assert_close(value, saved[1][name], rtol=1e-3, atol=1e-4)
    record = json.loads((folder / "record.json").read_text())
    assert record["environment"]["student_sharding"] == "full"
    assert not [path for path in (folder / "checkpoints").rglob("*") if path.name.startswith(("step-", "checkpoint"))]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("train", "--data", "digits"), "received: one process"),
        (("search", "--data", "digits"), "Networks of this job are not sharded over ranks."),
        (("distill", "--method", "mutual", "--data", "digits"), "Networks of this job are not sharded"),
    ],
)
def test_one_process_and_other_jobs_refuse_it(command, words, limbeck):
    wrong = limbeck(*command, "--student-sharding", "full", "--out", "never")
    assert wrong.returncode == 2, wrong.stdout
    assert words in wrong.stderr


def test_fp16_is_refused(monkeypatch):
    monkeypatch.setattr("limbeck.training.runtime.num_ranks", lambda: 2)
    monkeypatch.setattr("limbeck.training.runtime._resolve_device", lambda device: torch.device("cuda"))
    with pytest.raises(InvalidValue, match="cannot be sharded like this"):
        Runtime.resolve("cuda", "fp16", takes_ranks=True, student_sharding="full")


def test_a_runtime_says_where_its_students_are():
    runtime = Runtime(torch.device("cuda"), "bf16")
    assert runtime.place_of_students.type == "cuda"
    assert dataclasses.replace(runtime, student_sharding="full").place_of_students.type == "cpu"
