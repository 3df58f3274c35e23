"""What the ranks of test_sharded_students.py do; rank 0 writes what came of it."""

from __future__ import annotations

import dataclasses
import errno
import faulthandler
import os
import pickle
import shutil
import signal
from pathlib import Path

import pytest
import rank_jobs
import torch
from torch import Tensor, nn

import limbeck
from limbeck.errors import LimbeckError
from limbeck.models import constrain_max_norm, sharding
from limbeck.models.sharding import as_dtensor, gathered, local_shard, sharded_zeros
from limbeck.objectives import HardLabels
from limbeck.ranks.group import ranks_of_process
from limbeck.ranks.launched import num_ranks, rank_number
from limbeck.records import hash_file, sealed_text
from limbeck.records.sealing import read_sealed_json
from limbeck.training import Runtime, TrainingInterrupted
from limbeck.training.sharded import ShardedStudent
from limbeck.training.sharded_checkpoint import FORMAT, INDEX, VERSION, ShardedCheckpoints
from limbeck.training.updates import WeightUpdates

if num_ranks() > 1:
    sharding.SMALLEST_BLOCK = 1  # networks of tests have small blocks; one process does not share them out

SHORT = dataclasses.replace(rank_jobs.RECIPE, num_epochs=1)
ADAMW = dataclasses.replace(SHORT, optimiser="adamw", learning_rate=0.003)
LION = dataclasses.replace(SHORT, optimiser="lion", learning_rate=0.0003, clip_norm=None, ema_decay=None)


class Blocks(nn.Module):
    """A net of blocks: two have one weight in common, one has a limit, one is frozen, and five rows are uneven."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.entry = nn.Linear(36, 12)
        self.blocks = nn.ModuleList(nn.Linear(12, 12) for _ in range(3))
        self.blocks[1].weight = self.blocks[0].weight
        self.frozen = nn.Sequential(nn.Linear(12, 5).requires_grad_(requires_grad=False), nn.Tanh())
        self.head = nn.Linear(5, 3)
        constrain_max_norm(self.blocks[2], max_norm=0.5)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.entry(inputs.flatten(1))
        for block in self.blocks:
            hidden = hidden + block(hidden).relu()
        return self.head(self.frozen(hidden))


def short(name: str, **settings) -> dict:
    """Train for an epoch of 26 steps by one of several ways; tell what came of it."""
    ways = {
        "adamw": {"recipe": ADAMW},
        "lion": {"recipe": LION},
        "bf16": {"recipe": SHORT, "precision": "bf16"},
        "blocks": {"recipe": SHORT, "student": Blocks()},
    }
    return rank_jobs.described(rank_jobs.train(**ways[name], **settings))


def whole(out: Path) -> dict:
    progress = rank_jobs.Steps()
    fitted = rank_jobs.train(student_sharding="full", progress=progress, checkpoint=out / "whole.pt")
    kept = sorted(path.name for path in (out / "whole").iterdir())
    return {**rank_jobs.described(fitted), "windows": progress.losses, "kept": kept}


def ways(out: Path) -> dict:
    return {name: short(name, student_sharding="full") for name in ("adamw", "lion", "bf16", "blocks")}


def share(out: Path) -> dict:
    """Take a step; tell which part of weights, gradients, averages and optimiser state this rank keeps."""
    runtime = Runtime.resolve("cpu", takes_ranks=True, student_sharding="full")
    plain = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64))
    size = sum(parameter.numel() for parameter in plain.parameters())
    shared = ShardedStudent(plain, ranks=runtime.ranks, device=runtime.device)
    held = sum(parameter.numel() for parameter in plain.parameters())
    recipe = dataclasses.replace(ADAMW, ema_decay=0.9)
    updates = WeightUpdates(shared.module, recipe=recipe, runtime=runtime, num_steps=2)
    shared.module(torch.ones(2, 64)).sum().backward()
    parameters = list(shared.module.parameters())
    parts = {
        "weights": [local_shard(parameter) for parameter in parameters],
        "gradients": [local_shard(parameter.grad) for parameter in parameters],
    }
    updates.update()
    moments = [value for state in updates.optimiser.state.values() for value in state.values() if value.dim()]
    parts |= {"moments": moments, "average": [local_shard(value) for value in updates.average.state.values()]}
    return {"network": held, **{name: sum(map(Tensor.numel, part)) / size for name, part in parts.items()}}


def stopped(out: Path) -> str:
    """Stop the last rank by SIGTERM on its way; tell where all of them stopped."""

    def act(call: int) -> None:
        if call == 21 and rank_number() == num_ranks() - 1:
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        short("adamw", student_sharding="full", act=act, checkpoint=out / "stopped.pt")
    except TrainingInterrupted as interrupt:
        return str(interrupt)
    return "not stopped"


def resumed(out: Path) -> list[dict]:
    """Go on from where all ranks stopped; return what each of them came to."""
    if rank_number() == 0:
        shutil.copytree(out / "stopped", out / f"resumed-{num_ranks()}")
    found = short("adamw", student_sharding="full", checkpoint=out / f"resumed-{num_ranks()}.pt")
    return ranks_of_process().gather(found)


def checkpoints(out: Path) -> dict:
    """Save, damage and load; tell what is there, and what is said."""
    kept = ShardedCheckpoints(out / "kept", ranks_of_process())
    found = {"nothing": kept.load(identity={}) is None}
    for step in (1, 2):
        kept.save(state_of(float(step)), step=step, identity={"seed": "0"})
    kept.finish()
    place = out / "kept" / "step-0000000002-00"
    if rank_number() == 0:
        (out / "kept" / "step-0000000003-00").mkdir()  # half-written: it has no index
    state = kept.load(identity={"seed": "0"})
    assert state is not None
    found |= {
        "folders": sorted(path.name for path in (out / "kept").iterdir()),
        "value": float(gathered({"weight": state["list"][0]["weight"]})["weight"].mean()),
        "rows": len(local_shard(state["list"][0]["weight"])),
        "plain": [state["plain"], state["list"][1]],
        "other": message_of(lambda: kept.load(identity={"seed": "1"})),
    }
    with pytest.MonkeyPatch.context() as patch:
        if rank_number() == 1:
            patch.setattr("torch.distributed.checkpoint.filesystem._FileSystemWriter.write_data", full_disk)
        kept.save(state_of(4.0), step=4, identity={"seed": "0"})
        found["full"] = message_of(kept.finish)
    again = kept.load(identity={"seed": "0"})
    found["before"] = again is not None and float(gathered({"w": again["list"][0]["weight"]})["w"].mean())
    if rank_number() == 0:
        (place / ".metadata").write_bytes(pickle.dumps(os.getcwd))
        seal(place)
    found["pickle"] = message_of(lambda: kept.load(identity={"seed": "0"}))
    if rank_number() == 0:
        file = place / "__1_0.distcp"
        file.write_bytes(file.read_bytes()[:-1] + b"?")
    found["damaged"] = message_of(lambda: kept.load(identity={"seed": "0"}))
    return found


def state_of(value: float) -> dict:
    like = sharded_zeros((5, 2), torch.float32, ranks=ranks_of_process())
    weight = as_dtensor(torch.full_like(local_shard(like), value), like)
    return {"plain": {"loss": 0.1, 3: None}, "list": [{"weight": weight}, "text", torch.arange(3)]}


def full_disk(*_) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def seal(place: Path) -> None:
    """Seal a checkpoint's index again, with the hashes of the files as they are."""
    index = read_sealed_json(place / INDEX, format_name=FORMAT, version=VERSION)
    files = {name: hash_file(place / name) for name in index["files"]}
    (place / INDEX).write_text(sealed_text({"format": FORMAT, "version": VERSION, **index, "files": files}))


def message_of(act) -> str:
    ranks_of_process().gather(None)  # what rank 0 did to the files is done
    try:
        act()
    except LimbeckError as error:
        return str(error)
    return "nothing was said"


class Scalar(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.scale = nn.Linear(36, 3), nn.Parameter(torch.tensor(1.0))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(inputs.flatten(1)) * self.scale


class Growing(nn.Module):
    """Uses a second layer from its third batch on."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.calls = nn.Linear(36, 3), nn.Linear(36, 3), 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        return self.first(inputs.flatten(1)) + (self.second(inputs.flatten(1)) if self.calls > 2 else 0.0)


def refused(out: Path) -> dict[str, str]:
    """Return the messages of what a sharded student cannot do."""
    if rank_number() == 0:
        (out / "file.pt").write_bytes(b"of a whole student")
        (out / "folder" / "step-0000000001-00").mkdir(parents=True)
    no_parts = dataclasses.replace(SHORT, accumulation_steps=1)
    wrong = {
        "compiler": {"compiles": True},
        "scalar": {"student": Scalar(), "objective": HardLabels()},
        "growing": {"student": Growing(), "objective": HardLabels(), "recipe": no_parts},
        "file": {"checkpoint": out / "file.pt"},
        "folder": {"checkpoint": out / "folder.pt", "student_sharding": "none"},
    }
    return {
        name: message_of(lambda given=given: rank_jobs.train(**{"student_sharding": "full", **given}))
        for name, given in wrong.items()
    }


def disk(out: Path) -> str:
    """Train with a disk that gets full on the way; tell what is said, and that the checkpoint before is whole."""
    with pytest.MonkeyPatch.context() as patch:

        def act(call: int) -> None:
            if call == 5 and rank_number() == 1:
                patch.setattr("torch.distributed.checkpoint.filesystem._FileSystemWriter.write_data", full_disk)

        short_of = {"student_sharding": "full", "checkpoint": out / "disk.pt", "checkpoint_seconds": 0.0}
        return message_of(lambda: short("adamw", act=act, **short_of))


def trained(out: Path) -> dict:
    """Train by a job; tell what is measured of the network."""
    return measured(out / "run", student_sharding="full")


def measured(out: Path, **settings) -> dict:
    recipe = dataclasses.replace(SHORT, batch_size=128, optimiser="adamw", learning_rate=0.01)
    data = limbeck.load_data("digits")
    result = limbeck.train("mlp:widths=16x8", data, recipe=recipe, device="cpu", progress="silent", out=out, **settings)
    kept = [one for one in result.record.measurements if one.split != "machine"]
    return {f"{one.split} {one.weights} {one.name}": one.value for one in kept}


def together(out: Path) -> dict:
    jobs = (whole, ways, share, stopped, resumed, checkpoints, refused, disk, trained)
    found = {}
    for one in jobs:
        faulthandler.dump_traceback_later(rank_jobs.PATIENCE_SECONDS, exit=True)  # each has as long as a job alone
        found[one.__name__] = one(out)
    return found


def killed(out: Path) -> dict:
    """Train to the end, saving after each step, but rank 1 dies on its way in the first attempt."""

    def act(call: int) -> None:
        if call == 40 and rank_number() == 1 and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
            os.kill(os.getpid(), signal.SIGKILL)

    return short("adamw", student_sharding="full", act=act, checkpoint=out / "killed.pt", checkpoint_seconds=0.0)
