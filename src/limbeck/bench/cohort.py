"""Cost of mutual learning: K networks that learn together, against K trainings of one."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from limbeck.bench.timing import interleaved, machine_facts, reached, seconds_by_way
from limbeck.data import Samples
from limbeck.errors import require_positive
from limbeck.models import build
from limbeck.objectives import HardLabels, MutualLearning
from limbeck.training import Runtime, TrainConfig, fit, fit_cohort, fit_stacked

FLOOR, SMALL_FLOOR = "one_by_one", "small_one_by_one"
TARGETS = {"simultaneous": 1.05, "stacked": 0.70}  # of the floor's time; alternating asks all but one a second time
SPEC, SMALL_SPEC = "three_block:width=0.125", "mlp:widths=30x30"


def run(
    *,
    network: str = SPEC,
    num_networks: int = 2,
    small_network: str = SMALL_SPEC,
    num_small_networks: int = 4,
    num_samples: int = 2_560,
    batch_size: int = 64,
    num_rounds: int = 5,
    seed: int = 0,
) -> dict[str, Any]:
    """Time an epoch of a cohort of equal networks on random images, in turns, on the CPU.

    The floors are one :func:`limbeck.training.fit` with hard labels after the other. ``simultaneous`` runs each network
    once forward and once backward in a step, as the floor does; ``alternating`` runs all but the last forward a second
    time, without a graph. ``stacked`` is a cohort of small networks in one pass, over runs of the same small ones. Each
    way contains everything: the making of optimisers and orders, the reading of losses.

    Args:
        network: a spec of the zoo, on images of 3x32x32.
        num_networks: K, at least 2.
        small_network: a spec of the zoo that can be stacked, on images of 1x28x28.
        num_small_networks: K of the small ones, at least 2.
        num_samples: of an epoch.
        batch_size: samples per step.
        num_rounds: how often each way is run.
        seed: of the random images, labels and weights.
    Returns:
        JSON-able: ``name``, ``settings``, ``floor``, ``seconds``, ``ratios``, ``targets``, ``reached`` and ``machine``.
    Raises:
        InvalidValue: a count that is not above 0, or a cohort of one.
        UnknownName: no such network.
    Example:
        >>> result = run(network="mlp:widths=8", num_samples=128, num_rounds=1)
        >>> list(result["ratios"])
        ['simultaneous', 'alternating', 'stacked']
    """
    require_positive("num_samples", num_samples)
    recipe, runtime = TrainConfig(num_epochs=1, batch_size=batch_size), Runtime.resolve("cpu", "fp32")
    images, digits = (_random_images(shape, num_samples, seed=seed) for shape in ((3, 32, 32), (1, 28, 28)))

    def networks(spec: str, count: int, samples: Samples) -> list[nn.Module]:
        return [build(spec, input_shape=samples.input_shape, num_classes=10, seed=seed + k) for k in range(count)]

    def one_by_one(spec: str, count: int, samples: Samples) -> None:
        for student in networks(spec, count, samples):
            fit(student, samples, HardLabels(), recipe=recipe, runtime=runtime)

    def cohort(update: str) -> None:
        students = networks(network, num_networks, images)
        fit_cohort(students, images, MutualLearning(), recipe=recipe, update=update, runtime=runtime)

    def stacked() -> None:
        students = networks(small_network, num_small_networks, digits)
        seeds = [seed] * num_small_networks
        fit_stacked(students, digits, MutualLearning(), recipe=recipe, seeds=seeds, runtime=runtime)

    ways = {
        FLOOR: lambda: one_by_one(network, num_networks, images),
        "simultaneous": lambda: cohort("simultaneous"),
        "alternating": lambda: cohort("alternating"),
        SMALL_FLOOR: lambda: one_by_one(small_network, num_small_networks, digits),
        "stacked": stacked,
    }
    timings = interleaved(ways, num_rounds=num_rounds, warmup=1)
    floors = {"simultaneous": FLOOR, "alternating": FLOOR, "stacked": SMALL_FLOOR}
    ratios = {name: timings[name].ratio_to(timings[floor]) for name, floor in floors.items()}
    return {
        "name": "cohort",
        "settings": {
            "network": network,
            "num_networks": num_networks,
            "small_network": small_network,
            "num_small_networks": num_small_networks,
            "num_samples": num_samples,
            "batch_size": batch_size,
            "num_rounds": num_rounds,
            "seed": seed,
            "dtype": "float32",
        },
        "floor": f"{num_networks} runs of limbeck.training.fit, one after the other; of stacked, {num_small_networks} "
        "runs of the small network",
        "seconds": seconds_by_way(timings),
        "ratios": ratios,
        "targets": dict(TARGETS),
        "reached": reached(ratios, TARGETS),
        "machine": machine_facts(),
    }


def _random_images(shape: tuple[int, int, int], count: int, *, seed: int) -> Samples:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, *shape), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 10, (count,), generator=generator)
    return Samples("random", torch.arange(count), pixels, labels, tuple("0123456789"))
