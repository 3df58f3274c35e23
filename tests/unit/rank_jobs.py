"""What the ranks of test_ranks.py do; rank 0 writes what came of it."""

from __future__ import annotations

import dataclasses
import faulthandler
import hashlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest import mock

import torch
from torch import nn

from limbeck.cli import main
from limbeck.data import Samples, Views, as_samples, augmentations_from
from limbeck.distillation.cache import NetworkCache
from limbeck.distillation.experiment import Experiment
from limbeck.errors import LimbeckError, ModelError
from limbeck.jobs import run_jobs
from limbeck.models.dropout import Dropout
from limbeck.objectives import Distillation, HardLabels, Objective, named_objective
from limbeck.ranks.group import ranks_of_process
from limbeck.ranks.launched import message_of, num_ranks, rank_number
from limbeck.recipes import running
from limbeck.recipes.data import open_data
from limbeck.recipes.evaluation import evaluate
from limbeck.recipes.soft_targets import collect_targets
from limbeck.settings.jobs import Sharding
from limbeck.teachers import ModuleTeacher, collect_on_ranks
from limbeck.teachers.sharded import sharded_over
from limbeck.training import EventLog, FitResult, Runtime, SilentProgress, TrainConfig, TrainingInterrupted, fit

NUM_STEPS = 208
PATIENCE_SECONDS = 240
RECIPE = TrainConfig(num_epochs=8, accumulation_steps=2, learning_rate=0.03, ema_decay=0.9, clip_norm=2.0)
WAYS = {
    "adamw": {"recipe": dataclasses.replace(RECIPE, num_epochs=2, optimiser="adamw", learning_rate=0.003)},
    "lion": {"recipe": dataclasses.replace(RECIPE, num_epochs=2, optimiser="lion", learning_rate=0.0003)},
    "bf16": {"recipe": dataclasses.replace(RECIPE, num_epochs=2), "precision": "bf16"},
}


def images(*, seed: int, count: int) -> Samples:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, 1, 6, 6), generator=generator, dtype=torch.uint8)
    brightness = pixels[:, 0, :3].float().mean(dim=(1, 2)) / 256
    labels = torch.bucketize(brightness, torch.tensor([0.46, 0.54]))
    labels[::7] = -1
    return as_samples((pixels, labels), class_names=("dark", "grey", "bright"))


def network(seed: int) -> nn.Module:
    """Return a net with all that ranks must share: batch norm, and dropout of rows, of channels, and of ours."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout2d(0.1), nn.Flatten(),
        nn.Linear(144, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.2), Dropout(0.2), nn.Linear(12, 3),
    )  # fmt: skip


class Steps(SilentProgress):
    """Keeps the losses of every window and epoch, and the validation errors."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.errors: list[float] = []

    def advance(self, step: int, losses: dict[str, float], *, samples_per_second: float, data_wait: float) -> None:
        self.losses.append(losses["total"])

    def epoch(self, record) -> None:
        self.losses += record.train.values()
        self.errors.append(record.validation["errors"])


class CountingTeacher(ModuleTeacher):
    """Calls a function with the number of each of its calls."""

    act: Callable[[int], None]
    num_calls = 0

    def __call__(self, ids, inputs, *, view=None):
        self.num_calls += 1
        self.act(self.num_calls)
        return super().__call__(ids, inputs, view=view)


def train(
    *,
    student: nn.Module | None = None,
    samples: Samples | None = None,
    objective: Objective | None = None,
    batch_size: int = 16,
    compiles: bool = False,
    precision: str = "fp32",
    recipe: TrainConfig = RECIPE,
    act: Callable[[int], None] = lambda call: None,
    student_sharding: Sharding = "none",
    **settings,
) -> FitResult:
    """Train 8 epochs of 26 steps: new views, mixup, unlabelled samples, parts, averaged weights, an odd last batch."""
    teacher = CountingTeacher(network(9))
    teacher.act = act
    return fit(
        student or network(0),
        samples or images(seed=0, count=403),
        objective or Distillation(temperature=2.0, hard_weight=1.0),
        recipe=dataclasses.replace(recipe, batch_size=batch_size),
        teacher=teacher,
        validation=images(seed=1, count=1400),
        views=Views(augmentations_from(["jitter:1", "mixup:0.2"]), seed=3),
        seed=3,
        runtime=Runtime.resolve(
            "cpu", precision, takes_ranks=True, compiles=compiles, student_sharding=student_sharding
        ),
        **settings,
    )


def described(fitted: FitResult) -> dict:
    digest = hashlib.sha256(b"".join(value.numpy().tobytes() for value in fitted.last_weights.values())).hexdigest()
    return {
        "losses": [value for epoch in fitted.history for value in epoch.train.values()],
        "errors": [epoch.validation["errors"] for epoch in fitted.history],
        "steps": fitted.num_steps,
        "weights": digest,
    }


def whole(out: Path) -> dict:
    """Train to the end, and note every window of losses."""
    progress = Steps()
    fitted = train(progress=progress, events=EventLog(out / "events.jsonl"), checkpoint=out / "whole.pt")
    return {**described(fitted), "windows": progress.losses}


def stopped(out: Path) -> str:
    """Stop the last rank by SIGTERM on its way; tell where all of them stopped."""

    def act(call: int) -> None:
        if call == 100 and rank_number() == num_ranks() - 1:
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        train(act=act, checkpoint=out / "stopped.pt")
    except TrainingInterrupted as interrupt:
        return str(interrupt)
    return "not stopped"


def store(out: Path) -> str:
    """Collect a teacher's outputs in several shards; return the hash of all that was written."""
    folder = out / "store"
    views = Views(augmentations_from(["jitter:1"]), seed=3)
    collected = collect_on_ranks(
        ModuleTeacher(network(9)), images(seed=0, count=403), views, folder, ranks=ranks_of_process(),
        num_views=2, codec="dense16", batch_size=16, shard_bytes=700,
    )  # fmt: skip
    assert collected.num_views == 2
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json")  # has a time
    return hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in files)).hexdigest()


SHARDS_ON_CPU = hasattr(torch.cpu.Stream, "record_event")  # not with torch 2.6


def sharded(out: Path) -> dict:
    """Ask a teacher whose weights are sharded; tell what it says, and which part of them this rank keeps."""
    teacher, found = ModuleTeacher(network(9)), {}
    if not SHARDS_ON_CPU:
        return found
    with sharded_over(teacher, ranks=ranks_of_process(), device=torch.device("cpu")) as is_first:
        if is_first:
            found = said(teacher)
            teacher.check_unchanged()
    parameters = [parameter for module in teacher.modules for parameter in module.parameters()]
    kept = sum(parameter.to_local().numel() for parameter in parameters)
    return {"kept": kept / sum(parameter.numel() for parameter in parameters), **found}


def said(teacher: ModuleTeacher) -> dict:
    """Return a teacher's logits for many samples, and for one."""
    batch = Views().batch(images(seed=0, count=33), torch.arange(33), view=None)
    return {
        "many": teacher(batch.ids, batch.inputs).logits.tolist(),
        "one": teacher(batch.ids[:1], batch.inputs[:1]).logits.tolist(),
    }


def refused(out: Path) -> dict[str, str]:
    """Return the messages of everything that ranks cannot do."""
    torch.manual_seed(0)
    drawing = nn.Sequential(nn.Flatten(), nn.Linear(36, 3), nn.RReLU())
    wrong = {
        "batch": {"batch_size": 18},
        "samples": {"samples": images(seed=0, count=num_ranks() - 1)},
        "data": {"samples": images(seed=rank_number(), count=403)},
        "weights": {"student": network(rank_number())},
        "relations": {"objective": named_objective("correlation", settings={})},
        "wrapped": {"student": nn.DataParallel(network(0))},
        "draws": {"student": drawing, "objective": HardLabels()},
    }
    return {name: message_when(settings) for name, settings in wrong.items()}


def message_when(settings: dict) -> str:
    try:
        train(**settings)
    except LimbeckError as error:
        return str(error)
    return "nothing was refused"


def resumed(out: Path) -> list[dict]:
    """Go on from where all ranks stopped; return what each of them came to."""
    shutil.copy(out / "stopped.pt", out / "resumed.pt")
    return ranks_of_process().gather(described(train(checkpoint=out / "resumed.pt")))


def compiled(out: Path) -> dict:
    """Train through torch.compile; with torch 2.6 tell why not."""
    try:
        return described(train(compiles=True))
    except ModelError as error:
        return {"refused": str(error)}


def ways(out: Path) -> dict:
    """Train for two epochs by other optimisers, and in another precision."""
    return {name: described(train(**settings)) for name, settings in WAYS.items()}


class TinyRecipe:
    """A recipe of a teacher, its stored targets, and a student, on the embedded digits."""

    PAPER, CLAIMS, DEPARTURES = "none", (), ()

    @dataclasses.dataclass(frozen=True)
    class Settings:
        """What a run is made of."""

        seeds: tuple[int, ...] = (0,)

    SMOKE = Settings()

    @staticmethod
    def run(settings: Settings, experiment: Experiment) -> None:
        """Train both, and read the test set."""
        digits = open_data(experiment, "digits", num_train=200, num_validation=50, own_validation=True)
        views = Views(augmentations_from(["jitter:1"]), seed=0)
        train = partial(experiment.train, samples=digits, recipe=TrainConfig(num_epochs=2, batch_size=16), seed=0)
        teacher = train("teacher", "mlp:widths=16", objective=HardLabels(), views=views)
        targets = collect_targets(experiment, teacher, digits, views=views, num_views=2)
        soft = Distillation(temperature=2.0)
        student = train("student", "mlp:widths=8", objective=soft, teacher=targets, views=views, num_views=2)
        if path := experiment.results.beside("picture.txt"):
            path.write_text("drawn once")
        for network in (teacher, student):
            evaluate(experiment, network, condition=network.role, seed=0)


def reproduced(out: Path) -> dict:
    """Run a recipe; tell what it observed, and what is said to one that trains by jobs."""
    with mock.patch.object(running, "load_recipe", return_value=TinyRecipe):
        reproduce = partial(running.reproduce, "tiny", out=out / "tiny", device="cpu", progress="silent")
        done = reproduce()
        with mock.patch.object(NetworkCache, "has", return_value=False):  # another process is done first
            again = reproduce()
    observed, found = (
        {f"{one.condition} {one.quantity}": one.value for one in each.record.observations} for each in (done, again)
    )
    try:
        run_jobs([], out / "jobs")
        return {"observed": observed}
    except LimbeckError as error:
        return {"observed": observed, "found": found, "jobs": str(error), "created": again.record.created}


def together(out: Path) -> dict:
    jobs = (whole, stopped, resumed, compiled, ways, store, sharded, refused, reproduced)
    return {job.__name__: job(out) for job in jobs}


def killed(out: Path) -> dict:
    """Train to the end, but rank 1 dies on its way in the first attempt."""

    def act(call: int) -> None:
        if call == 200 and rank_number() == 1 and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
            os.kill(os.getpid(), signal.SIGKILL)

    return described(train(act=act, checkpoint=out / "killed.pt", checkpoint_seconds=0.0))


def run(job: Callable[[Path], dict], out: Path) -> None:
    """Do a job as one of its ranks."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # of the agent, when another rank has ended: this one says so first
    faulthandler.dump_traceback_later(PATIENCE_SECONDS, exit=True)  # ranks that wait for each other say where
    out.mkdir(exist_ok=True)
    try:
        result = job(out)
    except LimbeckError as problem:
        message = message_of(problem)
        if message is not None:
            print(message, file=sys.stderr, flush=True)
        sys.exit(2)
    if rank_number() == 0:
        (out / "result.json").write_text(json.dumps(result))
    faulthandler.cancel_dump_traceback_later()


def command(*arguments: str) -> None:
    """Run the command line as one of its ranks."""
    sys.argv = ["limbeck", *arguments]
    main()
