"""Cost of an epoch of distillation against a plain supervised epoch, on nets of the size of MNIST's."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.bench.timing import Timing, interleaved, machine_facts, reached, seconds_by_way
from limbeck.data import Normalise, Samples, Views, augmentations_from
from limbeck.errors import require_positive
from limbeck.memory import set_malloc_thresholds
from limbeck.models import build
from limbeck.objectives import Distillation, HardLabels, Objective
from limbeck.teachers import ModuleTeacher, Teacher, collect, store_teacher
from limbeck.training import Runtime, TrainConfig, fit

FLOOR = "plain"
BATCH_SIZE = 128
TEMPERATURE = 20.0
HARD_WEIGHT = 0.1
NUM_VIEWS = 2  # of the replayed ones
NUM_CLASSES = 10
# Of the floor's median; mapping of its own floor's.
TARGETS = {"stored": 1.02, "views_replayed": 1.10, "mapping": 1.05}
MAPPING_FLOOR = "plain_mapping"
TINY_STEPS, TINY_BATCH = 1000, 32
RECIPE = TrainConfig(num_epochs=1, batch_size=BATCH_SIZE, schedule="constant", learning_rate=0.01, weight_decay=0.0)


def run(*, num_samples: int = 12_800, num_rounds: int = 15, seed: int = 0) -> dict[str, Any]:
    """Time one epoch of each way, in turns: teacher 784-1200-1200-10, student 784-800-800-10, batch 128, on the CPU.

    The floor is a bare loop over tensors in memory: index, forward, cross-entropy, backward, SGD with Nesterov
    momentum, in the optimiser that ``fit`` uses and, like it, in memory that is kept from step to step (see
    :func:`limbeck.memory.set_malloc_thresholds`). ``supervised`` is ``fit`` on labels; ``stored`` is ``fit`` on a
    store of soft targets; ``views_replayed`` shifts 8-bit images by up to 2 pixels and looks the targets of that view
    up; ``teacher_online`` runs the teacher in every step. Each way's epoch contains everything: the optimiser's
    making, the order, the losses' reading. ``overhead`` is what a step of ``fit`` on labels takes longer than one of
    the bare loop where the network is one layer of 8 x 4 and a batch has 32 samples. ``mapping`` is ``fit`` on labels
    where the inputs are a mapping of two tensors, against ``plain_mapping``, a bare loop on the same mapping.

    Args:
        num_samples: of the epoch; 60,000 is MNIST's.
        num_rounds: how often each epoch is run.
        seed: of the random inputs and weights.
    Returns:
        JSON-able: ``name``, ``settings``, ``floor``, ``seconds``, ``ratios``, ``targets``, ``reached``,
        ``overhead_microseconds`` and ``machine``.
    Raises:
        InvalidValue: no samples.
    """
    require_positive("num_samples", num_samples)
    set_malloc_thresholds()
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (num_samples, 1, 28, 28), generator=generator, dtype=torch.uint8)
    inputs = images.flatten(1) / 255
    labels = torch.randint(0, NUM_CLASSES, (num_samples,), generator=generator)
    samples, pictures = _samples(inputs, labels), _samples(images, labels)
    views = Views(augmentations_from(["jitter:2"]), Normalise((0.5,), (0.3,)), seed)
    teacher = ModuleTeacher(_network("mlp:widths=1200x1200", samples, seed))
    soft = Distillation(temperature=TEMPERATURE, hard_weight=HARD_WEIGHT, soft_weight=1.0)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        stored = _stored(teacher, samples, Views(), place / "clean", num_views=None)
        looking = ModuleTeacher(_network("mlp:widths=1200x1200", pictures, seed))
        replayed = _stored(looking, pictures, views, place / "views", num_views=NUM_VIEWS)
        ways: dict[str, Callable[[], object]] = {
            FLOOR: lambda: _plain_epoch(_student(samples, seed), inputs, labels, BATCH_SIZE, seed),
            "supervised": lambda: _epoch(_student(samples, seed), samples, HardLabels(), None, seed),
            "stored": lambda: _epoch(_student(samples, seed), samples, soft, stored, seed),
            "views_replayed": lambda: _epoch(_student(pictures, seed), pictures, soft, replayed, seed, views=views),
            "teacher_online": lambda: _epoch(_student(samples, seed), samples, soft, teacher, seed),
        }
        timings = interleaved(ways, num_rounds=num_rounds, warmup=1)
    mapped = _mapped_timings(inputs, labels, num_rounds=num_rounds, seed=seed)
    ratios = {name: timing.ratio_to(timings[FLOOR]) for name, timing in timings.items() if name != FLOOR}
    ratios["mapping"] = mapped["mapping"].ratio_to(mapped[MAPPING_FLOOR])
    timings |= mapped
    return {
        "name": "step",
        "settings": {
            "num_samples": num_samples,
            "batch_size": BATCH_SIZE,
            "temperature": TEMPERATURE,
            "hard_weight": HARD_WEIGHT,
            "num_views": NUM_VIEWS,
            "num_rounds": num_rounds,
            "seed": seed,
            "dtype": "float32",
        },
        "floor": "a bare loop: index, forward, cross-entropy, backward, SGD with Nesterov momentum (fused)",
        "seconds": seconds_by_way(timings),
        "ratios": ratios,
        "targets": dict(TARGETS),
        "reached": reached(ratios, TARGETS),
        "overhead_microseconds": _overhead_microseconds(num_rounds=num_rounds, seed=seed),
        "machine": machine_facts(),
    }


class _TwoParts(nn.Module):
    """The student's layers over two halves of the input, which are named arguments."""

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.student = student

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Return logits, shape (batch, classes)."""
        logits: Tensor = self.student(torch.cat([left, right], dim=1))
        return logits


def _mapped_timings(inputs: Tensor, labels: Tensor, *, num_rounds: int, seed: int) -> dict[str, Timing]:
    """Time a bare epoch and one of ``fit`` on a mapping of two tensors."""
    left, right = (half.contiguous() for half in inputs.chunk(2, dim=1))
    whole = _samples(inputs, labels)
    samples = Samples("halves", whole.ids, {"left": left, "right": right}, labels, whole.class_names)

    def bare() -> None:
        student = _TwoParts(_student(whole, seed))
        optimiser = torch.optim.SGD(student.parameters(), lr=0.01, momentum=0.9, nesterov=True, fused=True)
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
        for positions in torch.split(order, BATCH_SIZE):
            loss = F.cross_entropy(student(left=left[positions], right=right[positions]), labels[positions])
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

    ways: dict[str, Callable[[], object]] = {
        MAPPING_FLOOR: bare,
        "mapping": lambda: _epoch(_TwoParts(_student(whole, seed)), samples, HardLabels(), None, seed),
    }
    return interleaved(ways, num_rounds=num_rounds, warmup=1)


def _overhead_microseconds(*, num_rounds: int, seed: int) -> float:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(TINY_STEPS * TINY_BATCH, 8, generator=generator)
    labels = torch.randint(0, 4, (len(inputs),), generator=generator)
    samples = _samples(inputs, labels)
    recipe = TrainConfig(num_epochs=1, batch_size=TINY_BATCH, schedule="constant", learning_rate=0.01, weight_decay=0.0)
    timings = interleaved(
        {
            "bare": lambda: _plain_epoch(nn.Linear(8, NUM_CLASSES), inputs, labels, TINY_BATCH, seed),
            "fit": lambda: _epoch(nn.Linear(8, NUM_CLASSES), samples, HardLabels(), None, seed, recipe=recipe),
        },
        num_rounds=num_rounds,
        warmup=1,
    )
    return 1e6 * (timings["fit"].median_seconds - timings["bare"].median_seconds) / TINY_STEPS


def _samples(inputs: Tensor, labels: Tensor) -> Samples:
    return Samples("random", torch.arange(len(labels)), inputs, labels, tuple("0123456789"))


def _network(spec: str, samples: Samples, seed: int) -> nn.Module:
    return build(spec, input_shape=samples.input_shape, num_classes=NUM_CLASSES, seed=seed)


def _student(samples: Samples, seed: int) -> nn.Module:
    return _network("mlp:widths=800x800", samples, seed)


def _stored(teacher: Teacher, samples: Samples, views: Views, folder: Path, *, num_views: int | None) -> Teacher:
    store = collect(teacher, samples, views, folder, num_views=num_views, codec="dense16")
    assert store is not None, "one process collects every shard"
    return store_teacher(store)


def _plain_epoch(student: nn.Module, inputs: Tensor, labels: Tensor, batch_size: int, seed: int) -> None:
    optimiser = torch.optim.SGD(student.parameters(), lr=0.01, momentum=0.9, nesterov=True, fused=True)
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(seed))
    for positions in torch.split(order, batch_size):
        loss = F.cross_entropy(student(inputs[positions]), labels[positions])
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)


def _epoch(
    student: nn.Module,
    samples: Samples,
    objective: Objective,
    teacher: Teacher | None,
    seed: int,
    *,
    views: Views | None = None,
    recipe: TrainConfig = RECIPE,
) -> None:
    runtime = Runtime.resolve("cpu", "fp32")
    fit(student, samples, objective, recipe=recipe, teacher=teacher, views=views, runtime=runtime, seed=seed)
