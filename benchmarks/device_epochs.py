"""Epochs of distillation on CIFAR's shapes on a GPU: stored targets, teacher online, richer stored targets."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from device_measuring import Scale, Table, Way, rows_of, timed
from torch import Tensor, nn

from limbeck.data import Normalise, Samples, Views, augmentations_from, epoch_order
from limbeck.metrics.cost import count_flops
from limbeck.models import build
from limbeck.objectives import Distillation, HardLabels, Objective
from limbeck.teachers import ModuleTeacher, Teacher, collect, store_teacher
from limbeck.training import Runtime, TrainConfig, fit

SHAPE, NUM_CLASSES, TEMPERATURE = (3, 32, 32), 100, 4.0
STUDENT, TEACHER = "resnet8x4", "resnet:depth=20,width=4,shortcut=project"  # the teacher: about four times the FLOPs
SOFT = Distillation(temperature=TEMPERATURE, hard_weight=0.1, soft_weight=0.9)
EPOCH_TARGET, EPOCH_SECONDS_TARGET, ONLINE_TARGET, RICH_TARGET = 1.02, 1.0, 1.25, 1.05


class Problem:
    """Random images, on the host or the device, views as the recipes have them, and networks of one start."""

    def __init__(self, scale: Scale) -> None:
        generator = torch.Generator().manual_seed(0)
        count = scale.of(50_000, 16)
        pixels = torch.randint(0, 256, (count, *SHAPE), generator=generator, dtype=torch.uint8)
        labels = torch.randint(0, NUM_CLASSES, (count,), generator=generator)
        names = tuple(map(str, range(NUM_CLASSES)))
        self.scale = scale
        self.samples = Samples("random", torch.arange(count), pixels, labels, names)
        self.views = Views(augmentations_from(["crop:4", "flip"]), Normalise((0.5,) * 3, (0.25,) * 3), seed=0)
        self.runtime = Runtime.resolve(scale.device.type, "bf16")
        self.recipe = TrainConfig(
            num_epochs=1, batch_size=scale.of(64, 8), learning_rate=0.05, nesterov=False, schedule="constant"
        )

    def network(self, spec: str) -> nn.Module:
        """Return a network of the device; small ones in a dry run."""
        spec = self.scale.of(spec, "convnet:channels=8x8")
        return build(spec, input_shape=SHAPE, num_classes=NUM_CLASSES, seed=0).to(self.scale.device)

    def student(self, *, graphs: bool = False) -> nn.Module:
        """Return a student, compiled into CUDA graphs where asked for."""
        network = self.network(STUDENT)
        return self.scale.compiled(network, mode="reduce-overhead") if graphs else network  # type: ignore[return-value,arg-type]

    def epoch(
        self, samples: Samples, objective: Objective, teacher: Teacher | None = None, *, graphs: bool = False
    ) -> Way:
        """Return one epoch of ``fit``; the student goes on from call to call, so that it is compiled once."""
        student = self.student(graphs=graphs)
        num_views = 1 if teacher is None else teacher.num_views
        return lambda: fit(
            student, samples, objective, recipe=self.recipe, teacher=teacher, views=self.views, num_views=num_views,
            runtime=self.runtime, seed=0,
        )  # fmt: skip

    def stored(self, folder: Path, *, codec: str, num_views: int) -> Teacher:
        """Return the teacher's outputs for numbered views, from a store."""
        teacher = ModuleTeacher(self.network(TEACHER))
        store = collect(
            teacher, self.samples, self.views, folder, num_views=num_views, codec=codec, precision="bf16", max_kl=100.0
        )
        assert store is not None, "one process collects every shard"
        return store_teacher(store)

    def on_device(self) -> Samples:
        """Return the images in device memory."""
        return self.samples.to(self.scale.device)


def epochs(scale: Scale) -> Table:
    """Time an epoch on stored targets against the same on labels: images on host and device, with CUDA graphs."""
    problem = Problem(scale)
    table = Table(f"An epoch of {STUDENT} on CIFAR-100's shapes, batch 64, bfloat16", "the same `fit` on labels")
    with tempfile.TemporaryDirectory() as folder:
        stored = problem.stored(Path(folder) / "targets", codec="dense16", num_views=1)
        ways: dict[str, Callable[[], Way]] = {"bare loop, labels": partial(_bare, problem)}
        floors, targets = {}, {}
        for place, samples in (("host", lambda: problem.samples), ("device", problem.on_device)):
            for graphs in (False, True):
                how = f"images on the {place}" + (", CUDA graphs" if graphs else "")
                for what, objective, teacher in (("labels", HardLabels(), None), ("stored targets", SOFT, stored)):
                    ways[f"{what}, {how}"] = partial(_epoch_of, problem, samples, objective, teacher, graphs)
                floors[f"stored targets, {how}"] = f"labels, {how}"
                targets[f"stored targets, {how}"] = EPOCH_TARGET
        seconds, failed = timed(ways, scale)
    table.rows += rows_of(seconds, failed, floors=floors, targets=targets)
    best = min((row["ms"] for row in table.rows if row["way"].startswith("stored") and "ms" in row), default=None)
    if best is not None:
        table.notes.append(f"The fastest epoch on stored targets: {best / 1e3:.2f} s (goal {EPOCH_SECONDS_TARGET:g}).")
    return table


def _epoch_of(
    problem: Problem, samples: Callable[[], Samples], objective: Objective, teacher: Teacher | None, graphs: bool
) -> Way:
    return problem.epoch(samples(), objective, teacher, graphs=graphs)


def _bare(problem: Problem, *, teacher: nn.Module | None = None, overlap: bool = False) -> Way:
    """A loop by hand, everything on the device: index, views, forward, loss, backward, step."""
    samples, student = problem.on_device(), problem.student().train()
    optimiser = torch.optim.SGD(student.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, fused=True)
    side = torch.cuda.Stream() if overlap and problem.scale.device.type == "cuda" else None

    def ask(inputs: Tensor) -> Tensor:
        assert teacher is not None
        with torch.no_grad(), problem.runtime.autocast():
            logits: Tensor = teacher(inputs)
        return logits

    def asked_beside(inputs: Tensor) -> Tensor:
        """Run the teacher on the next batch while the student learns from this one."""
        if side is None:
            return ask(inputs)
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            return ask(inputs)

    def learn(inputs: Tensor, labels: Tensor, said: Tensor | None) -> None:
        with problem.runtime.autocast():
            outputs = student(inputs).float()
        loss = F.cross_entropy(outputs, labels)
        if said is not None:
            p = F.softmax(said.float() / TEMPERATURE, dim=1)
            soft = F.kl_div(F.log_softmax(outputs / TEMPERATURE, dim=1), p, reduction="batchmean")
            loss = 0.1 * loss + 0.9 * TEMPERATURE**2 * soft
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    def call() -> None:
        waiting: tuple[Tensor, Tensor, Tensor | None] | None = None
        order = epoch_order(problem.samples.ids, seed=0, epoch=0).to(problem.scale.device)
        for positions in torch.split(order, problem.recipe.batch_size):
            batch = problem.views.batch(samples, positions, view=0)
            inputs = batch.inputs
            assert isinstance(inputs, Tensor)
            if teacher is None:
                learn(inputs, batch.labels, None)
                continue
            if side is not None and waiting is not None:
                torch.cuda.current_stream().wait_stream(side)  # the waiting batch's outputs are there
            following = (inputs, batch.labels, asked_beside(inputs) if overlap else ask(inputs))
            if not overlap:
                learn(*following)
                continue
            if waiting is not None:
                learn(*waiting)
            waiting = following
        if waiting is not None:
            if side is not None:
                torch.cuda.current_stream().wait_stream(side)
            learn(*waiting)

    return call


def teacher_online(scale: Scale) -> Table:
    """Time a teacher of four times the student's FLOPs in every step: one after the other, and beside the student."""
    problem = Problem(scale)
    teacher = problem.network(TEACHER).eval().requires_grad_(False)
    more = count_flops(teacher, SHAPE) / count_flops(problem.student(), SHAPE)
    table = Table(f"Teacher online, {more:.1f} times the student's FLOPs, bfloat16", "the same loop on labels")
    compiled = partial(scale.compiled, mode="reduce-overhead")
    ways: dict[str, Callable[[], Way]] = {
        "bare loop, labels": partial(_bare, problem),
        "bare loop, teacher online": partial(_bare, problem, teacher=teacher),
        "bare loop, teacher on a second stream": partial(_bare, problem, teacher=teacher, overlap=True),
        "bare loop, teacher compiled": lambda: _bare(problem, teacher=compiled(teacher)),  # type: ignore[arg-type]
        "fit, labels": partial(_epoch_of, problem, problem.on_device, HardLabels(), None, False),
        "fit, teacher online": lambda: problem.epoch(problem.on_device(), SOFT, ModuleTeacher(teacher)),
    }
    seconds, failed = timed(ways, scale)
    floors = {name: name.partition(",")[0] + ", labels" for name in ways}
    targets = {name: ONLINE_TARGET for name in ways if not name.endswith("labels")}
    table.rows += rows_of(seconds, failed, floors=floors, targets=targets)
    return table


def stored_targets(scale: Scale) -> Table:
    """Time an epoch on richer stored targets against plain training: FKD's comparison, which is 1.19 there."""
    problem = Problem(scale)
    table = Table("Richer stored targets, four views of each image", "`fit` on labels, the same views")
    ways: dict[str, Callable[[], Way]] = {
        "labels": partial(_epoch_of, problem, lambda: problem.samples, HardLabels(), None, False)
    }
    with tempfile.TemporaryDirectory() as folder:
        for codec in ("dense16", "dense8", "sparse:10"):
            ways[codec] = partial(_stored_epoch, problem, Path(folder), codec)
        seconds, failed = timed(ways, scale)
    floors: dict[str, Any] = dict.fromkeys(seconds, "labels")
    table.rows += rows_of(seconds, failed, floors=floors, targets=dict.fromkeys(ways, RICH_TARGET))
    return table


def _stored_epoch(problem: Problem, folder: Path, codec: str) -> Way:
    stored = problem.stored(folder / codec.replace(":", "-"), codec=codec, num_views=problem.scale.of(4, 2))
    return problem.epoch(problem.samples, SOFT, stored)
