"""Training on data read on demand: nothing is read twice after a stop, memory stays flat, batches are pinned."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from shard_files import samples_of, write_tar
from torch import nn

import limbeck
from limbeck.data import Batch, ReadSettings, Views, epoch_order, iterate_batches, load_shards
from limbeck.data.shards.loading import ShardImages
from limbeck.objectives import HardLabels
from limbeck.training import Runtime, TrainConfig, TrainingInterrupted, fit

BATCH_SIZE, NUM_SAMPLES = 10, 120


@pytest.fixture
def samples(tmp_path, monkeypatch):
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    write_tar(tmp_path / "x.tar", samples_of(0, NUM_SAMPLES))
    return load_shards(str(tmp_path / "x.tar"), memory_limit_bytes=0).train


class Interrupted(nn.Module):
    """A net that presses Ctrl-C in its so-manieth step."""

    def __init__(self, at_step: int | None) -> None:
        super().__init__()
        self.layer, self.at_step, self.steps = nn.Linear(48, 3), at_step, 0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.steps += self.training
        if self.training and self.steps == self.at_step:
            os.kill(os.getpid(), signal.SIGINT)
        return self.layer(inputs.flatten(1))


def test_a_training_that_goes_on_does_not_read_the_first_half_again(samples, tmp_path, monkeypatch):
    read: list[int] = []
    original = ShardImages.read

    def counted(self, positions):
        read.extend(positions)
        return original(self, positions)

    monkeypatch.setattr(ShardImages, "read", counted)
    settings = {
        "recipe": TrainConfig(num_epochs=1, batch_size=BATCH_SIZE),
        "seed": 3,
        "runtime": Runtime.resolve("cpu", "fp32"),
        "checkpoint": tmp_path / "student.pt",
    }
    with pytest.raises(TrainingInterrupted) as stopped:
        fit(Interrupted(at_step=6), samples, HardLabels(), **settings)
    assert stopped.value.step == 6
    first = len(read)
    assert first <= (6 + 4) * BATCH_SIZE  # so much and a few batches ahead, beside what is looked at before
    read.clear()
    fit(Interrupted(at_step=None), samples, HardLabels(), **settings)
    order = epoch_order(samples.ids, seed=3, epoch=0).tolist()
    assert sorted(set(read) - set(order[6 * BATCH_SIZE :])) in ([], [0])  # sample 0 tells shapes
    assert set(order[6 * BATCH_SIZE :]) <= set(read)
    assert len(read) <= NUM_SAMPLES - 6 * BATCH_SIZE + 2


def own_bytes(pid: int | str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def children() -> list[int]:
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_memory_stays_flat_over_an_epoch_with_workers(tmp_path, monkeypatch):
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    content = samples_of(0, 1)[0][1]
    names = [(f"s{number:06d}.png", content) for number in range(8000)]
    samples = load_shards(str(write_tar(tmp_path / "x.tar", names)), memory_limit_bytes=0).train
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))
    reading = ReadSettings(num_workers=2)
    held = []
    batches = iterate_batches(samples, Views(), order, batch_size=50, view=None, reading=reading)
    for number, _ in enumerate(batches):
        if number in (30, 150):
            held.append([own_bytes("self"), *map(own_bytes, children())])
    assert len(held[0]) >= 3
    assert max(late - early for early, late in zip(*held, strict=True)) < 2 << 20


@pytest.mark.parametrize(
    ("settings", "device", "expected"),
    [
        (ReadSettings(), "cuda", True),
        (ReadSettings(prefetch=0), "cuda", True),
        (ReadSettings(), "cpu", False),
        (ReadSettings(), None, False),
        (ReadSettings(pin_memory=True), None, True),
    ],
)
def test_batches_bound_for_an_accelerator_are_pinned(samples, monkeypatch, settings, device, expected):
    pinned = []
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(Batch, "pin_memory", lambda batch: pinned.append(len(batch)) or batch)
    bound_for = None if device is None else torch.device(device)
    order = torch.arange(30)
    ways = {"batch_size": 10, "view": None, "reading": settings, "bound_for": bound_for}
    assert sum(map(len, iterate_batches(samples, Views(), order, **ways))) == 30
    assert bool(pinned) == expected


@pytest.mark.slow
def test_a_job_on_shards_gives_what_the_same_data_in_memory_give(tmp_path, monkeypatch):
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    for split, start, count in (("train", 0, 60), ("val", 60, 15), ("test", 75, 15)):
        write_tar(tmp_path / "set" / f"{split}.tar", samples_of(start, count))
    found = []
    for limit, num_workers in ((0, 2), (1 << 30, None)):
        result = limbeck.distill(
            "mlp:widths=8",
            ["mlp:widths=12"],
            load_shards(str(tmp_path / "set"), memory_limit_bytes=limit),
            recipe=limbeck.TrainConfig(num_epochs=2, batch_size=16),
            seeds=1,
            num_workers=num_workers,
            progress="silent",
        )
        measured = [one for one in result.record.measurements if one.name in ("errors", "nll", "kl_to_teacher")]
        found.append(sorted(map(repr, measured)))
    assert len(found[0]) > 5
    assert found[0] == found[1]
