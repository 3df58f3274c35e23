"""What a step costs on the host, and whether any step waits for the device."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from device_measuring import Scale, Table, Way, median_of, rows_of, timed
from torch import nn
from torch.profiler import ProfilerActivity, profile

from limbeck.data import Samples, Views, epoch_order
from limbeck.models import build
from limbeck.objectives import Distillation, HardLabels, Objective
from limbeck.teachers import LogitsTeacher, Teacher
from limbeck.training import Runtime, TrainConfig, fit

HOST_TARGET_MICROSECONDS = 100.0  # that a step of fit takes longer than a bare one
WAITS_TARGET = 1 / 16  # a step: losses are read once in many steps, each reading waits once or twice
WAITING = ("aten::_local_scalar_dense", "cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")
NETWORK, BATCH_SIZE, NUM_CLASSES = "mlp:widths=16", 32, 4


def host_time(scale: Scale) -> Table:
    """Time steps of a network too small to keep a device busy, and count what waits in them."""
    num_steps = scale.of(4096, 32)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(num_steps * BATCH_SIZE, 8, generator=generator)
    labels = torch.randint(0, NUM_CLASSES, (len(inputs),), generator=generator)
    samples = Samples("random", torch.arange(len(inputs)), inputs, labels, tuple("0123"))
    teacher = LogitsTeacher(torch.randn(len(inputs), NUM_CLASSES, generator=generator))
    soft = Distillation(temperature=4.0, hard_weight=0.1, soft_weight=0.9)
    ways: dict[str, Callable[[], Way]] = {
        "bare loop, labels": partial(_bare, samples, scale),
        "fit, labels": partial(_fitted, samples, HardLabels(), None, scale),
        "fit, stored targets": partial(_fitted, samples, soft, teacher, scale),
    }
    seconds, failed = timed(ways, scale, calls=num_steps)
    table = Table("Host time of a step, a tiny network", "a bare loop on labels")
    floor = "bare loop, labels"
    rows = list(rows_of(seconds, failed, floors=dict.fromkeys(seconds, floor), targets={}))
    for row in rows:
        if row["way"] not in seconds:
            continue
        waits = _waits(ways[row["way"]](), scale) / num_steps
        row |= {"µs": 1e3 * row["ms"], "waits a step": waits}
        if row["way"] != floor and floor in seconds:
            longer = 1e6 * (median_of(seconds[row["way"]]) - median_of(seconds[floor]))
            row |= {
                "µs over bare": longer,
                "target": f"{HOST_TARGET_MICROSECONDS:g} µs over, {WAITS_TARGET:g} waits",
                "reached": longer <= HOST_TARGET_MICROSECONDS and waits <= WAITS_TARGET,
            }
    table.rows += rows
    table.notes.append("Waits are counted by the profiler: reads of a number from the device, and synchronisations.")
    return table


def _fitted(samples: Samples, objective: Objective, teacher: Teacher | None, scale: Scale) -> Way:
    recipe = TrainConfig(num_epochs=1, batch_size=BATCH_SIZE, schedule="constant", learning_rate=0.01, weight_decay=0.0)
    runtime = Runtime.resolve(scale.device.type, "fp32")
    student = _network(samples, scale)
    return lambda: fit(
        student, samples, objective, recipe=recipe, teacher=teacher, views=Views(), runtime=runtime, seed=0
    )


def _bare(samples: Samples, scale: Scale) -> Way:
    student = _network(samples, scale)
    optimiser = torch.optim.SGD(student.parameters(), lr=0.01, momentum=0.9, nesterov=True, fused=True)
    on_device = samples.to(scale.device)
    order = epoch_order(samples.ids, seed=0, epoch=0).to(scale.device)

    def call() -> None:
        for positions in torch.split(order, BATCH_SIZE):
            outputs = student(on_device.inputs[positions])  # type: ignore[index]
            F.cross_entropy(outputs, on_device.labels[positions]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

    return call


def _network(samples: Samples, scale: Scale) -> nn.Module:
    return build(NETWORK, input_shape=samples.input_shape, num_classes=NUM_CLASSES, seed=0).to(scale.device)


def _waits(way: Way, scale: Scale) -> int:
    """Return how often a call waits for the device, by the names of what the profiler saw."""
    way()  # what is made once is not counted
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if scale.device.type == "cuda" else [])
    with profile(activities=activities) as seen:
        way()
    return sum(event.count for event in seen.key_averages() if event.key in WAITING)
