"""Cost of an epoch of distillation against a plain supervised epoch, on nets of the size of MNIST's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.bench.timing import interleaved, machine_facts
from limbeck.data import Samples, Views
from limbeck.errors import require_positive
from limbeck.models import build
from limbeck.objectives import Distillation, HardLabels, Objective
from limbeck.teachers import LogitsTeacher, ModuleTeacher, Teacher
from limbeck.training import Recipe, Runtime, fit

FLOOR = "plain"
BATCH_SIZE = 128
TEMPERATURE = 20.0
HARD_WEIGHT = 0.1
TASK: dict[str, Any] = {"input_shape": (784,), "num_classes": 10}
RECIPE = Recipe(num_epochs=1, batch_size=BATCH_SIZE, schedule="constant", learning_rate=0.01, weight_decay=0.0)


def run(*, num_samples: int = 12_800, num_rounds: int = 5, seed: int = 0) -> dict[str, Any]:
    """Time one epoch of each way, in turns: teacher 784-1200-1200-10, student 784-800-800-10, batch 128, on the CPU.

    The floor is a bare loop over tensors in memory: index, forward, cross-entropy, backward, SGD with Nesterov
    momentum, in the optimiser that ``fit`` uses. ``supervised`` is ``fit`` on labels; ``logits_ready`` is ``fit`` on
    soft targets that are in memory; ``teacher_online`` runs the teacher in every step. Each way's epoch contains
    everything: the optimiser's making, the order, the losses' reading.

    Args:
        num_samples: of the epoch; 60,000 is MNIST's.
        num_rounds: how often each epoch is run.
        seed: of the random inputs and weights.
    Returns:
        JSON-able: ``name``, ``settings``, ``floor``, ``seconds``, ``ratios``, ``targets``, ``machine``.
    Raises:
        InvalidValue: no samples.
    """
    require_positive("num_samples", num_samples)
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(num_samples, 784, generator=generator)
    labels = torch.randint(0, 10, (num_samples,), generator=generator)
    samples = Samples("random", torch.arange(num_samples), inputs, labels, tuple("0123456789"))
    teacher = ModuleTeacher(build("mlp:widths=1200x1200", **TASK, seed=seed))
    stored = LogitsTeacher(_answers(teacher, inputs))
    soft = Distillation(temperature=TEMPERATURE, hard_weight=HARD_WEIGHT, soft_weight=1.0)
    ways: dict[str, Callable[[], object]] = {
        FLOOR: lambda: _plain_epoch(inputs, labels, seed),
        "supervised": lambda: _epoch(samples, HardLabels(), None, seed),
        "logits_ready": lambda: _epoch(samples, soft, stored, seed),
        "teacher_online": lambda: _epoch(samples, soft, teacher, seed),
    }
    timings = interleaved(ways, num_rounds=num_rounds, warmup=1)
    floor_seconds = timings[FLOOR].median_seconds
    return {
        "name": "step",
        "settings": {
            "num_samples": num_samples,
            "batch_size": BATCH_SIZE,
            "temperature": TEMPERATURE,
            "hard_weight": HARD_WEIGHT,
            "num_rounds": num_rounds,
            "seed": seed,
            "dtype": "float32",
        },
        "floor": "a bare loop: index, forward, cross-entropy, backward, SGD with Nesterov momentum (fused)",
        "seconds": {
            name: {"median": timing.median_seconds, "low": timing.low_seconds, "high": timing.high_seconds}
            for name, timing in timings.items()
        },
        "ratios": {name: timing.median_seconds / floor_seconds for name, timing in timings.items() if name != FLOOR},
        "targets": {},
        "machine": machine_facts(),
    }


def _student(seed: int) -> nn.Module:
    return build("mlp:widths=800x800", **TASK, seed=seed)


def _answers(teacher: Teacher, inputs: Tensor) -> Tensor:
    return torch.cat([teacher(part, part).logits_at(1.0) for part in torch.split(inputs, 1024)])


def _plain_epoch(inputs: Tensor, labels: Tensor, seed: int) -> None:
    student = _student(seed)
    optimiser = torch.optim.SGD(student.parameters(), lr=0.01, momentum=0.9, nesterov=True, fused=True)
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(seed))
    for positions in torch.split(order, BATCH_SIZE):
        loss = F.cross_entropy(student(inputs[positions]), labels[positions])
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)


def _epoch(samples: Samples, objective: Objective, teacher: Teacher | None, seed: int) -> None:
    runtime = Runtime.resolve("cpu", "fp32")
    fit(_student(seed), samples, objective, recipe=RECIPE, teacher=teacher, views=Views(), runtime=runtime, seed=seed)
