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
from limbeck.training import Recipe, Runtime, fit, fit_cohort

FLOOR = "one_by_one"
TARGETS = {"simultaneous": 1.05}  # of the floor's time; alternating asks all networks but one a second time
SPEC = "three_block:width=0.125"


def run(
    *,
    network: str = SPEC,
    num_networks: int = 2,
    num_samples: int = 2_560,
    batch_size: int = 64,
    num_rounds: int = 5,
    seed: int = 0,
) -> dict[str, Any]:
    """Time an epoch of a cohort of equal networks on random images of 3x32x32, in turns, on the CPU.

    The floor is one :func:`limbeck.training.fit` with hard labels after the other. ``simultaneous`` runs each network
    once forward and once backward in a step, as the floor does; ``alternating`` runs all but the last forward a second
    time, without a graph. Each way contains everything: the making of optimisers and orders, the reading of losses.

    Args:
        network: a spec of the zoo.
        num_networks: K, at least 2.
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
        ['simultaneous', 'alternating']
    """
    require_positive("num_samples", num_samples)
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (num_samples, 3, 32, 32), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 10, (num_samples,), generator=generator)
    samples = Samples("random", torch.arange(num_samples), pixels, labels, tuple("0123456789"))
    recipe, runtime = Recipe(num_epochs=1, batch_size=batch_size), Runtime.resolve("cpu", "fp32")

    def networks() -> list[nn.Module]:
        return [build(network, input_shape=(3, 32, 32), num_classes=10, seed=seed + k) for k in range(num_networks)]

    def one_by_one() -> None:
        for student in networks():
            fit(student, samples, HardLabels(), recipe=recipe, runtime=runtime)

    def cohort(update: str) -> None:
        fit_cohort(networks(), samples, MutualLearning(), recipe=recipe, update=update, runtime=runtime)

    ways = {
        FLOOR: one_by_one,
        "simultaneous": lambda: cohort("simultaneous"),
        "alternating": lambda: cohort("alternating"),
    }
    timings = interleaved(ways, num_rounds=num_rounds, warmup=1)
    ratios = {name: timings[name].ratio_to(timings[FLOOR]) for name in ways if name != FLOOR}
    return {
        "name": "cohort",
        "settings": {
            "network": network,
            "num_networks": num_networks,
            "num_samples": num_samples,
            "batch_size": batch_size,
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
