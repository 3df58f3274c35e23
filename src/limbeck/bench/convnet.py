"""Cost of a convnet's epoch against a bare loop in a process of its own, whose memory has stock settings."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from types import TracebackType
from typing import Any

import torch
import torch.nn.functional as F

from limbeck.bench.timing import interleaved, machine_facts, reached, seconds_by_way
from limbeck.data import Samples
from limbeck.errors import ModelError
from limbeck.models import build
from limbeck.objectives import HardLabels
from limbeck.training import Runtime, TrainConfig, fit
from limbeck.training.optimiser import build_optimiser

FLOOR = "stock"
TARGETS = {"supervised": 0.80}
SPEC = "convnet:channels=32x64"
IMAGE_SIZE, NUM_CLASSES = 105, 10
RECIPE = TrainConfig(num_epochs=1, batch_size=32, schedule="constant", learning_rate=0.01)


def run(*, num_samples: int = 128, num_rounds: int = 7, seed: int = 0) -> dict[str, Any]:
    """Time one epoch on images of 105 x 105, ours and a bare loop's, in turns, each in its own process.

    Memory settings hold for a whole process, so the floor, a bare loop of the same network and optimiser in torch's
    default layout, runs beside this one, with glibc's stock settings. ``supervised`` is ``fit`` on labels, with what it
    does of itself: freed memory is kept, kernels are channels-last.

    Args:
        num_samples: of the epoch.
        num_rounds: how often each epoch is run.
        seed: of the random images and weights.
    Returns:
        JSON-able: ``name``, ``settings``, ``floor``, ``seconds``, ``ratios``, ``targets``, ``reached``, ``machine``.
    """
    with _Child("ours", num_samples, seed) as ours, _Child("stock", num_samples, seed) as stock:
        timings = interleaved({FLOOR: stock.epoch, "supervised": ours.epoch}, num_rounds=num_rounds, warmup=1)
    ratios = {"supervised": timings["supervised"].ratio_to(timings[FLOOR])}
    return {
        "name": "convnet",
        "settings": {
            "network": SPEC,
            "image_size": IMAGE_SIZE,
            "num_samples": num_samples,
            "batch_size": RECIPE.batch_size,
            "num_rounds": num_rounds,
            "seed": seed,
        },
        "floor": "a bare loop in a process with glibc's stock settings",
        "seconds": seconds_by_way(timings),
        "ratios": ratios,
        "targets": dict(TARGETS),
        "reached": reached(ratios, TARGETS),
        "machine": machine_facts(),
    }


class _Child:
    """A process that runs an epoch whenever it is asked to."""

    def __init__(self, way: str, num_samples: int, seed: int) -> None:
        environment = dict(os.environ)
        if way == FLOOR:
            environment["LIMBECK_MALLOC"] = "0"
        threads = str(torch.get_num_threads())
        self._process = subprocess.Popen(
            [sys.executable, "-m", "limbeck.bench.convnet", way, str(num_samples), str(seed), threads],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def __enter__(self) -> _Child:
        try:
            self.epoch()  # it has started
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let the process end, and wait for it."""
        with self._process:  # closes the pipes, so that it reads the end of its input, and waits
            pass

    def epoch(self) -> float:
        """Let it run an epoch; return its seconds."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("epoch\n")
        self._process.stdin.flush()
        said = self._process.stdout.readline()
        if not said:
            raise ModelError("The process that is timed has ended.", received=f"exit code {self._process.wait()}")
        return float(said)


def serve(way: str, num_samples: int, seed: int) -> None:
    """Run an epoch for each line of standard input, and print its seconds."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(num_samples, 3, IMAGE_SIZE, IMAGE_SIZE, generator=generator)
    labels = torch.arange(num_samples) % NUM_CLASSES
    samples = Samples("random", torch.arange(num_samples), inputs, labels, tuple(map(str, range(NUM_CLASSES))))
    network = build(SPEC, input_shape=samples.input_shape, num_classes=NUM_CLASSES, seed=seed)
    for _ in sys.stdin:
        start = time.perf_counter()
        if way == FLOOR:
            optimiser = build_optimiser(network, RECIPE)
            for rows in torch.split(torch.arange(num_samples), RECIPE.batch_size):
                optimiser.zero_grad(set_to_none=True)
                torch.autograd.backward(F.cross_entropy(network(inputs[rows]), labels[rows]))
                optimiser.step()
        else:
            fit(network, samples, HardLabels(), recipe=RECIPE, seed=seed, runtime=Runtime.resolve("cpu"))
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[4]))
    serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
