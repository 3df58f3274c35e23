"""Cost of training many small networks in one pass, against training them one by one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from limbeck.bench.timing import interleaved, machine_facts, reached, seconds_by_way
from limbeck.data import Samples
from limbeck.errors import require_positive
from limbeck.models import build
from limbeck.objectives import Distillation
from limbeck.teachers import LogitsTeacher
from limbeck.training import Runtime, TrainConfig, fit, fit_stacked

FLOOR = "one_by_one"
TARGETS = {"stacked": 0.20, "stacked_own_seeds": 0.20}  # of the floor's time
TEMPERATURES = (1.0, 2.5, 4.0, 20.0)
SPEC = "mlp:widths=30x30"
RECIPE = TrainConfig(num_epochs=1, batch_size=128)


def run(
    *, num_networks: int = 16, num_samples: int = 12_800, num_epochs: int = 1, num_rounds: int = 3, seed: int = 0
) -> dict[str, Any]:
    """Time a sweep over temperatures and seeds, in turns: nets 784-30-30-10, batch 128, on the CPU.

    The floor is one :func:`limbeck.training.fit` after the other, on inputs and soft targets that are in memory.
    ``stacked`` trains the same networks in one pass: temperatures 1, 2.5, 4 and 20 for each seed, so that four networks
    share a seed. ``stacked_own_seeds`` gives every network a seed of its own, so that nothing is shared. Each way
    contains everything: the making of optimisers and orders, and the reading of the losses.

    Args:
        num_networks: of the sweep.
        num_samples: of an epoch; 60,000 is MNIST's.
        num_epochs: of each network.
        num_rounds: how often each way is run.
        seed: of the random inputs, labels and soft targets.
    Returns:
        JSON-able: ``name``, ``settings``, ``floor``, ``seconds``, ``ratios``, ``targets``, ``reached`` and ``machine``.
    Raises:
        InvalidValue: a count that is not above 0.
    Example:
        >>> result = run(num_networks=2, num_samples=256, num_rounds=1)
        >>> list(result["ratios"])
        ['stacked', 'stacked_own_seeds']
    """
    require_positive("num_networks", num_networks)
    require_positive("num_samples", num_samples)
    samples, logits = _data(num_samples, seed)
    runtime = Runtime.resolve("cpu", "fp32")
    recipe = TrainConfig(num_epochs=num_epochs, batch_size=RECIPE.batch_size)
    objectives = [
        Distillation(temperature=TEMPERATURES[k % len(TEMPERATURES)], hard_weight=0.1) for k in range(num_networks)
    ]
    shared = [k // len(TEMPERATURES) for k in range(num_networks)]

    def one_by_one() -> None:
        for student, objective, order_seed in zip(_students(num_networks), objectives, shared, strict=True):
            fit(
                student,
                samples,
                objective,
                recipe=recipe,
                teacher=LogitsTeacher(logits),
                seed=order_seed,
                runtime=runtime,
            )

    def stacked(seeds: list[int]) -> None:
        teacher = LogitsTeacher(logits)
        students = _students(num_networks)
        fit_stacked(students, samples, objectives, recipe=recipe, teacher=teacher, seeds=seeds, runtime=runtime)

    ways = {
        FLOOR: one_by_one,
        "stacked": lambda: stacked(shared),
        "stacked_own_seeds": lambda: stacked(list(range(num_networks))),
    }
    timings = interleaved(ways, num_rounds=num_rounds, warmup=1)
    ratios = {name: timings[name].ratio_to(timings[FLOOR]) for name in TARGETS}
    return {
        "name": "stacked",
        "settings": {
            "network": SPEC,
            "num_networks": num_networks,
            "num_samples": num_samples,
            "num_epochs": num_epochs,
            "batch_size": recipe.batch_size,
            "temperatures": list(TEMPERATURES),
            "num_rounds": num_rounds,
            "seed": seed,
            "dtype": "float32",
        },
        "floor": f"{num_networks} runs of limbeck.training.fit, one after the other",
        "seconds": seconds_by_way(timings),
        "ratios": ratios,
        "targets": dict(TARGETS),
        "reached": reached(ratios, TARGETS),
        "machine": machine_facts(),
    }


def _data(num_samples: int, seed: int) -> tuple[Samples, Tensor]:
    """Return samples of MNIST's shape, and soft targets for them."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.rand(num_samples, 1, 28, 28, generator=generator)
    labels = torch.randint(0, 10, (num_samples,), generator=generator)
    samples = Samples("random", torch.arange(num_samples), pixels, labels, tuple("0123456789"))
    return samples, 3 * torch.randn(num_samples, 10, generator=generator)


def _students(count: int) -> list[nn.Module]:
    return [build(SPEC, input_shape=(1, 28, 28), num_classes=10, seed=k) for k in range(count)]
